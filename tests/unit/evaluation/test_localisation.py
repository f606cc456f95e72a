"""Photos and mosaics against maps whose place is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from attnvgg_training.data.split import MemorySplit
from attnvgg_training.errors import DataError
from attnvgg_training.evaluation import mosaics, statistics
from attnvgg_training.evaluation.applied import looking
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Interval, Table
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.methods import Method, controls
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    localisation,
)
from evidence_support import fixed

Make = Callable[..., Subject]


def masked(rows: slice, columns: slice) -> Masked:
    """A photo of noise, 32 x 32, with an object there."""
    mask = np.zeros((32, 32), bool)
    mask[rows, columns] = True
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Masked(pixels, mask, (0, 0, 32, 32))


TOP = masked(slice(0, 8), slice(0, 32))
LEFT = masked(slice(0, 32), slice(0, 16))


def shown(context: Context, *photos: Masked, **values: object) -> Context:
    """The same pictures, with photos."""
    made = replace(context, masks=Path("photos"), **values)  # type: ignore[arg-type]
    paths = [(Path("things") / f"{number}.png", each) for number, each in enumerate(photos)]
    made.__dict__.update(test=context.test, photos=paths, _of_photos="photos")
    return made


def titled(found: Findings, start: str) -> Table:
    (table,) = [each for each in found.tables if each.title.startswith(start)]
    return table


def values(table: Table, column: int) -> dict[str, Interval]:
    return {str(row[0]): row[column] for row in table.rows}  # type: ignore[misc]


def test_of_tied_maxima_the_part_inside_counts(context: Context) -> None:
    maps = torch.zeros(4, 4, 4)
    maps[0, 0, 0] = 1
    maps[1, :2, 3] = 5  # two cells, the upper of which is inside
    maps[2, 3, 3] = 1
    found = localisation._on_objects(shown(context, *[TOP] * 4), context.main, fixed(maps))
    assert found["hit"] == [1, 0.5, 0, 0.25]  # the last is even: the object's share of the area
    assert found["mass"] == [1, 0.5, 0, 0.25]
    assert found["ratio"] == [4, 2, 0, 1]
    assert localisation.pointed(torch.ones(1, 1), TOP) == 0.25


def test_a_map_of_one_cell_does_not_point_at_the_middle(context: Context) -> None:
    middle = masked(slice(12, 20), slice(12, 20))
    looks = [(context.main, method) for method in controls()]
    table, _ = localisation._photos(shown(context, middle, middle), looks)
    hits = values(table, 3)
    assert hits["uniform"].value == pytest.approx(100 * 8**2 / 32**2)
    assert hits["centre"].value == 100


def test_mass_and_maxima_in_the_right_quarter(context: Context) -> None:
    maps = torch.zeros(4, 4, 4)
    maps[0, 0, 3] = 1.0  # upper right
    maps[1, 3, 0], maps[1, 0, 0] = 3.0, 1.0  # lower left, a quarter of it upper left
    maps[3, 0, 1:] = 1.0  # three cells, one of them upper left
    targets = torch.zeros(4, dtype=torch.int64)
    made = mosaics.Mosaics(torch.zeros(4, 3, 8, 8), torch.tensor([1, 2, 0, 0]), targets)
    found = localisation._quarters(context, made, context.main, fixed(maps))
    assert found["mass"] == pytest.approx([1, 0.75, 0.25, 1 / 3])
    assert found["hit"] == pytest.approx([1, 1, 0.25, 1 / 3])  # zeros point nowhere


def test_a_cell_in_several_quarters_counts_in_each() -> None:
    maps = torch.zeros(3, 3, 3)
    maps[0, 1, 1], maps[1, 0, 1], maps[2, 2, 2] = 1, 1, 1
    expected = [[0.25] * 4, [0.5, 0.5, 0, 0], [0, 0, 0, 1]]
    assert mosaics.by_quarter(maps).tolist() == expected
    assert mosaics.by_quarter(torch.ones(1, 1, 1)).tolist() == [[0.25] * 4]


def test_mosaics_are_made_of_what_they_say(context: Context, tmp_path: Path) -> None:
    four = [torch.full((3, 2, 2), float(value)) for value in range(4)]
    assert mosaics.tiled(four)[0].tolist() == [
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
    ]
    made = mosaics.of_four_labels(context)
    assert made.pixels.shape == (20, 3, 64, 64)
    for start in range(0, 20, 4):
        assert len(set(made.targets[start : start + 4].tolist())) == 4
        assert torch.equal(made.pixels[start], made.pixels[start + 3])
    empty = replace(context, others={"localisation": str(tmp_path)})
    empty.__dict__["test"] = context.test
    with pytest.raises(DataError, match="holds 0 pictures; it needs 3"):
        mosaics.with_distractors(empty)


def test_three_distractors_none_of_them_twice_or_a_mask(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    for number, value in enumerate((50, 100, 150)):
        Image.new("RGB", (40, 40), (value,) * 3).save(folder / f"{number}.png")
    Image.new("L", (40, 40), 255).save(folder / "0.mask.png")
    other = replace(context, others={"localisation": str(folder)})
    other.__dict__["test"] = context.test
    made = mosaics.with_distractors(other)
    assert len(made.quarter) == 20
    for mosaic, quarter in zip(made.pixels, made.quarter.tolist(), strict=True):
        corners = (255 * mosaic[0, ::63, ::63]).round().flatten().tolist()
        assert sorted(corners[:quarter] + corners[quarter + 1 :]) == [50, 100, 150]


def test_questions_about_one_mosaic_are_one_sample(context: Context) -> None:
    looks = [(context.main, Method("seeing", "learned", False, "", lambda p, t: p.mean(1)))]
    table, said = localisation._four(context, looks)
    (row,) = table.rows
    for each in row[1:]:
        assert isinstance(each, Interval)
        assert (each.value, each.low, each.high) == pytest.approx((25, 25, 25), abs=0.01)
    assert "5 mosaics, four questions each" in table.note
    assert "by construction" in said[0]


def test_a_map_that_is_blind_to_the_class_has_a_quarter(context: Context) -> None:
    found = localisation.run(context)
    shares, maxima = (values(titled(found, "Four labelled"), column) for column in (1, 2))
    blind = [n for n in shares if n.startswith(("attention", "activation"))]
    assert len(blind) == 7
    for name in [*blind, "uniform", "centre", "random"]:
        for each in (shares[name], maxima[name]):
            assert (each.low, each.high) == pytest.approx((25, 25), abs=0.01), name
    assert any("by construction" in sentence for sentence in found.sentences)
    assert any(" puts " in s and "on the picture asked about" in s for s in found.sentences)


def test_fewer_classes_have_no_mosaics_of_four(context: Context) -> None:
    split = MemorySplit(torch.zeros(9, 32, 32, 3, dtype=torch.uint8), torch.arange(9) % 3)
    context.__dict__["test"] = split
    found = localisation.run(context)
    assert [table.title for table in found.tables] == ["Sparseness"]
    assert found.sentences == (
        "Mosaics of four labels are left out: the pictures of the test split show 3.",
    )


def looks(context: Context) -> localisation.Looks:
    kinds = {"attention a": "learned", "attention b": "learned", "x": "afterwards", "y": "control"}

    def nothing(pixels: Tensor, targets: Tensor) -> Tensor:
        return pixels

    return [(context.main, Method(n, kind, False, "", nothing)) for n, kind in kinds.items()]  # type: ignore[arg-type]


EVEN = np.array([40.0, 60.0] * 20)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (10 + EVEN / 10, "has more inside the object than"),
        (-10 - EVEN / 10, "has less inside the object than"),
        (EVEN - 50, "has about as much inside the object as"),
    ],
)
def test_the_best_learned_map_against_the_best_afterwards(
    context: Context, more: np.ndarray, said: str
) -> None:
    mass = {"attention a": EVEN + more, "attention b": 0 * EVEN, "x": EVEN, "y": 100 + EVEN}
    (found,) = localisation._against_afterwards(looks(context), mass, localisation.IN_OBJECT)
    assert found.startswith(
        f"The best of 2 learned maps (attention a) {said} the best of 1 methods"
    )
    assert f"(x): {more.mean():+.1f} points (" in found
    (pointing,) = localisation._against_centre({"attention a": EVEN + more, "centre": EVEN})
    word = {"more": "more often than", "less": "less often than"}.get(
        said.split()[1], "as often as"
    )
    assert word in pointing


@pytest.mark.parametrize(
    ("mass", "said"),
    [
        (EVEN, "50.0 % (47.0 to 53.0) here, more than chance (25 %)"),
        (EVEN / 5, "less than chance"),
        (EVEN / 2, "which may be chance"),
    ],
)
def test_the_best_map_against_chance(mass: np.ndarray, said: str) -> None:
    found = {"a": mass, "b": mass - 1, "c": mass + 100}
    (sentence,) = localisation._against_chance(["a", "b"], found, "here")
    assert sentence.startswith("In mosaics the best of 2 maps (a) puts ")
    assert said in sentence


def test_cam_of_another_network_is_asked_about_that_networks_answer(
    context: Context, make: Make
) -> None:
    gap = replace(make("VGG-GAP"), name="gap", sha256="1")
    asked: list[Tensor] = []

    def remember(pixels: Tensor, targets: Tensor) -> Tensor:
        asked.append(targets)
        return pixels.mean(1)

    made = shown(context, TOP, LEFT, subjects={**context.subjects, "gap": gap})
    localisation._on_objects(made, gap, Method("m", "afterwards", True, "", remember))
    pixels = torch.from_numpy(np.stack([TOP.pixels, LEFT.pixels])).permute(0, 3, 1, 2) / 255
    assert torch.equal(asked[0], gap.model(pixels).argmax(1))
    (cam,) = [each for each in looking(made) if each[1].name == "CAM (gap)"]
    table, _ = localisation._photos(made, [cam, (context.main, controls()[1])])
    assert [row[0] for row in table.rows] == ["CAM (gap)", "centre"]

    def part() -> str:
        localisation._four(made, [cam])
        return (made.out / "parts" / "localisation" / "four-CAM-(gap).json").read_text()

    before = part()
    assert part() == before
    cam = (replace(gap, sha256="2"), cam[1])
    assert part() != before, "the part is that network's"


def test_seeds_are_looked_at_one_by_one(context: Context) -> None:
    second = replace(context.main, name="attention#2", sha256="1")
    subjects = {**context.subjects, "attention#2": second}
    (table,) = localisation._seeds(shown(context, TOP, LEFT, subjects=subjects))
    assert [row[:2] for row in table.rows][:2] == [("conv7", "attention"), ("conv7", "attention#2")]
    assert "nothing is averaged" in table.note
    part = context.out / "parts" / "localisation" / "seeds-attention-2-conv7.json"
    before = part.read_text()
    subjects["attention#2"] = replace(second, sha256="2")
    localisation._seeds(shown(context, TOP, LEFT, subjects=subjects))
    assert part.read_text() != before


@pytest.mark.parametrize("name", ["VGG-GAP", "VGG-16-BN", "VGG-att2-indep-dp"])
def test_other_networks_and_a_single_picture(
    context: Context, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 20)
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number,) * 3).save(tmp_path / f"{number}.png")
    made = shown(
        context,
        TOP,
        subjects={"attention": make(name)},
        limit=1,
        others={"localisation": str(tmp_path)},
    )
    found = localisation.run(made)
    assert len(found.tables) == 4
    learned = "att" in name
    assert any("attention " in sentence for sentence in found.sentences) is learned


def test_sparseness_stands_beside_controls(context: Context) -> None:
    looks = [(context.main, method) for method in controls()]
    table = localisation._sparseness(context, looks)
    cells, index = {row[0]: row[1] for row in table.rows}, values(table, 2)
    assert cells["uniform"] == 1
    assert index["uniform"].value == pytest.approx(0)
    assert index["random"].value == pytest.approx(1 / 3, abs=0.05)
    assert "depends on the number of cells" in table.note


def test_gini_of_even_and_of_single_cells() -> None:
    even, single = torch.full((1, 8), 1 / 8), torch.eye(8)[:1]
    assert localisation.gini(even).item() == pytest.approx(0)
    assert localisation.gini(single).item() == pytest.approx(7 / 8)
