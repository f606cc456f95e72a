"""Weights drawn anew, and maps compared."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    sanity,
)

Make = Callable[..., Subject]


def test_blocks_go_from_the_logits_down_and_alone_are_drawn_anew(make: Make) -> None:
    subject = make(global_feature=False)
    names = sanity.blocks(subject.network)
    assert names[:4] == ("head", "attention.conv13", "attention.conv10", "attention.conv7")
    assert names[4:] == tuple(f"units.{index}" for index in reversed(range(13)))
    before = subject.network.state_dict()
    after = sanity.redrawn(subject, ("units.12",), 0).network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("units.12.") for key in changed)
    noise = sanity.redrawn(subject, ("attention.conv10",), 0).network.state_dict()
    u = noise["attention.conv10.u"]
    assert not torch.equal(u, before["attention.conv10.u"])
    assert u.std() > 0  # a u of zeros would make an even map, which has no rank


def test_maps_are_compared_by_rank_and_by_structure(pixels: Tensor) -> None:
    maps = pixels[:, 0, :8, :8]
    rank, ssim = sanity.compared(maps, maps)
    assert rank == pytest.approx([1] * 4)
    assert ssim == pytest.approx([1] * 4)
    assert sanity.compared(maps, 1 - maps)[0] == pytest.approx([-1] * 4)
    assert sanity.compared(maps, torch.ones_like(maps))[0] == [0] * 4


def test_what_follows_the_maps_leaves_them_alone(context: Context) -> None:
    small = replace(context, limit=3)
    small.__dict__["test"] = context.test
    found = sanity._randomised(small, ("head", "units.0"), "cascading")
    assert found["attention conv7"]["rank"][1] == pytest.approx([1] * 3)
    assert found["grad-cam conv13"]["rank"][1] != pytest.approx([1] * 3)
    assert max(found["attention conv7"]["rank"][2]) < 0.95
