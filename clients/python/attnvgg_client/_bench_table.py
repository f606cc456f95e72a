"""What `attnvgg bench` shows: a line for each load, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence

from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_statistics import PERCENTILES, Row, name
from attnvgg_client._prediction import Model

FIRST = 12
"""The width of the first column, which names the load."""


def model_line(model: Model | None) -> str:
    """What answers: `tiny/1 (sha256 abababababab) on cpu`."""
    if model is None:
        return "too busy to say which model answers"
    digest = f" (sha256 {model.sha256[:12]})" if model.sha256 else ""
    return f"{model.name}/{model.version}{digest} on {model.provider}"


def loop_line(load: Load) -> str:
    """How requests are sent, and from when latency counts."""
    if load.rate is None:
        how, since = "closed loop, callers ask again as soon as they are answered", "sent"
    else:
        kind = {"poisson": f"Poisson arrivals of seed {load.seed}", "even": "even arrivals"}
        how, since = f"open loop, {kind[load.arrivals]}", "due"
    return f"{how}; latency in ms from when a request was {since}; {load.warmup:g} s of warm-up"


def head(batch: int) -> str:
    """The first line of the table."""
    return _line("", _columns(batch))


def body(row: Row, batch: int) -> str:
    """A load's line."""
    cells = [f"{row.answered:,}", f"{row.failed:,}", f"{row.requests_per_s:.1f}"]
    if batch > 1:
        cells.append(f"{row.pictures_per_s:.1f}")
    cells += [number(value) for value in row.latency_ms().values()]
    return _line(row.load.name, cells, _columns(batch))


def where(rows: Sequence[Row]) -> list[str]:
    """The second table: the server's own timings, and how the generator fared."""
    names = list(dict.fromkeys(name for row in rows for name in row.server_ms))
    columns = [*names, "elsewhere", "sent late", "cores"]
    return [
        "mean ms at the server, as it says itself, and elsewhere; this generator:",
        _line("", columns),
        *(_line(row.load.name, _where(row, names), columns) for row in rows),
    ]


def number(value: float | None) -> str:
    """Three digits or more; - for what is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _where(row: Row, names: Sequence[str]) -> list[str]:
    timings = [None if row.changed else row.server_ms.get(name) for name in names]
    late = "-" if row.load.rate is None else f"{row.late:.1%}"
    return [*map(number, timings), number(row.elsewhere_ms), late, f"{row.cpu:.2f}"]


def _columns(batch: int) -> list[str]:
    pictures = ["pictures/s"] if batch > 1 else []
    return ["answered", "failed", "answers/s", *pictures, "mean", *map(name, PERCENTILES), "max"]


def _line(first: str, cells: Sequence[str], columns: Sequence[str] | None = None) -> str:
    widths = [max(6, len(column)) + 2 for column in columns or cells]
    shown = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return first.rjust(FIRST) + "".join(shown)
