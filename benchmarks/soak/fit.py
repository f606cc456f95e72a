"""The slope of memory over time, with its interval."""

from statistics import NormalDist

import numpy as np

BLOCKS = 20


def slope(seconds: list[float], megabytes: list[float]) -> tuple[float, float]:
    """Least squares over the second half, in MB an hour: the slope and half of its 95 % interval.

    A large picture takes hundreds of MB for a moment: of each of 20 blocks the least counts, what
    is there when none is being decoded. Neighbouring samples are nearly equal, and counting each
    of them would promise too much.
    """
    half = len(seconds) // 2
    blocks = min(BLOCKS, len(seconds) - half)
    t, y = (
        np.array([block.min() for block in np.array_split(np.array(values[half:]), blocks)])
        for values in (seconds, megabytes)
    )
    t = (t - t.mean()) / 3600
    found = float((t * y).sum() / (t * t).sum())
    left = y - y.mean() - found * t
    error = float(np.sqrt((left * left).sum() / (blocks - 2) / (t * t).sum()))
    return found, NormalDist().inv_cdf(0.975) * error
