"""The command `attnvgg bench`: how fast a server answers, under how much load."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnvgg_client._cli_terminal import encoded, write

if TYPE_CHECKING:
    from attnvgg_client._bench_schedule import Load

SECONDS, LONGEST, WARMUP, IN_FLIGHT, MOST = 10.0, 86_400.0, 2.0, 256, 1000

EXPLANATION = """\
--rate sends requests when they are due, answered or not, as independent users do: latency counts
from then, so that waiting counts. --concurrency lets so many callers ask as soon as they are
answered: it finds the highest throughput, but its latencies leave out who would have waited.
Nothing is retried. A percentile is shown if at least five latencies lie beyond it.
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `bench`; --url, --timeout and --json are those of every command."""
    add = command.add_argument
    command.description = f"Measure a server under load.\n\n{EXPLANATION}"
    add("files", nargs="*", metavar="FILE|FOLDER", help="pictures to ask about (one is made)")
    how = command.add_mutually_exclusive_group(required=True)
    each = "; several, as 10,20,40, make a row each"
    how.add_argument(
        "--rate", type=_several(_positive), metavar="R", help=f"requests a second{each}"
    )
    how.add_argument(
        "--concurrency", type=_several(_few), metavar="C", help=f"callers at a time{each}"
    )
    add("--duration", type=_positive, metavar="S", help=f"seconds for each row ({SECONDS:g})")
    add("--requests", type=_count, metavar="N", help="end a row after so many, if that is earlier")
    add(
        "--warmup",
        type=_seconds,
        default=WARMUP,
        metavar="S",
        help="seconds before it (%(default)g)",
    )
    add(
        "--arrivals",
        choices=["poisson", "even"],
        default="poisson",
        help="with --rate (%(default)s)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of the arrivals (%(default)s)")
    limit = "with --rate: requests under way at a time; more fail as in_flight_limit (%(default)s)"
    add("--in-flight", type=_few, default=IN_FLIGHT, metavar="N", help=limit)
    add("--batch", type=_few, default=1, metavar="N", help="pictures in a request (%(default)s)")
    add("--attention", action="store_true", help="ask for the attention maps, too")
    add("--model", help="another model than the server's default")
    add("--version", dest="model_version", help="another version of it than the default")
    add("--plot", metavar="OUT", help="draw the latencies into OUT.png, .svg or .pdf")


def run(options: argparse.Namespace) -> int:
    """Carries out the loads, says what came of them, gives the exit code."""
    # Here, because numpy and httpx are slow to import.
    from attnvgg_client import _bench, _bench_json, _bench_pictures, _bench_plot

    loads = _loads(options)
    if options.plot:
        _bench_plot.check(options.plot)
    setup = _bench.Setup(
        loads=loads,
        pictures=_bench_pictures.read(options.files),
        url=options.url,
        timeout=options.timeout,
        batch=options.batch,
        attention=options.attention,
        model=options.model,
        version=options.model_version,
    )
    result = _bench.run(setup, _silent if options.json else _say)
    if options.json:
        _say(json.dumps(_bench_json.as_json(result), allow_nan=False))
    if options.plot:
        _bench_plot.write(options.plot, result.rows, result.title)
    return result.code


def _loads(options: argparse.Namespace) -> list[Load]:
    from attnvgg_client._bench_schedule import Load

    timed = SECONDS if options.requests is None else LONGEST
    return [
        Load(
            rate=rate,
            callers=callers,
            seconds=min(options.duration or timed, LONGEST),
            warmup=options.warmup,
            requests=options.requests,
            arrivals=options.arrivals,
            seed=options.seed,
        )
        for rate, callers in _each(options)
    ]


def _each(options: argparse.Namespace) -> list[tuple[float | None, int]]:
    if options.rate is None:
        return [(None, callers) for callers in options.concurrency]
    return [(rate, options.in_flight) for rate in options.rate]


def _say(text: str) -> None:
    write(encoded(text))


def _silent(text: str) -> None:
    """Where the result is for a program."""


def _number(text: str, least: float, most: float, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not from {least:g} to {most:,.0f}")
    return value


def _seconds(text: str) -> float:
    value: float = _number(text, 0, LONGEST, float)
    return value


def _positive(text: str) -> float:
    value: float = _number(text, 1e-3, LONGEST, float)
    return value


def _count(text: str) -> int:
    value: int = _number(text, 1, 1_000_000, int)
    return value


def _few(text: str) -> int:
    value: int = _number(text, 1, MOST, int)
    return value


def _several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    return parse
