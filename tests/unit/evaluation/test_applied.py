"""Maps brought to a common size."""

from collections.abc import Callable

import pytest
import torch

from attnvgg_training.evaluation.applied import peaks, resized, shares
from attnvgg_training.evaluation.subject import Subject

Make = Callable[..., Subject]


def test_maps_on_a_common_size() -> None:
    maps = torch.tensor([[[0.0, 2.0], [0.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert shares(maps)[0].tolist() == [[0, 0.25], [0, 0.75]]
    assert shares(maps)[1].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert peaks(maps).tolist() == [[0.75, 0.75], [0.5, 0.5]]
    assert resized(maps, 4, 4)[0, 0].tolist() == pytest.approx([0, 0.5, 1.5, 2])
