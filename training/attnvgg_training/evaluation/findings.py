"""What a suite found, in the few shapes that a report shows: sentences, tables, curves, pictures.

Everything is plain data once `plain` has seen it, so that results.json holds all that the report
shows, and nothing is typed twice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Value = float | int | str | None


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


Row = tuple[Value | Interval, ...]


@dataclass(frozen=True)
class Table:
    """columns: heads, with units in them. rows: one value a column; None where there is none.
    note: what a reader must know to read it rightly. digits: after the point."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    digits: int = 2

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.title}: {wrong[0]} is no row of {self.columns}")


@dataclass(frozen=True)
class Series:
    """name: what the legend says. low, high: of 95 % intervals, empty for none."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, x: Sequence[float], y: Sequence[Interval]) -> "Series":
        """Values with their intervals."""
        values, low, high = ([getattr(e, key) for e in y] for key in ("value", "low", "high"))
        return cls(name, tuple(x), tuple(values), tuple(low), tuple(high))


@dataclass(frozen=True)
class Curves:
    """One diagram. ticks: names of the places on the x axis, if they have names."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report. file: its name there. says: what it shows, in words."""

    title: str
    file: str
    says: str


@dataclass(frozen=True)
class Findings:
    """sentences: what follows, in words, attention's losses among them; each is computed from the
    figures, never typed beside them."""

    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    curves: tuple[Curves, ...] = ()
    pictures: tuple[Picture, ...] = field(default=())


def plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, what is no finite number as None: strict JSON."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
