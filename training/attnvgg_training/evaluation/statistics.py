"""Intervals over pictures and over seeds."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnvgg_training.evaluation.findings import Interval

RESAMPLES, SEED = 2000, 0
CELLS = 1_000_000  # values held at once


def bootstrap(
    values: NDArray[np.floating] | Sequence[float], statistic: Literal["mean", "median"] = "mean"
) -> Interval:
    """`mean` or `median` of [N] values with the 2.5th and 97.5th percentile over resamples of
    the pictures; the seed is fixed, so the same values give the same interval. Of one value the
    bounds are no numbers."""
    numbers = np.asarray(values, dtype=float)
    compute = np.mean if statistic == "mean" else np.median
    if len(numbers) == 1:
        return Interval(float(numbers[0]), math.nan, math.nan)
    generator = np.random.default_rng(SEED)
    drawn: list[NDArray[np.float64]] = []
    for count in _portions(RESAMPLES, max(1, CELLS // len(numbers))):
        picks = generator.integers(len(numbers), size=(count, len(numbers)))
        drawn.append(compute(numbers[picks], axis=1))
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5))
    return Interval(float(compute(numbers)), float(low), float(high))


def _portions(total: int, most: int) -> list[int]:
    return [min(most, total - begun) for begun in range(0, total, most)]


def paired(first: NDArray[np.floating], second: NDArray[np.floating]) -> Interval:
    """The mean of the differences on the same pictures, first less second; an interval that holds 0
    says that they cannot be told apart on so many."""
    return bootstrap(np.asarray(first, float) - np.asarray(second, float))


def told(difference: Interval, less: str, more: str, alike: str) -> str:
    """Which of three words a difference's interval allows: that of `alike` where it holds 0."""
    if difference.high < 0:
        return less
    return more if difference.low > 0 else alike
