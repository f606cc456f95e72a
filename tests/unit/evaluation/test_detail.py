"""Parts of an object."""

from collections.abc import Callable

import numpy as np

from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    detail,
)

Make = Callable[..., Subject]


def test_bands_go_from_outside_of_the_object_to_its_middle() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    grid = detail.bands(mask)
    assert grid[4, 4] == 1
    assert 0 < grid[2, 2] < 0.5
    assert -0.5 < grid[1, 4] < 0
    assert grid[0, 0] >= -1
