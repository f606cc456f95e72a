"""inspect and verify: what a bundle is, and whether it is what was exported, without torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from attnvgg_bundle import manifest
from attnvgg_bundle.compare import ValuesError
from attnvgg_bundle.manifest import IntegrityError, ManifestError
from attnvgg_export import golden
from attnvgg_export.cli import main
from support import OUTPUTS


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "tiny" / "1"))


def test_verify_accepts_what_was_exported(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: largest difference" in printed for name in OUTPUTS)


def test_verify_finds_a_flipped_byte(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    assert main(["verify", str(copy)]) == 1
    assert "IntegrityError" in capsys.readouterr().err
    with pytest.raises(IntegrityError, match=r"model\.onnx has sha256"):
        golden.verify(copy)


def test_verify_finds_a_graph_that_answers_otherwise(copy: Path) -> None:
    """Even when its hash was brought up to date."""
    path = copy / "model.onnx"
    model = onnx.load(str(path))
    weight = next(i for i in model.graph.initializer if len(i.raw_data) > 10_000)
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values *= 1.5
    weight.raw_data = values.tobytes()
    onnx.save(model, str(path))
    record = json.loads((copy / "manifest.json").read_text())
    record["files"]["model.onnx"]["sha256"] = manifest.sha256(path)
    (copy / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(ValuesError, match=r"model\.onnx on golden\.npz"):
        golden.verify(copy)


def test_verify_finds_labels_that_were_swapped(copy: Path) -> None:
    """In the manifest, which has no hash of its own."""
    path = copy / "manifest.json"
    record = json.loads(path.read_text())
    record["labels"] = [record["labels"][i] for i in (1, 0, 2)]
    path.write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match="the graph's own labels"):
        golden.verify(copy)
    assert main(["verify", str(copy)]) == 1


def test_inspect_says_what_it_is_and_what_it_is_not(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert "bundle    tiny version 1" in printed
    assert "attention_conv10 ['batch', 8, 8]" in printed
    (copy / "manifest.json").unlink()
    assert main(["inspect", str(copy)]) == 2
    with pytest.raises(ManifestError):
        manifest.read(copy)


def test_inspect_and_verify_run_without_torch(bundle: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from attnvgg_export.cli import main\n"
        "sys.exit(main(['verify', sys.argv[1]]) or main(['inspect', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
