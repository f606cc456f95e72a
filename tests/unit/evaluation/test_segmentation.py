"""Masks against masks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attnvgg_training.evaluation import statistics
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.methods import Method
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    segmentation,
)
from evidence_support import fixed

Make = Callable[..., Subject]


def shown(context: Context, **values: object) -> Context:
    """With three photos of noise, 32 x 32: the object is their upper half, quarter and half."""
    generator, photos = np.random.default_rng(0), []
    for folder, rows in (("car", 16), ("car", 8), ("horse", 16)):
        mask = np.zeros((32, 32), bool)
        mask[:rows] = True
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        photos.append((Path(folder) / "x.png", Masked(pixels, mask, (0, 0, 32, 32))))
    made = replace(context, masks=Path("photos"), **values)  # type: ignore[arg-type]
    made.__dict__.update(test=context.test, photos=photos, _of_photos="photos")
    return made


def test_jaccard_and_thresholds() -> None:
    mask = np.array([[True, True], [False, False]])
    assert segmentation.jaccard(mask, mask) == 1
    assert segmentation.jaccard(np.array([[True, False], [True, False]]), mask) == 1 / 3
    assert segmentation.jaccard(~mask, mask) == 0
    assert segmentation.stretched(np.array([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    assert segmentation.stretched(np.array([2.0, 2.0])).tolist() == [1, 1]
    assert segmentation._best([[0.1] * 18 + [0.9], [0.2] * 18 + [0.7]]) == (0.95, [0.9, 0.7])


def test_a_map_of_the_object_covers_it(context: Context) -> None:
    maps = torch.zeros(3, 32, 32)
    maps[:, :16] = 1.0
    maps[2] = 1.0
    found = segmentation._scores(shown(context), context.main, fixed(maps))
    assert found["otsu"] == [1, 0.5, 0.5]
    assert found["fixed"] == [[1] * 19, [0.5] * 19, [0.5] * 19]


def test_folders_are_by_otsu_and_everything_is_beside(
    context: Context, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = torch.zeros(3, 32, 32)
    maps[:, :16], maps[2, 16:24] = 1.0, 0.8  # Otsu takes three quarters of the third
    gap = replace(make("VGG-GAP"), name="gap", sha256="1")
    made = shown(context, subjects={**context.subjects, "gap": gap})
    other = replace(fixed(maps), name="CAM (gap)", kind="afterwards")
    monkeypatch.setattr(segmentation, "looking", lambda context: [(gap, other)])
    table = segmentation.run(made).tables[0]
    assert table.columns[4:] == ("car", "horse")
    cam, everything = table.rows
    assert cam[4:] == pytest.approx((0.75, 16 / 24))
    assert cam[2].value == pytest.approx(2.5 / 3)  # type: ignore[union-attr]
    assert everything[3:] == (None, 0.375, 0.5)
    assert everything[1].value == pytest.approx((0.5 + 0.25 + 0.5) / 3)  # type: ignore[union-attr]
    assert "a bound rather than a result" in table.note
    assert "ANSWERED" in table.note


def test_another_network_is_asked_about_its_own_answer(context: Context, make: Make) -> None:
    gap, asked = make("VGG-GAP"), []

    def remember(pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        asked.extend(targets.tolist())
        return pixels.mean(1)

    made = shown(context, batch_size=2)
    segmentation._scores(made, gap, Method("m", "afterwards", True, "", remember))
    pixels = torch.from_numpy(np.stack([each.pixels for _, each in made.photos]))
    assert asked == gap.model(pixels.permute(0, 3, 1, 2) / 255).argmax(1).tolist()


@pytest.mark.parametrize("name", ["VGG-att1-concat-pc", "VGG-GAP"])
def test_networks_with_and_without_maps(
    context: Context, make: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 20)
    gap = replace(make("VGG-GAP"), name="gap", sha256="1")
    found = segmentation.run(shown(context, subjects={"attention": make(name), "gap": gap}))
    names = [row[0] for row in found.tables[0].rows]
    assert names[-4:] == ["CAM (gap)", "centre", "random", "everything"]
    assert bool(found.sentences) is (name != "VGG-GAP")


EVEN = np.array([0.4, 0.6] * 20)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (0.1 + EVEN / 10, "covers the object better than"),
        (-0.1 - EVEN / 10, "covers the object worse than"),
        (EVEN - 0.5, "covers the object about as well as"),
    ],
)
def test_what_is_said_follows_the_interval(more: np.ndarray, said: str) -> None:
    otsu = {"a": EVEN + more, "b": EVEN - 1, "centre": EVEN, "everything": EVEN, "x": EVEN}
    found = segmentation._sentences(otsu, ["a", "b"], ["x"])
    assert len(found) == 3
    for sentence, other in zip(
        found, ("the centre", "the mask of all", "the best of 1"), strict=True
    ):
        assert f"the best of 2 learned maps (a) {said} {other}" in sentence
        assert f": {more.mean():+.3f} (" in sentence
