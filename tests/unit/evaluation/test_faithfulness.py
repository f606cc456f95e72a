"""Deletion, insertion and ROAD against a network that looks at one corner."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attnvgg_training.data.split import MemorySplit
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    faithfulness,
)
from evidence_support import fixed

Make = Callable[..., Subject]


class Corner(nn.Module):
    """Answers class 0 by the brightness of the upper left quarter, class 1 otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        light = pixels[..., :16, :16].mean((1, 2, 3))
        return torch.stack([8 * light, torch.full_like(light, 2.0)], dim=1)


def test_deletion_and_insertion_know_a_true_map_from_a_false_one(context: Context) -> None:
    seen = replace(context.main, model=Corner())  # type: ignore[arg-type]
    context = replace(context, subjects={"attention": seen})
    bright = torch.zeros(20, 32, 32, 3, dtype=torch.uint8)
    bright[:, :16, :16] = 200
    context.__dict__["test"] = MemorySplit(bright, torch.zeros(20, dtype=torch.int64))
    true = torch.zeros(20, 32, 32)
    true[:, :16, :16] = 1.0
    good = faithfulness._measure(context, fixed(true))
    bad = faithfulness._measure(context, fixed(1 - true))
    assert np.mean(good["deletion"]) < np.mean(bad["deletion"]) - 0.2
    assert np.mean(good["insertion"]) > np.mean(bad["insertion"]) + 0.001
    better, worse = faithfulness.per_picture(good), faithfulness.per_picture(bad)
    assert better["road first"].mean() < worse["road first"].mean() - 0.2
    assert better["road last"].mean() > worse["road last"].mean() + 0.2
    assert better["road first"].shape == better["deletion"].shape == (20,)


@pytest.mark.parametrize("key", faithfulness.ORDER)
def test_the_best_learned_map_is_judged_by_the_direction_of_the_measure(key: str) -> None:
    low = np.linspace(0.1, 0.2, 20)
    found = {
        "mine": low,
        "poor": low + 0.1,
        "random": low + 0.5,
        "uniform": low - 0.1,
        "centre": low,
        "theirs": low - 0.05,
    }
    if faithfulness.ORDER[key][1] > 0:  # more is better: the same, upside down
        found = {name: 1 - each for name, each in found.items()}
    said = faithfulness.verdicts(key, found, ["poor", "mine"], ["theirs"])
    title = faithfulness.ORDER[key][0]
    assert said[0].startswith(f"{title}: mine, the best learned map, is better than random:")
    assert "is worse than uniform: " in said[1]
    assert "is no better or worse than centre: " in said[2]
    assert "is worse than theirs: " in said[3]
    amount = "-0.500 (-0.500 to -0.500)"
    assert (amount if faithfulness.ORDER[key][1] < 0 else amount.replace("-", "+")) in said[0]
    assert faithfulness.verdicts(key, found, [], ["theirs"]) == []


def test_pixels_are_ordered_by_the_map_and_ties_at_random(pixels: Tensor) -> None:
    maps = torch.tensor([[[3.0, 1.0], [2.0, 0.0]]])
    assert faithfulness.ranked(maps, pixels[:1]).tolist() == [[[0, 2], [1, 3]]]
    even = torch.ones(2, 32, 32)
    first, second = faithfulness.ranked(even, pixels[:2])
    assert sorted(first.flatten().tolist()) == list(range(1024))
    assert not torch.equal(first, second)
    assert torch.equal(faithfulness.ranked(even[:1], pixels[:1])[0], first)


def test_a_hole_is_filled_from_its_neighbours() -> None:
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    hole = torch.zeros(6, 6, dtype=torch.bool)
    hole[2, 3] = True
    filled = faithfulness.imputed(picture, hole)
    direct = picture[:, [1, 3, 2, 2], [3, 3, 2, 4]].mean(1)
    corners = picture[:, [1, 1, 3, 3], [2, 4, 2, 4]].mean(1)
    torch.testing.assert_close(filled[:, 2, 3], direct * 2 / 3 + corners / 3, rtol=0, atol=0.05)
    assert torch.equal(filled[:, ~hole], picture[:, ~hole])
    even = torch.full((3, 6, 6), 0.5)
    wide = torch.ones(6, 6, dtype=torch.bool)
    wide[0, 0] = False
    torch.testing.assert_close(faithfulness.imputed(even, wide), even, rtol=0, atol=0.05)
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert torch.isfinite(faithfulness.imputed(even, everything)).all()
