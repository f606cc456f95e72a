"""Where maps look on pictures with masks, against figures worked out another way."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attnvgg_bundle.preprocess import decode, fit
from attnvgg_training import checkpoint, data
from attnvgg_training.attention import fuse
from attnvgg_training.config import DataConfig
from attnvgg_training.errors import DataError
from attnvgg_training.evaluation.cli import main
from attnvgg_training.evaluation.masks import Masked, find, read
from attnvgg_training.evaluation.objects import gaussian, objects, scores
from attnvgg_training.evaluation.statistics import bootstrap

CPU = torch.device("cpu")
WIDE = (40, 64)  # height, width of the photos made here


def make(folder: Path, name: str, mask: np.ndarray, seed: int = 0) -> None:
    """A noisy photo with its mask, in DIR/things/."""
    things = folder / "things"
    things.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    Image.fromarray(noise).save(things / f"{name}.jpg")
    Image.fromarray((mask * 255).astype(np.uint8)).save(things / f"{name}.mask.png")


def left(share: float = 0.5) -> np.ndarray:
    """The left part of a photo."""
    mask = np.zeros(WIDE, bool)
    mask[:, : int(share * WIDE[1])] = True
    return mask


def masked(mask: np.ndarray, box: tuple[float, float, float, float] | None = None) -> Masked:
    whole = (0.0, 0.0, float(mask.shape[1]), float(mask.shape[0]))
    return Masked(np.zeros((8, 8, 3), np.uint8), mask, box or whole)


def test_the_share_is_divided_by_the_area_and_cells_count_by_coverage() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, :2] = True  # a quarter; half of the first column of a 2 x 2 grid
    maps = np.array([[[0.5, 0.1], [0.3, 0.1]]])
    ratios, hits = scores(maps, [masked(mask)])
    assert ratios[0] == pytest.approx(0.8 * 0.5 / 0.25)
    assert not hits[0]  # the middle of the cell, at column 2, is just outside
    mask[:, 2] = True
    assert scores(maps, [masked(mask)])[1][0]
    assert scores(10 * maps, [masked(mask)])[0] == pytest.approx(1.6)


def test_even_looks_have_one_whatever_the_object() -> None:
    mask = np.random.default_rng(0).random((30, 50)) > 0.7
    assert scores(np.ones((1, 4, 4)), [masked(mask)])[0][0] == pytest.approx(1, abs=1e-6)


def test_a_crop_sees_a_part_of_the_mask() -> None:
    picture = masked(left(0.5), box=(16.0, 0.0, 56.0, 40.0))
    cover = picture.coverage(4, 4)
    assert np.allclose(cover, [[1, 0.6, 0, 0]] * 4, atol=1e-6)
    assert picture.holds(0.5, 0.35)
    assert not picture.holds(0.5, 0.45)


def test_a_gaussian_is_centred_and_as_wide_as_it_says() -> None:
    found = gaussian(256, 0.2)
    line = found.sum(0) / found.sum()
    position = (np.arange(256) + 0.5) / 256
    assert (line * position).sum() == pytest.approx(0.5)
    assert 0.18 < np.sqrt((line * (position - 0.5) ** 2).sum()) < 0.2  # its tails are cut off


def test_the_bootstrap_is_repeatable_and_has_the_width_of_theory() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = bootstrap(values, "mean")
    assert found == bootstrap(values, "mean")
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap(values, "median").value == np.median(values)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, share in enumerate((0.5, 0.25, 0.75)):
        make(tmp_path / "photos", f"a{seed}", left(share), seed)
    return tmp_path / "photos"


def test_levels_and_their_fusion_are_measured(tiny_checkpoint: Path, photos: Path) -> None:
    model, record = checkpoint.load_model(tiny_checkpoint)
    files = sorted(photos.glob("*/*.jpg"))
    pixels = [fit(decode(f.read_bytes()), 32, 32, "stretch", "bicubic").pixels for f in files]
    with torch.inference_mode():
        maps = model.explain(
            data.normalise(torch.from_numpy(np.stack(pixels)), record.mean, record.std)
        ).maps
    maps["fused"] = fuse(list(maps.values()))
    found = objects(tiny_checkpoint, photos, CPU, batch_size=2)
    assert (found.pictures, found.left_out, found.grid) == (3, 0, 32)
    looks = {look.name: look for look in found.looks}
    assert list(looks)[:5] == ["conv7", "conv10", "conv13", "fused", "centre"]
    assert list(looks)[5:] == ["Gaussian 0.15", "Gaussian 0.2", "Gaussian 0.25"]
    for name, each in maps.items():
        # Quarters of the width are whole columns of every grid here, 4 to 16 wide.
        width = each.shape[-1]
        columns = each.sum(1)
        inside = [columns[i, : int(s * width)].sum() / s for i, s in enumerate((0.5, 0.25, 0.75))]
        assert looks[name].ratio is not None
        assert looks[name].ratio.value == pytest.approx(float(np.median(inside)), rel=1e-4)
        peaks = each.flatten(1).argmax(1) % width
        hits = [peaks[i] < s * width for i, s in enumerate((0.5, 0.25, 0.75))]
        assert looks[name].pointing.value == pytest.approx(np.mean(hits))
    assert looks["centre"].pointing.value == pytest.approx(1 / 3)
    assert looks["centre"].ratio is None


def test_an_object_that_the_crop_cuts_away_is_left_out_and_counted(
    tiny_checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    cropping = tmp_path / "checkpoint"
    cropping.mkdir()
    for file in tiny_checkpoint.iterdir():
        (cropping / file.name).write_bytes(file.read_bytes())
    record = json.loads((cropping / "checkpoint.json").read_text())
    record["config"]["data"]["geometry"] = "center-crop"
    (cropping / "checkpoint.json").write_text(json.dumps(record))
    make(photos, "edge", left(0.15))
    found = objects(cropping, photos, CPU)
    assert (found.pictures, found.left_out) == (3, 1)


def test_the_command_prints_a_table_and_writes_it(
    tiny_checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    assert main([str(tiny_checkpoint), "--masks", str(photos), "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "3 pictures with masks" in printed
    assert [line.split()[0] for line in printed.splitlines()[2:6]] == [
        "conv7",
        "conv10",
        "conv13",
        "fused",
    ]
    found = json.loads(file.read_text())["objects"]
    assert found["pictures"] == 3
    assert f"{found['looks'][0]['ratio']['value']:.2f} (" in printed.splitlines()[2]


def test_masks_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    config = DataConfig()
    with pytest.raises(DataError, match=r"holds no DIR/\*/NAME.mask.png"):
        find(tmp_path)
    make(tmp_path, "none", np.zeros(WIDE, bool))
    with pytest.raises(DataError, match=r"none.mask.png holds no object"):
        read(*find(tmp_path)[0], config)
    small = tmp_path / "things" / "none.mask.png"
    Image.new("L", (8, 8), 255).save(small)
    with pytest.raises(DataError, match=r"has 8 x 8 pixels, its picture 64 x 40"):
        read(*find(tmp_path)[0], config)
    small.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none.mask.png: 10 bytes that are no JPEG"):
        read(*find(tmp_path)[0], config)
    (tmp_path / "things" / "none.jpg").unlink()
    with pytest.raises(DataError, match=r"has no picture none.jpg beside it"):
        find(tmp_path)


def test_a_network_without_maps_is_refused(
    tiny_checkpoint: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnvgg_training import models, recipes
    from attnvgg_training.evaluation import objects as module

    record = checkpoint.read(tiny_checkpoint)
    config = recipes.from_dict(record.config.to_dict(), {"name": "VGG-control"})
    control = models.build(config.model, 3).eval()
    monkeypatch.setattr(module.checkpoint, "load_model", lambda _: (control, record))
    with pytest.raises(DataError, match="has no attention maps"):
        objects(tiny_checkpoint, photos, CPU)
