"""Photos and mosaics against maps whose place is known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from attnvgg_training.errors import DataError
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    localisation,
)
from evidence_support import fixed

Make = Callable[..., Subject]


def test_mass_and_maximum_in_the_right_quarter(context: Context) -> None:
    maps = torch.zeros(3, 4, 4)
    maps[0, 0, 3] = 1.0  # upper right
    maps[1, 3, 0], maps[1, 0, 0] = 3.0, 1.0  # lower left, a quarter of it upper left
    made = localisation.Mosaics(torch.zeros(3, 3, 8, 8), torch.tensor([1, 2, 0]), torch.zeros(3))
    found = localisation._quarters(context, fixed(maps), made)
    assert found["mass"] == pytest.approx([1, 0.75, 0.25])
    assert found["hit"] == [1, 1, 0.25]  # a map of zeros is even, and points nowhere


def test_mosaics_are_made_of_what_they_say(context: Context, tmp_path: Path) -> None:
    four = [torch.full((3, 2, 2), float(value)) for value in range(4)]
    assert localisation.tiled(four)[0].tolist() == [
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
    ]
    made = localisation.of_four_labels(context)
    assert made.pixels.shape == (20, 3, 64, 64)
    for start in range(0, 20, 4):
        assert len(set(made.targets[start : start + 4].tolist())) == 4
        assert torch.equal(made.pixels[start], made.pixels[start + 3])
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(DataError, match="holds 0 pictures; it needs 3"):
        localisation.with_distractors(context, empty)


def test_a_map_that_is_blind_to_the_class_has_a_quarter(context: Context) -> None:
    found = localisation.run(context)
    (table,) = [t for t in found.tables if t.title.startswith("Four labelled")]
    values = {row[0]: row[1].value for row in table.rows}  # type: ignore[union-attr]
    for name, value in values.items():
        if name.startswith(("attention", "activation")):
            assert value == pytest.approx(25, abs=0.01), name
    assert any("by construction" in sentence for sentence in found.sentences)


def test_gini_of_even_and_of_single_cells() -> None:
    even, single = torch.full((1, 8), 1 / 8), torch.eye(8)[:1]
    assert localisation.gini(even).item() == pytest.approx(0)
    assert localisation.gini(single).item() == pytest.approx(7 / 8)
