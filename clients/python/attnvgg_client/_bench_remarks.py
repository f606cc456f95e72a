"""What failed, and why the figures may not be what they seem: it belongs beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attnvgg_client._bench_run import NOT_SENT
from attnvgg_client._bench_statistics import BEYOND, LATE, Row
from attnvgg_client._bench_table import model_line
from attnvgg_client._prediction import Model

MUCH_CPU = 0.8
"""Cores: Python has one, and what comes near it waits for itself."""

MANY_LATE = 0.01
"""The share of late requests from which on p99 is the generator's."""


def failures(rows: Sequence[Row]) -> list[str]:
    """What failed, by its code, with the first message."""
    return [
        f"{row.load.name}: {failure.requests:,} failed, {code}: {failure.example}"
        for row in rows
        for code, failure in row.failures.items()
    ]


def warnings(rows: Sequence[Row]) -> list[str]:
    """What to know before the figures are believed."""
    found = [f"{row.load.name}: {text}" for row in rows for check in CHECKS if (text := check(row))]
    models = {model: None for row in rows if not row.changed for model in row.models}
    if len(models) > 1:
        found.append(f"the rows are of different models: {_list(models)}")
    return found


def notes(rows: Sequence[Row]) -> list[str]:
    """How to read the table."""
    if any(None in row.latency_ms().values() for row in rows if not row.changed):
        return [f"- stands where fewer than {BEYOND} latencies lie beyond a percentile"]
    return []


def _changed(row: Row) -> str:
    if not row.changed:
        return ""
    return f"the model changed while it ran ({_list(row.models)}): nothing is averaged over both"


def _late(row: Row) -> str:
    if row.load.rate is None or row.late <= MANY_LATE:
        return ""
    worst = float(row.lateness_ms.max())
    return (
        f"this generator fell behind: {row.late:.1%} of the requests were sent more than "
        f"{LATE * 1e3:g} ms late, the worst {worst:,.0f} ms; the latencies hold that, too"
    )


def _busy(row: Row) -> str:
    if row.cpu < MUCH_CPU:
        return ""
    return (
        f"this generator used {row.cpu:.2f} cores and can use about one: it, not the server, may "
        "be the limit; ask for less, or run several"
    )


def _unsent(row: Row) -> str:
    if NOT_SENT not in row.failures:
        return ""
    return f"more than {row.load.callers} requests were under way, and the rest was not sent"


def _partial(row: Row) -> str:
    if not row.failed or not row.answered:
        return ""
    return "the latencies are those of the answered requests; the failed ones have none"


def _unfinished(row: Row) -> str:
    if not row.interrupted:
        return ""
    return f"interrupted after {row.seconds:.1f} s with {row.unfinished} requests under way"


CHECKS: list[Callable[[Row], str]] = [_changed, _late, _busy, _unsent, _partial, _unfinished]


def _list(models: Iterable[Model]) -> str:
    return ", ".join(map(model_line, models))
