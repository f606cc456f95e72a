"""Parts of an object."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import plain
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    detail,
)
from evidence_support import fixed

Make = Callable[..., Subject]


def square(first: int, last: int) -> NDArray[np.bool_]:
    """An object on a photo of 64 x 64."""
    mask = np.zeros((64, 64), bool)
    mask[first:last, first:last] = True
    return mask


def shown(context: Context, folder: Path, *masks: NDArray[np.bool_], **values: object) -> Context:
    """With photos of noise, 64 x 64, that have these masks."""
    generator = np.random.default_rng(0)
    (folder / "things").mkdir(parents=True)
    for number, mask in enumerate(masks):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "things" / f"{number}.png")
        file = folder / "things" / f"{number}.mask.png"
        Image.fromarray((255 * mask).astype(np.uint8)).save(file)
    made = replace(context, masks=folder, **values)  # type: ignore[arg-type]
    made.__dict__["test"] = context.test
    return made


def test_bands_go_from_outside_of_the_object_to_its_middle() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    grid = detail.bands(mask)
    assert grid[4, 4] == 1
    assert 0 < grid[2, 2] < 0.5
    assert -0.5 < grid[1, 4] < 0
    assert grid[0, 0] >= -1


def test_attention_in_bands(context: Context, tmp_path: Path) -> None:
    made = shown(context, tmp_path / "photos", square(16, 48), square(16, 48))
    maps = torch.zeros(2, 64, 64)
    maps[0, 31:33, 31:33], maps[1] = 1, 1
    rows = detail._measured(made, fixed(maps), detail._grids(made))
    assert len(rows) == len(detail.NAMES)
    assert [row[0] for row in rows[:-1]] == [0] * 5
    assert rows[-1][0] > 1
    assert [row[1] for row in rows] == pytest.approx([1] * 6)


def test_photos_without_parts_are_left_out(context: Context, tmp_path: Path) -> None:
    speck = np.zeros((64, 64), bool)
    speck[5, 5] = True
    photos = (square(16, 48), np.ones((64, 64), bool), square(30, 34))
    made = shown(context, tmp_path / "photos", *photos)
    assert list(detail._grids(made)) == [0, 2]
    found = detail.run(made)
    (curves,) = found.curves
    assert "2 photos with masks" in curves.note
    assert "1 photos are left out" in curves.note
    assert [each.name for each in curves.series] == [
        *(f"attention {name}" for name in context.main.maps),
        "centre",
        "random",
        "even look",
    ]
    assert len(found.sentences) == 2 * len(context.main.maps)
    assert (context.out / "detail.png").is_file()

    none = detail.run(shown(context, tmp_path / "full", np.ones((64, 64), bool)))
    assert none.curves == ()
    assert none.sentences == ("The objects of all 1 photos are too small or fill the photo.",)


def test_a_band_that_no_photo_has_is_a_gap(context: Context, tmp_path: Path) -> None:
    made = shown(context, tmp_path / "photos", square(2, 62))  # nothing is far outside
    (curves,) = detail.run(made).curves
    assert "left out" not in curves.note
    for series in curves.series[:-1]:
        shown_ = plain(series)
        assert shown_["y"][:2] == [None, None]
        assert shown_["low"][:2] == [None, None]
        assert shown_["y"][2] is not None


def test_networks_without_maps_have_nothing_to_show(context: Context, make: Make) -> None:
    found = detail.run(replace(context, subjects={"attention": make("VGG-GAP")}))
    assert found.sentences == ("The network has no learned maps.",)


EVEN = np.array([0.9, 1.1] * 10)


def test_the_band_with_most_is_told_from_those_alike() -> None:
    rows = np.stack([EVEN] * 6)
    rows[5] += 1 + EVEN / 10
    said = "attention x looks most at: middle (2.1 times an even look)"
    assert detail._most("attention x", rows) == f"{said}."
    rows[4] = rows[5] + (EVEN - 1.001)
    alike = f"{said}, which cannot be told apart from: inside (2.1)."
    assert detail._most("attention x", rows) == alike
    rows[5, ::2], rows[4, 1::2] = math.nan, math.nan  # no photo has both
    assert "cannot be told apart" in detail._most("attention x", rows)


def test_every_band_is_compared_with_a_look_at_the_centre() -> None:
    rows, centre = np.stack([EVEN] * 6), np.stack([EVEN] * 6)
    rows[0] += EVEN
    rows[1] -= EVEN / 2
    rows[2] += EVEN - 1
    rows[3:5] -= EVEN - 1
    rows[5] = math.nan
    assert detail._beside("attention x", rows, centre) == (
        "Beside a look at the centre, attention x looks: more at far outside; less at outside; "
        "no difference to be told at just outside, just inside, inside."
    )
