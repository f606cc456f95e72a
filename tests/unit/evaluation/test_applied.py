"""Maps brought to a common size, where they point, and other pictures for pictures."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from attnvgg_training.evaluation.applied import looking, partners, resized, shares, tops
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject

Make = Callable[..., Subject]


def test_maps_on_a_common_size() -> None:
    maps = torch.tensor([[[0.0, 2.0], [0.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert shares(maps)[0].tolist() == [[0, 0.25], [0, 0.75]]
    assert shares(maps)[1].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert resized(maps, 4, 4)[0, 0].tolist() == pytest.approx([0, 0.5, 1.5, 2])


def test_all_of_the_largest_cells_point() -> None:
    maps = torch.tensor([[[0.0, 2.0], [0.0, 6.0]], [[3.0, 1.0], [3.0, 0.0]], [[7.0, 7.0]] * 2])
    assert tops(maps)[0].tolist() == [[0, 0], [0, 1]]
    assert tops(maps)[1].tolist() == [[0.5, 0], [0.5, 0]]
    assert tops(maps)[2].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert torch.equal(tops(torch.zeros(1, 2, 2)), torch.full((1, 2, 2), 0.25))


@pytest.mark.parametrize(
    "targets",
    [torch.arange(5).repeat_interleave(100), torch.tensor([3] * 400 + [1]), torch.arange(2)],
)
def test_a_partner_is_of_another_class(targets: Tensor) -> None:
    found = partners(targets, seed=3)
    assert (targets[found] != targets).all()
    assert torch.equal(found, partners(targets, seed=3))


def test_partners_are_drawn_evenly_from_all_that_may_be() -> None:
    targets = torch.tensor([0, 1, 0, 2])
    drawn = torch.stack([partners(targets, seed) for seed in range(1500)])
    assert drawn[:, 0].bincount(minlength=4).div(1500).tolist() == pytest.approx(
        [0, 0.5, 0, 0.5], abs=0.05
    )
    assert drawn[:, 3].bincount(minlength=4).div(1500).tolist() == pytest.approx(
        [1 / 3, 1 / 3, 1 / 3, 0], abs=0.05
    )


def test_of_one_class_a_partner_is_any_other_picture() -> None:
    found = partners(torch.full((50,), 7), seed=0)
    assert (found != torch.arange(50)).all()
    assert len(found.unique()) > 10
    assert partners(torch.tensor([7]), seed=0).tolist() == [0]


def test_cam_is_that_of_the_first_gap_network(context: Context, make: Make) -> None:
    assert "CAM (gap)" not in [method.name for _, method in looking(context)]
    gap = replace(make("VGG-GAP"), name="gap")
    subjects = {**context.subjects, "gap": gap, "gap#2": replace(gap, name="gap#2")}
    found = looking(replace(context, subjects=subjects))
    (cam,) = [(subject, method) for subject, method in found if "CAM (" in method.name]
    assert cam[0] is gap
    assert (cam[1].name, cam[1].kind) == ("CAM (gap)", "afterwards")
    assert [method.name for _, method in found][-3:] == ["uniform", "centre", "random"]
