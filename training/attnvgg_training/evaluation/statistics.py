"""Intervals over pictures and over seeds."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnvgg_training.evaluation.findings import Interval

RESAMPLES, SEED = 2000, 0


def bootstrap(
    values: NDArray[np.floating] | Sequence[float], statistic: Literal["mean", "median"] = "mean"
) -> Interval:
    """`mean` or `median` of [N] values with the 2.5th and 97.5th percentile over resamples of
    the pictures; the seed is fixed, so the same values give the same interval."""
    numbers = np.asarray(values, dtype=float)
    compute = np.mean if statistic == "mean" else np.median
    generator = np.random.default_rng(SEED)
    drawn = [
        compute(numbers[generator.integers(len(numbers), size=len(numbers))])
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(float(compute(numbers)), float(low), float(high))


def paired(first: NDArray[np.floating], second: NDArray[np.floating]) -> Interval:
    """The mean of the differences on the same pictures, first less second; an interval that holds 0
    says that they cannot be told apart on so many."""
    return bootstrap(np.asarray(first, float) - np.asarray(second, float))


def told(difference: Interval, less: str, more: str, alike: str) -> str:
    """Which of three words a difference's interval allows: that of `alike` where it holds 0."""
    if difference.high < 0:
        return less
    return more if difference.low > 0 else alike
