"""The command attnvgg-train: a run learns, is laid out as documented, and says what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attnvgg_training import checkpoint, data, models
from attnvgg_training.evaluation.accuracy import accuracy
from attnvgg_training.train import main
from training_support import SHAPES, TINY, rows, train


def test_it_learns_the_shapes(finished_run: Path) -> None:
    found = accuracy(finished_run / "last", SHAPES)
    assert found.total == 24
    assert found.rate >= 0.75  # chance is 0.33


def test_the_run_is_laid_out_as_documented(finished_run: Path) -> None:
    run = finished_run
    assert len(rows(run)) == 12
    assert (run / "last").readlink() == Path("epoch-0012")
    best = max(rows(run), key=lambda row: float(row["test_accuracy"]))
    assert (run / "best").readlink() == Path(f"epoch-{int(best['epoch']):04d}")
    kept = {path.name for path in run.glob("epoch-*")}
    assert kept == {"epoch-0011", "epoch-0012", (run / "best").readlink().name}
    names = {path.name for path in (run / "last").iterdir()}
    assert names == {"model.safetensors", "checkpoint.json", "training-state.pt"}
    record = checkpoint.read(run / "last")
    assert record.labels == ("circle", "square", "triangle")
    assert record.data["fingerprint"] == data.load(SHAPES, record.config.data).fingerprint()
    assert record.initialised_from is None
    assert not list(run.glob("*tmp*"))


def test_the_learned_maps_are_not_uniform(finished_run: Path) -> None:
    model, record = checkpoint.load_model(finished_run / "last")
    test = data.load(SHAPES, record.config.data).test
    images = test.pixels(torch.arange(len(test)))
    with torch.inference_mode():
        maps = model.explain(data.normalise(images, record.mean, record.std)).maps
    assert max((m * m[0].numel()).std().item() for m in maps.values()) > 0.02


def test_a_second_run_into_the_same_folder_needs_resume(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(finished_run) == 2
    assert "holds a run already; add --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--batch-size", "100"], "--batch-size is 100, but there are only 72"),
        (["--device", "tpu9"], "--device tpu9 cannot be used"),
        (["--name", "LeNet"], "--name is 'LeNet'; it must be one of"),
        (["--minutes", "0"], "--minutes is 0.0; it must be more than 0"),
        (["--init", "nowhere"], "nowhere is no checkpoint: it has no checkpoint.json"),
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


@pytest.mark.parametrize("given", [[], ["--config", str(TINY)], ["--data", str(SHAPES)]])
def test_config_and_data_are_required(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    missing = [flag for flag in ("--config", "--data") if flag not in given]
    assert f"are required: {', '.join(missing)}" in capsys.readouterr().err


def test_the_networks_are_listed_without_anything_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "listing", lambda: ["one", "two"], raising=False)
    assert main(["--list-models"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = "from attnvgg_training.commands import train; raise SystemExit(train())"
    command = [sys.executable, "-c", code, "--list-models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        said = listing.stderr.read()
    assert (listing.returncode, said) == (1, b"")


def test_the_help_groups_the_settings_by_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    parts = ["[model]:", "--widths X", "[data]:", "--cutout X", "[train]:", "--lr X"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_the_other_processes_of_torchrun_leave_usage_to_the_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as ended:
        main(["--bogus"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == ""


def test_the_control_trains_too(tmp_path: Path) -> None:
    assert train(tmp_path / "run", "--name", "VGG-control", "--epochs", "1") == 0
    model, _ = checkpoint.load_model(tmp_path / "run" / "last")
    assert model.level_names == []


def test_bf16_and_no_averaging_train_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, "--amp", "bf16", "--ema", "0", "--epochs", "1") == 0
    state = checkpoint.load_state(run / "last")["trainer"]["model"]
    saved = load_file(run / "last" / "model.safetensors")
    assert all(torch.equal(state[name], saved[name]) for name in saved)
