"""The plot of `attnvgg bench`: one load's latencies, or several loads' against their throughput."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnvgg_client import _saving
from attnvgg_client._bench_statistics import Row
from attnvgg_client._errors import InvalidArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from attnvgg_client._bench_statistics import Numbers

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = {"p50": "#2a788e", "p90": "#7a5195", "p99": "#d1495b"}
TAILS = (1, 2, 10, 100, 1000, 10_000, 100_000)
WIDE = 20


def check(name: str) -> None:
    """Before the load: afterwards it would be lost.

    Raises:
        InvalidArgumentError: matplotlib is not installed, or there can be no such file.
    """
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidArgumentError(f"--plot {name}: the name must end in {', '.join(SUFFIXES)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InvalidArgumentError(f"--plot {name}: it must be a file in a folder that is there")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise InvalidArgumentError(f"--plot {name}: it cannot be written: no permission")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise InvalidArgumentError(
            f"--plot needs matplotlib ({error}): pip install 'attnvgg-client[plot]'"
        ) from error


def write(name: str, rows: Sequence[Row], title: str) -> None:
    """Draws the rows into the file.

    Raises:
        OSError: the disk says no; what was there is still there.
    """
    figure = draw(rows, title)
    kind = Path(name).suffix.lower()[1:]
    _saving.write_beside(name, lambda stream: figure.savefig(stream, format=kind, dpi=120))


def draw(rows: Sequence[Row], title: str) -> Figure:
    """One row: its distribution and its course in time. Several: latency against throughput."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    if len(rows) == 1:
        left, right = figure.subplots(1, 2)
        _distribution(left, rows[0])
        _course(right, rows[0])
    else:
        _throughput(figure.subplots(), rows)
    return figure


def _distribution(axes: Axes, row: Row) -> None:
    """Each step to the right leaves a tenth of the answers: the tail is what one looks for."""
    import numpy as np

    latencies = np.sort(row.latencies)
    tails = len(latencies) / np.arange(len(latencies), 0, -1)
    axes.plot(tails, latencies, color=COLOURS["p50"])
    axes.set_xscale("log")
    shown = [tail for tail in TAILS if tail <= max(10, len(latencies))]
    axes.set_xticks(shown, [f"{100 - 100 / tail:g} %" for tail in shown])
    axes.minorticks_off()
    axes.set_xlabel("share of the answers that took no longer")
    axes.set_title(f"{row.load.name}: {row.answered:,} answers", fontsize=9)
    _latency_axis(axes, row.latencies)


def _course(axes: Axes, row: Row) -> None:
    dots: dict[str, Any] = {"marker": ".", "linestyle": "none", "markersize": 3}
    axes.plot(row.moments, row.latencies, color=COLOURS["p99"], alpha=0.5, rasterized=True, **dots)
    since = "sent" if row.load.rate is None else "due"
    axes.set_xlabel(f"seconds into the run at which it was {since}")
    axes.set_title(f"{row.failed:,} failed, not drawn" if row.failed else "none failed", fontsize=9)
    _latency_axis(axes, row.latencies)


def _throughput(axes: Axes, rows: Sequence[Row]) -> None:
    """In the order of the rows: where throughput falls back, the line does, too."""
    import numpy as np

    drawn: list[float] = []
    for name, colour in COLOURS.items():
        found = [(row, latency) for row in rows if (latency := row.latency_ms()[name]) is not None]
        x, y = [row.requests_per_s for row, _ in found], [latency for _, latency in found]
        axes.plot(x, y, marker="o", markersize=4, color=colour, label=name)
        drawn += y
        for row, latency in found if name == "p50" else []:
            place = (row.requests_per_s, latency)
            axes.annotate(
                row.load.name, place, (0, -12), textcoords="offset points", fontsize=8, ha="center"
            )
    axes.set_xlabel("answers per second")
    axes.set_xlim(0, 1.05 * max(row.requests_per_s for row in rows) or 1)
    axes.margins(y=0.15)  # room for the names
    axes.legend()
    _latency_axis(axes, np.array(drawn))


def _latency_axis(axes: Axes, latencies: Numbers) -> None:
    """From 0, unless the slowest are so slow that nothing could be told of the others."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_ylabel("latency in ms")
    axes.grid(alpha=0.3)
    if len(latencies) and latencies.max() > WIDE * latencies.min() > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    else:
        axes.set_ylim(0, None if len(latencies) else 1)
