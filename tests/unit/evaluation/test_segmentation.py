"""Masks against masks."""

from collections.abc import Callable

import numpy as np

from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    segmentation,
)

Make = Callable[..., Subject]


def test_jaccard_and_thresholds() -> None:
    mask = np.array([[True, True], [False, False]])
    assert segmentation.jaccard(mask, mask) == 1
    assert segmentation.jaccard(np.array([[True, False], [True, False]]), mask) == 1 / 3
    assert segmentation.jaccard(~mask, mask) == 0
    assert segmentation.stretched(np.array([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    assert segmentation.stretched(np.array([2.0, 2.0])).tolist() == [1, 1]
    assert segmentation._best([[0.1] * 18 + [0.9], [0.2] * 18 + [0.7]]) == (0.95, [0.9, 0.7])
