"""Parts that survive an interruption; pictures chosen by the seed; the shapes of findings."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnvgg_training.data import Dataset
from attnvgg_training.data.split import MemorySplit
from attnvgg_training.errors import ConfigError
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Interval, Table, plain
from attnvgg_training.evaluation.report import cell, diagram, markdown
from attnvgg_training.evaluation.statistics import bootstrap, paired
from attnvgg_training.evaluation.subject import Subject


@pytest.fixture
def context(subject: Subject, tmp_path: Path) -> Context:
    return Context({"attention": subject}, "pictures", None, tmp_path, torch.device("cpu"))


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


@pytest.mark.parametrize("change", [{"seed": 1}, {"limit": 5}, {"source": "others"}])
def test_a_part_of_other_pictures_is_computed_again(
    context: Context, change: dict[str, Any]
) -> None:
    context.part("suite/part", lambda: 1)
    assert replace(context, **change).part("suite/part", lambda: 2) == 2


def test_a_part_of_another_network_or_setting_is_computed_again(
    context: Context, subject: Subject
) -> None:
    context.part("suite/part", lambda: 1, steps=3)
    assert context.part("suite/part", lambda: 2, steps=4) == 2
    other = replace(context, subjects={"attention": replace(subject, sha256="1")})
    assert other.part("suite/part", lambda: 3, steps=4) == 3


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


def test_a_network_that_is_wanted_and_was_not_given(context: Context) -> None:
    with pytest.raises(ConfigError, match="--beside control=CHECKPOINT"):
        context.wanted("control", "classification")
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
    table = plain(Table("t", ("a", "b"), (("x", 0.5),), digits=1))
    assert markdown(table) == "| a | b |\n| --- | --- |\n| x | 0.5 |\n"


def test_a_diagram_is_the_same_whenever_it_is_drawn() -> None:
    series = {"name": "<one>", "x": [0, 1], "y": [1, 2], "low": [0, 1], "high": [2, 3]}
    curves = {"title": "t", "x": "x", "y": "y", "series": [series], "ticks": ["p", "q"]}
    drawn = diagram(curves)
    assert drawn.startswith("<svg")
    assert "&lt;one&gt;" in drawn
    assert drawn == diagram(curves)


def test_intervals_hold_what_they_should() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    found = bootstrap(values)
    assert found.low < 3 < found.high
    assert found.high - found.low == pytest.approx(4 / 20, rel=0.2)  # 2 * 1.96 / sqrt(400)
    assert bootstrap(values) == found
    even = paired(values, values)
    assert (even.value, even.low, even.high) == (0, 0, 0)
    assert paired(values + 1, values).low == pytest.approx(1)
