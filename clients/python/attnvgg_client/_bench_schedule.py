"""When requests are due: fixed before the load begins, so that no answer can move a question."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass
from typing import Literal, TypeAlias

from attnvgg_client._errors import InvalidArgumentError

Arrivals: TypeAlias = Literal["poisson", "even"]

MAX_REQUESTS = 1_000_000
"""Of one load, so that the records of it fit into memory."""


@dataclass(frozen=True)
class Load:
    """One row of the table.

    rate: requests a second of an open loop; None means a closed one.
    callers: of a closed loop; of an open one, how many requests may be under way at a time.
    seconds: how long requests are sent, after `warmup` seconds that count for nothing.
    requests: an earlier end.

    Raises:
        InvalidArgumentError: no request, or too many to remember.
    """

    rate: float | None
    callers: int
    seconds: float
    warmup: float
    requests: int | None = None
    arrivals: Arrivals = "poisson"
    seed: int = 0

    def __post_init__(self) -> None:
        count = round(self.value * self.window)
        if self.rate is not None and not 0 < count <= MAX_REQUESTS:
            raise InvalidArgumentError(
                f"--rate {self.value:g} for {self.window:g} s is {count:,} requests; "
                f"1 to {MAX_REQUESTS:,} are right"
            )

    @property
    def value(self) -> float:
        """What distinguishes it from the other rows: the rate, or the number of callers."""
        return self.callers if self.rate is None else self.rate

    @property
    def name(self) -> str:
        """`50/s` or `8 callers`."""
        if self.rate is not None:
            return f"{self.rate:g}/s"
        return f"{self.callers} caller{'s' if self.callers > 1 else ''}"

    @property
    def window(self) -> float:
        """Seconds after the warm-up in which requests may become due."""
        if self.rate is None or self.requests is None:
            return self.seconds
        return min(self.seconds, self.requests / self.rate)

    @property
    def expected(self) -> int | None:
        """Requests in all, those of the warm-up included; None where only time ends it."""
        if self.rate is None:
            return None
        return round(self.rate * self.warmup) + round(self.rate * self.window)


def due_times(load: Load) -> array[float]:
    """Seconds from the start of the window at which the requests of an open loop are due, in
    order; negative in the warm-up.

    Independent users make a Poisson process; given how many arrive, their times are independent
    and uniform. So the number is exactly rate * seconds, and the gaps are as random as real ones.
    """
    rate = load.value
    dice = random.Random(load.seed)
    warm = _spread(round(rate * load.warmup), load.warmup, load.arrivals, dice)
    times = _spread(round(rate * load.window), load.window, load.arrivals, dice)
    return array("d", [moment - load.warmup for moment in warm] + times)


def _spread(count: int, seconds: float, arrivals: Arrivals, dice: random.Random) -> list[float]:
    if arrivals == "even":
        return [seconds * place / count for place in range(count)]
    return sorted(dice.uniform(0, seconds) for _ in range(count))
