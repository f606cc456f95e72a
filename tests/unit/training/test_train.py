"""A run learns, resumes exactly, and says what is wrong."""

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attnvgg_training import checkpoint
from attnvgg_training.data import load
from attnvgg_training.errors import CheckpointError
from attnvgg_training.evaluation.accuracy import accuracy, wilson
from attnvgg_training.evaluation.cli import main as evaluate
from attnvgg_training.loop import Trainer
from attnvgg_training.train import main

ROOT = Path(__file__).parents[3]
SHAPES = ROOT / "tests" / "data" / "shapes"


def train(run: Path, *extra: str, data: Path = SHAPES) -> int:
    config = ROOT / "training" / "configs" / "tiny.toml"
    return main(["--config", str(config), "--data", str(data), "--run", str(run), *extra])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "shapes"
    assert train(run) == 0
    return run


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_it_learns_the_shapes(finished: Path) -> None:
    found = accuracy(finished / "last", SHAPES)
    assert found.total == 24
    assert found.rate >= 0.75  # chance is 0.33


def test_the_run_is_laid_out_as_documented(finished: Path) -> None:
    assert len(rows(finished)) == 12
    assert (finished / "last").readlink() == Path("epoch-0012")
    best = max(rows(finished), key=lambda row: float(row["test_accuracy"]))
    assert (finished / "best").readlink() == Path(f"epoch-{int(best['epoch']):04d}")
    kept = {path.name for path in finished.glob("epoch-*")}
    assert kept == {"epoch-0011", "epoch-0012", (finished / "best").readlink().name}
    names = {path.name for path in (finished / "last").iterdir()}
    assert names == {"model.safetensors", "checkpoint.json", "training-state.pt"}
    record = checkpoint.read(finished / "last")
    assert record.labels == ("circle", "square", "triangle")
    assert record.data["fingerprint"] == load(SHAPES, record.config.data).fingerprint()
    assert not list(finished.glob(".*"))


def test_the_learned_maps_are_not_uniform(finished: Path) -> None:
    model, record = checkpoint.load_model(finished / "last")
    images = load(SHAPES, record.config.data).test.images
    from attnvgg_training.data import normalise

    with torch.inference_mode():
        maps = model.explain(normalise(images, record.mean, record.std)).maps
    assert max((m * m[0].numel()).std().item() for m in maps.values()) > 0.02


def test_resume_gives_the_weights_of_an_uninterrupted_run(tmp_path: Path) -> None:
    recipe = ["--epochs", "3", "--dropout", "0.2", "--head-dropout", "0.2"]
    assert train(tmp_path / "whole", *recipe) == 0
    stopped = tmp_path / "stopped"
    assert train(stopped, *recipe) == 0
    # As if the process had died in epoch 3: its checkpoint is not there yet.
    shutil.rmtree(stopped / "epoch-0003")
    checkpoint.point(stopped / "last", stopped / "epoch-0002")
    assert train(stopped, *recipe, "--resume") == 0
    first, second = (
        load_file(tmp_path / run / "last" / "model.safetensors") for run in ("whole", "stopped")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [r["train_loss"] for r in rows(tmp_path / "whole")] == [
        r["train_loss"] for r in rows(stopped)
    ]


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, "--epochs", "2") == 0
    shutil.rmtree(run / "epoch-0002")
    checkpoint.point(run / "last", run / "epoch-0001")
    before = (run / "epoch-0001" / "model.safetensors").read_bytes()
    # A file that may not grow past 100 kB fails as a full disk does, in the middle of a write.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from attnvgg_training.train import main; sys.exit(main(sys.argv[1:]))"
    )
    config = ROOT / "training" / "configs" / "tiny.toml"
    arguments = ["--config", config, "--data", SHAPES, "--run", run, "--epochs", "2", "--resume"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert (run / "last").readlink() == Path("epoch-0001")
    assert (run / "epoch-0001" / "model.safetensors").read_bytes() == before
    assert not list(run.glob(".epoch*"))


def test_a_second_run_into_the_same_folder_needs_resume(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(finished) == 2
    assert "holds a run already; add --resume" in capsys.readouterr().err


def test_resume_refuses_another_recipe_and_other_data(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(finished, "--resume", "--lr", "0.2") == 2
    assert "was trained with lr = 0.05, now it is 0.2" in capsys.readouterr().err
    other = Path(shutil.copytree(SHAPES, tmp_path / "shapes"))
    (other / "train" / "circle" / "00.png").unlink()
    assert train(finished, "--resume", data=other) == 2
    assert "was trained on other pictures" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_step", lambda *_: (math.nan, 0))
    assert train(tmp_path / "run") == 3
    message = capsys.readouterr().err
    assert "the loss is nan in epoch 1, step 1 of 9, at learning rate" in message


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--batch-size", "100"], "--batch-size is 100, but there are only 72"),
        (["--device", "tpu9"], "--device tpu9 cannot be used"),
        (["--name", "LeNet"], "--name is 'LeNet'; it must be one of"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    assert train(tmp_path / "run", *extra) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_the_control_trains_too(tmp_path: Path) -> None:
    assert train(tmp_path / "run", "--name", "VGG-control", "--epochs", "1") == 0
    model, _ = checkpoint.load_model(tmp_path / "run" / "last")
    assert model.levels == ()


def test_bf16_and_no_averaging_train_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, "--amp", "bf16", "--ema", "0", "--epochs", "1") == 0
    state = checkpoint.load_state(run / "last")["trainer"]["model"]
    saved = load_file(run / "last" / "model.safetensors")
    assert all(torch.equal(state[name], saved[name]) for name in saved)


@pytest.fixture
def broken(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished / "last", tmp_path / "checkpoint"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 9}, "schema version 9; this attnvgg reads version 1"),
        ({"labels": ["a", "b"]}, "2 labels; the weights have 3 classes"),
        ({"config": {"model": {"name": "LeNet"}}}, "--name is 'LeNet'"),
        ({"mean": None, "config": 3}, "cannot be read"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    broken: Path, change: dict[str, object], message: str
) -> None:
    path = broken / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_model(broken)


def test_truncated_missing_and_pickled_weights_are_refused(broken: Path) -> None:
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_model(broken)
    torch.save({}, weights)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_model(broken)
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_model(broken)


def test_a_hostile_training_state_cannot_run_code(broken: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "touched",))

    torch.save(Hostile(), broken / "training-state.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load_state(broken)
    assert not (tmp_path / "touched").exists()


def test_evaluate_prints_the_figure_with_its_interval(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate([str(finished / "last"), "--data", str(SHAPES)]) == 0
    found = accuracy(finished / "last", SHAPES)
    printed = capsys.readouterr().out
    assert f"accuracy {100 * found.rate:.2f} % ({found.correct} of 24;" in printed
    assert evaluate([str(finished / "none"), "--data", str(SHAPES)]) == 2
    assert "is no checkpoint" in capsys.readouterr().err


def test_evaluate_refuses_pictures_of_other_classes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(SHAPES, tmp_path / "shapes"))
    for split in ("train", "test"):
        (other / split / "circle").rename(other / split / "disc")
    assert evaluate([str(finished / "last"), "--data", str(other)]) == 2
    error = capsys.readouterr().err
    assert "has the classes disc, square, triangle; the checkpoint knows circle" in error


def test_the_wilson_interval_is_the_published_one() -> None:
    """Wilson (1927); 8 of 10 gives 0.490 to 0.943 in Newcombe (1998), method 3."""
    found = wilson(8, 10)
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)
