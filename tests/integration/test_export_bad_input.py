"""What cannot be exported is said in one line, and nothing half-written is left."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from attnvgg_export.cli import main
from support import ROOT, changed_checkpoint

SHAPES = ROOT / "tests" / "data" / "shapes"


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, folder / "model.safetensors")


def recorded(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "checkpoint.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "model.safetensors cannot be read"),
        (pickled, "model.safetensors cannot be read"),
        (recorded(schema_version=2), "schema version 2; this attnvgg reads version 1"),
        (recorded(config={"model": {"name": "LeNet"}}), "--name is 'LeNet'; it must be one of VGG"),
        (recorded(labels=["circle", "square"]), "2 labels; the weights have 3 classes"),
        (lambda folder: shutil.rmtree(folder), "is no checkpoint: it has no checkpoint.json"),
    ],
)
def test_a_bad_checkpoint(
    damage: Callable[[Path], None],
    message: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))
    damage(folder)
    before = sorted(tmp_path.rglob("*"))
    assert main(["build", str(folder), "--out", str(tmp_path / "m" / "1")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_pickled_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({}, tmp_path / "model.pt")
    out = tmp_path / "m" / "1"
    assert main(["build", str(tmp_path / "model.pt"), "--out", str(out)]) == 2
    assert "model.pt is a file; a checkpoint is a folder" in capsys.readouterr().err


def test_weights_that_are_no_numbers(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["units.3.0.weight"][0] = torch.nan

    folder = changed_checkpoint(tiny_checkpoint, tmp_path / "run", spoil)
    assert main(["build", str(folder), "--out", str(tmp_path / "m" / "1")]) == 1
    assert "ValuesError: onnx at batch 1 of 32x32: probabilities differs by nan" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "m").exists()


def test_pictures_of_other_classes(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(SHAPES, tmp_path / "other"))
    for split in ("train", "test"):
        (other / split / "circle").rename(other / split / "hexagon")
    command = ["build", str(tiny_checkpoint), "--out", str(tmp_path / "m" / "1")]
    assert main([*command, "--data", str(other), "--formats", "onnx,int8"]) == 2
    assert "has the classes hexagon, square, triangle; the checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is read-only, even to root, on Linux")
def test_a_read_only_folder(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(tiny_checkpoint), "--out", "/sys/attnvgg/1"]) == 2
    assert "OutputError: --out /sys/attnvgg/1 cannot be written" in capsys.readouterr().err


def test_a_full_disk(gentle_checkpoint: Path, tmp_path: Path) -> None:
    """A file that may not grow fails as a full disk does, in the middle of a write."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from attnvgg_export.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "models" / "m" / "1"
    arguments = ["build", gentle_checkpoint, "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
