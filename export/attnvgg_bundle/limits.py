"""How far a graph's outputs may be off; a part of what parity.json and the manifest say."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tolerance:
    """A value v may differ from the expected e by absolute + relative * |e|; in a map, which is
    compared as h * w * a, by maps + relative * |e|."""

    absolute: float
    relative: float
    maps: float

    def __str__(self) -> str:
        return f"{self.absolute:g} + {self.relative:.1%} of the value"


@dataclass(frozen=True)
class Spread:
    """For graphs of other arithmetic, where single cells of a peaky map say little.

    Of no picture may probabilities or a map have a total variation distance from the expected of
    more than `variation`, nor the descriptor a distance of more than that part of its length.
    """

    variation: float

    def __str__(self) -> str:
        return f"{self.variation:.0%} of a map's total in the worst picture"


Limit = Tolerance | Spread


def limit_of(report: dict[str, Any]) -> Limit:
    """The limit that a format's part of parity.json names."""
    stored = report["tolerance"]
    return Spread(**stored) if "variation" in stored else Tolerance(**stored)
