"""benchmarks/gpu/{pack,parts}.py: pictures and weights travel in small files, and arrive whole."""

import importlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from attnvgg_training import checkpoint, data
from attnvgg_training.config import DataConfig
from support import ROOT

SHAPES = ROOT / "tests" / "data" / "shapes"
Importer = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def script() -> Iterator[Importer]:
    """Imports a module of the folder, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks" / "gpu")
        yield importlib.import_module


def gathered(packed: Path, into: Path) -> Path:
    """The files of all loads in one folder, as they come together there."""
    into.mkdir()
    for file in packed.glob("*/*"):
        shutil.copy(file, into / file.name)
    return into


@pytest.fixture
def packed(script: Importer, tmp_path: Path) -> Path:
    out = tmp_path / "packed"
    # Three strips: 40, 32 and 24 pictures; parts and loads so small that each is one of its own.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script("pack"), "STRIP_ROWS", 40 * 32)
        arguments = ["pack", str(SHAPES), "--out", str(out), "--part", "0.001", "--load", "0.02"]
        assert script("pack").main(arguments) == 0
    return out


def test_pictures_arrive_as_they_left(packed: Path, script: Importer, tmp_path: Path) -> None:
    there = gathered(packed, tmp_path / "there")
    assert len(list(there.glob("*.npz"))) == 3
    assert script("pack").main(["unpack", str(there), "--out", str(tmp_path / "shapes")]) == 0
    before, after = (data.load(str(s), DataConfig()) for s in (SHAPES, tmp_path / "shapes"))
    assert after.labels == before.labels
    assert after.fingerprint() == before.fingerprint()
    assert not list(tmp_path.glob(".*"))


def test_loads_and_parts_keep_their_limits(script: Importer, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    for i, picture in enumerate(noise):
        for split in ("train", "test"):
            folder = tmp_path / "noise" / split / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{i}.png")
    pack, out = script("pack"), tmp_path / "packed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "STRIP_ROWS", 10 * 32)  # 31 kB a strip
        pack.pack(str(tmp_path / "noise"), out, part_mb=0.07, load_mb=0.15)
    parts = list(out.glob("*/*.npz"))
    assert len(parts) == 6
    assert all(30_000 < part.stat().st_size < 72_000 for part in parts)
    loads = [sum(f.stat().st_size for f in load.glob("*.npz")) for load in out.iterdir()]
    assert len(loads) == 3
    assert max(loads) < 150_000


def test_what_is_missing_damaged_or_there_already_is_said(
    packed: Path, script: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path) -> str:
        assert script("pack").main(["unpack", str(folder), "--out", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "has no pack.json; it came with the first load" in refused(tmp_path)
    there = gathered(packed, tmp_path / "there")
    content = (there / "part-001.npz").read_bytes()
    (there / "part-001.npz").write_bytes(content[:-1] + b"x")
    assert "part-001.npz is damaged" in refused(there)
    (there / "part-001.npz").unlink()
    assert "lacks part-001.npz; put the files of all loads there" in refused(there)
    assert script("pack").main(["pack", str(SHAPES), "--out", str(packed)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert script("pack").main(["pack", str(tmp_path / "no"), "--out", str(tmp_path / "new")]) == 2


def test_no_part_holds_pickle(packed: Path) -> None:
    for part in packed.glob("*/*.npz"):
        with np.load(part, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays.files)


def test_a_checkpoint_comes_back_rounded_and_usable(
    tiny_checkpoint: Path, script: Importer, tmp_path: Path
) -> None:
    parts, out, back = script("parts"), tmp_path / "parts", tmp_path / "back"
    size = (tiny_checkpoint / "model.safetensors").stat().st_size
    parts.split(tiny_checkpoint, out, most=size // 4)
    files = sorted(out.glob("*.safetensors"))
    assert len(files) >= 3
    assert sum(file.stat().st_size for file in files) < 0.75 * size
    assert parts.main(["join", str(out), "--out", str(back)]) == 0
    before, after = (load_file(f / "model.safetensors") for f in (tiny_checkpoint, back))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        exact = value.half().float() if value.ndim > 1 else value
        assert torch.equal(after[name], exact)
    model, record = checkpoint.load_model(back)
    assert "float16" in record.provenance["transport"]
    assert torch.isfinite(model(torch.randn(1, 3, 32, 32))).all()


def test_damaged_parts_and_weights_beyond_float16_are_refused(
    tiny_checkpoint: Path, script: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, out = script("parts"), tmp_path / "parts"
    assert parts.main(["split", str(tiny_checkpoint), "--out", str(out)]) == 0
    (part,) = out.glob("*.safetensors")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    assert parts.main(["join", str(out), "--out", str(tmp_path / "back")]) == 2
    assert "part-0.safetensors is damaged" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()
    wide = shutil.copytree(tiny_checkpoint, tmp_path / "wide")
    weights = load_file(wide / "model.safetensors")
    weights["units.0.0.weight"][0, 0, 0, 0] = 1e6
    save_file(weights, wide / "model.safetensors")
    assert parts.main(["split", str(wide), "--out", str(tmp_path / "never")]) == 2
    assert "units.0.0.weight has a weight of 1e+06; float16 ends" in capsys.readouterr().err
    with pytest.raises(parts.PartsError, match="a part holds 10"):
        parts.split(tiny_checkpoint, tmp_path / "never", most=10)
    assert json.loads((out / "parts.json").read_text())["checkpoint"] == tiny_checkpoint.name
