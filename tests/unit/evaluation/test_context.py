"""Parts that survive an interruption; pictures chosen by the seed; the shapes of findings."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attnvgg_training.data import Dataset
from attnvgg_training.data.split import MemorySplit
from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Interval, Table, plain
from attnvgg_training.evaluation.report import cell, diagram, markdown
from attnvgg_training.evaluation.statistics import bootstrap, paired, told
from attnvgg_training.evaluation.subject import Subject


@pytest.fixture
def context(subject: Subject, tmp_path: Path) -> Context:
    device = torch.device("cpu")
    return with_test(Context({"attention": subject}, "pictures", None, tmp_path, device), 50)


def with_test(context: Context, count: int) -> Context:
    """A test split of its own, in memory."""
    images = torch.arange(count * 12, dtype=torch.uint8).view(count, 2, 2, 3)
    split = MemorySplit(images, torch.arange(count) % 10)
    context.__dict__["test"] = Dataset(split, split, tuple("abcdefghij"), "made").test
    return context


def test_a_part_is_computed_once(context: Context) -> None:
    calls: list[int] = []

    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"value": np.float64(1.5).item(), "rows": (1, 2)}

    assert context.part("suite/a part#2", compute) == {"value": 1.5, "rows": [1, 2]}
    assert context.part("suite/a part#2", compute) == {"value": 1.5, "rows": [1, 2]}
    assert len(calls) == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"limit": 5}])
def test_a_part_of_another_draw_is_computed_again(context: Context, change: dict[str, Any]) -> None:
    context.part("suite/part", lambda: 1)
    assert with_test(replace(context, **change), 50).part("suite/part", lambda: 2) == 2


def test_a_part_of_other_pictures_at_the_same_place_is_computed_again(context: Context) -> None:
    context.part("suite/part", lambda: 1)
    assert with_test(replace(context, source="moved"), 50).part("suite/part", lambda: 2) == 1
    assert with_test(replace(context), 51).part("suite/part", lambda: 2) == 2


def test_a_part_of_another_network_or_setting_is_computed_again(
    context: Context, subject: Subject
) -> None:
    context.part("suite/part", lambda: 1, steps=3)
    assert context.part("suite/part", lambda: 2, steps=4) == 2
    other = replace(context, subjects={"attention": replace(subject, sha256="1")})
    assert with_test(other, 50).part("suite/part", lambda: 3, steps=4) == 3


def test_a_further_network_leaves_parts_alone_that_do_not_use_it(
    context: Context, subject: Subject
) -> None:
    context.part("suite/part", lambda: 1)
    control = replace(subject, name="control", sha256="1")
    more = with_test(replace(context, subjects={**context.subjects, "control": control}), 50)
    assert more.part("suite/part", lambda: 2) == 1
    assert more.part("suite/part", lambda: 3, uses=[subject, control]) == 3


def test_photos_count_where_they_are_looked_at(context: Context, tmp_path: Path) -> None:
    context.part("localisation/part", lambda: 1)
    context.part("sanity/part", lambda: 1)
    folder = tmp_path / "photos" / "things"
    folder.mkdir(parents=True)
    pixels = np.zeros((40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(pixels[..., 0] + 255).save(folder / "a.mask.png")
    with_photos = with_test(replace(context, masks=folder.parent), 50)
    assert with_photos.part("sanity/part", lambda: 2) == 1
    assert with_photos.part("localisation/part", lambda: 2) == 2


def test_an_interrupted_part_leaves_nothing_behind(context: Context) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        context.part("suite/part", fail)
    assert context.part("suite/part", lambda: 1) == 1


def test_pictures_are_chosen_by_the_seed_and_fewer_are_among_more(context: Context) -> None:
    context = with_test(context, 50)
    assert context.chosen().tolist() == list(range(50))
    few, more = context.chosen(5).tolist(), context.chosen(20).tolist()
    assert few == sorted(few)
    assert set(few) < set(more)
    other = with_test(replace(context, seed=1), 50)
    assert other.chosen(20).tolist() != more
    limited = with_test(replace(context, limit=7), 50)
    assert len(limited.chosen(20)) == 7


def test_pixels_go_from_0_to_1(context: Context) -> None:
    images = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert as_pixels(images).flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert as_pixels(images).shape == (1, 3, 1, 1)


def test_photos_that_are_wanted_and_were_not_given(context: Context) -> None:
    with pytest.raises(ConfigError, match="--masks DIR"):
        context.photos  # noqa: B018


def test_findings_become_strict_json() -> None:
    table = Table("t", ("a", "b"), ((Interval(1.0, math.nan, 2.0), None),))
    text = json.dumps(plain(table), allow_nan=False)
    assert json.loads(text)["rows"] == [[{"value": 1.0, "low": None, "high": 2.0}, None]]
    with pytest.raises(ValueError, match="no row of"):
        Table("t", ("a", "b"), (("x",),))


def test_cells_and_tables_in_words() -> None:
    assert cell(None, 2) == "-"
    assert cell(1.005, 1) == "1.0"
    assert cell({"value": 5.123, "low": 4.0, "high": 6.0}, 1) == "5.1 (4.0 to 6.0)"
    assert cell({"value": 5.123, "low": None, "high": None}, 1) == "5.1"
    assert cell({"value": None, "low": None, "high": None}, 1) == "-"
    assert (cell(4.4e-16, 3), cell(0.0, 3), cell(0.0004, 3)) == ("4e-16", "0.000", "0.0004")
    table = plain(Table("t", ("a", "b"), (("x", 0.5),), digits=1))
    assert markdown(table) == "| a | b |\n| --- | --- |\n| x | 0.5 |\n"


def test_a_diagram_is_the_same_whenever_it_is_drawn() -> None:
    series = {"name": "<one>", "x": [0, 1], "y": [1, 2], "low": [0, 1], "high": [2, 3]}
    curves = {"title": "t", "x": "x", "y": "y", "series": [series], "ticks": ["p", "q"]}
    drawn = diagram(curves)
    assert drawn.startswith('<svg role="img" aria-label="t"')
    assert "&lt;one&gt;" in drawn
    assert drawn == diagram(curves)
    gap = {**series, "y": [None, 2], "low": [None, 1], "high": [None, 3]}
    assert diagram({**curves, "series": [gap]}) != drawn


def test_intervals_hold_what_they_should() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    found = bootstrap(values)
    assert found.low < 3 < found.high
    assert found.high - found.low == pytest.approx(4 / 20, rel=0.2)  # 2 * 1.96 / sqrt(400)
    assert bootstrap(values) == found
    one = paired(values[:1], values[:1] - 1)
    assert math.isnan(one.low)
    assert (one.value, told(one, "less", "more", "alike")) == (1, "alike")
    even = paired(values, values)
    assert (even.value, even.low, even.high) == (0, 0, 0)
    assert paired(values + 1, values).low == pytest.approx(1)


def test_three_words_for_a_difference() -> None:
    words = ("less", "more", "alike")
    assert told(Interval(-2, -3, -1), *words) == "less"
    assert told(Interval(2, 1, 3), *words) == "more"
    assert told(Interval(2, -1, 3), *words) == told(Interval(0, 0, 0), *words) == "alike"
