"""--init: a checkpoint's weights as the start of a run with other classes, or the same."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attnvgg_training import checkpoint, initial
from attnvgg_training.errors import CheckpointError
from attnvgg_training.loop import Trainer
from training_support import SHAPES, train

LABELS = ("circle", "square", "triangle")
TWO = ("circle", "square")


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(SHAPES, tmp_path / "two"))
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "triangle")
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights that runs start from, copied before their first step."""
    found: list[dict[str, torch.Tensor]] = []
    train_epoch = Trainer.train_epoch

    def training(trainer: Trainer, *arguments: object) -> object:
        found.append({n: w.clone() for n, w in trainer.model.state_dict().items()})
        return train_epoch(trainer, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train_epoch", training)
    return found


def test_other_classes_keep_all_weights_but_the_classifier(
    finished_run: Path,
    two_classes: Path,
    tmp_path: Path,
    started: list[dict[str, torch.Tensor]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, source = tmp_path / "run", finished_run / "last"
    caplog.set_level("INFO")
    extra = ("--epochs", "1", "--init", str(source))
    assert train(run, *extra, data=two_classes) == 0
    given = load_file(source / "model.safetensors")
    for name, value in started[0].items():
        if name.startswith("head.classify."):
            assert len(value) == 2
        else:
            assert torch.equal(value, given[name]), name
    assert "other classes (3, now 2): head.classify.weight, head.classify.bias start" in caplog.text
    found = checkpoint.read(run / "last").initialised_from
    assert found == {
        "sha256": sha256((source / "model.safetensors").read_bytes()).hexdigest(),
        "network": "VGG-att3-concat-pc",
        "afresh": ["head.classify.weight", "head.classify.bias"],
    }


def test_the_same_classes_keep_the_classifier_too(
    finished_run: Path, tmp_path: Path, started: list[dict[str, torch.Tensor]]
) -> None:
    run = tmp_path / "run"
    # Dropout, pools and the size of the pictures change no weight.
    extra = ("--epochs", "1", "--dropout", "0.1", "--pools", "2,7,10", "--image-size", "64")
    assert train(run, *extra, "--init", str(finished_run / "last")) == 0
    given = load_file(finished_run / "last" / "model.safetensors")
    assert all(torch.equal(value, given[name]) for name, value in started[0].items())


def test_resume_does_not_start_again_and_keeps_the_record(
    finished_run: Path, tmp_path: Path, started: list[dict[str, torch.Tensor]]
) -> None:
    source = Path(shutil.copytree(finished_run / "last", tmp_path / "source"))
    run, extra = tmp_path / "run", ["--epochs", "2", "--init", str(source)]
    assert train(run, *extra, "--minutes", "1e-9") == 0
    shutil.rmtree(source)  # it is not needed any more
    assert train(run, *extra, "--resume") == 0
    given = load_file(finished_run / "last" / "model.safetensors")
    assert not torch.equal(started[1]["head.classify.weight"], given["head.classify.weight"])
    assert (checkpoint.read(run / "last").initialised_from or {})["network"]


def test_resume_refuses_another_start(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = tmp_path / "run", ["--epochs", "1", "--minutes", "1e-9"]
    assert train(run, *recipe, "--init", str(finished_run / "epoch-0011")) == 0
    assert train(run, *recipe, "--resume", "--init", str(finished_run / "epoch-0012")) == 2
    assert "was initialised from another checkpoint than --init says now" in capsys.readouterr().err
    assert train(finished_run, "--resume", "--init", str(finished_run / "epoch-0012")) == 2
    assert "was not initialised from a checkpoint, as --init says now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (["--widths", "8,12,24,32,48"], "widths = (8, 12, 24, 32, 32), now it is (8, 12, 24, 32, "),
        (["--global-feature", "false"], "global_feature = True, now it is False"),
        (["--name", "VGG-att2-concat-pc"], "name = 'VGG-att3-concat-pc', now it is 'VGG-att2-conc"),
        (["--name", "VGG-att3-concat-dp"], "name = 'VGG-att3-concat-pc', now it is 'VGG-att3-conc"),
        (["--dropout", "0.3", "--name", "VGG-control"], "name = 'VGG-att3-concat-pc', now it is"),
    ],
)
def test_another_network_is_refused_with_the_setting_that_differs(
    finished_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    setting: list[str],
    message: str,
) -> None:
    assert train(tmp_path / "run", *setting, "--init", str(finished_run / "last")) == 2
    assert f"was trained with {message}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_labels_in_another_order_are_other_classes(finished_run: Path) -> None:
    config = checkpoint.read(finished_run / "last").config.model
    found = initial.load(finished_run / "last", config, LABELS[::-1])
    assert "head.classify.weight" not in found.weights


def test_weights_that_do_not_fit_their_own_record_are_refused(
    finished_run: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished_run / "last", tmp_path / "checkpoint"))
    path = folder / "checkpoint.json"
    values = json.loads(path.read_text())
    values["config"]["model"]["widths"] = [8, 12, 24, 32, 48]
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"does not fit checkpoint\.json"):
        initial.load(folder, checkpoint.read(finished_run / "last").config.model, TWO)
