"""The records of a load -> what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_tally import Failure, Tally
from attnvgg_client._prediction import Model

if TYPE_CHECKING:
    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
BEYOND = 5
"""A percentile is shown if at least so many latencies lie beyond it: with fewer, the next run would
show another. So p50 takes 10 answers, p90 50, p95 100, p99 500 and p99.9 5,000."""

LATE = 0.010
"""Seconds after which a request was sent so late that it must be said."""


@dataclass(frozen=True)
class Row:
    """One load, summed up.

    seconds: of the window. requests: due in it; of these `answered` and `failed`, and, where the
        run was interrupted, `unfinished`.
    requests_per_s, pictures_per_s: answers that came within the window, by its length.
    latencies: of the answered requests, in milliseconds from due to read and parsed, in the order
        in which they were answered; `moments` are the seconds of the window at which they were due.
    service_ms: the mean from sent to read and parsed. server_ms: the means of the server's timings.
    lateness_ms: from due to sent; `late` is the share of requests with more than LATE.
    cpu: what this process used, in cores. models: answered requests by what answered them.
    """

    load: Load
    seconds: float
    requests: int
    answered: int
    failed: int
    failures: dict[str, Failure]
    requests_per_s: float
    pictures_per_s: float
    latencies: Numbers
    moments: Numbers
    service_ms: float | None
    server_ms: dict[str, float]
    lateness_ms: Numbers
    late: float
    cpu: float
    models: dict[Model, int]
    interrupted: bool

    @property
    def unfinished(self) -> int:
        """Requests that nobody waited for, because the run was interrupted."""
        return self.requests - self.answered - self.failed

    @property
    def changed(self) -> bool:
        """Whether more than one model answered: then no mean or percentile means anything."""
        return len(self.models) > 1

    @property
    def elsewhere_ms(self) -> float | None:
        """The mean from sent to parsed less what the server says it took: network and client."""
        total = self.server_ms.get("total", self.server_ms.get("round_trip"))
        if self.service_ms is None or total is None or self.changed:
            return None
        return self.service_ms - total

    def latency_ms(self) -> dict[str, float | None]:
        """mean, p50 ... p99.9, max; None where there are too few answers, or two models' ones."""
        names = ["mean", *map(name, PERCENTILES), "max"]
        if self.changed or not self.answered:
            return dict.fromkeys(names)
        found = [percentile(self.latencies, p) for p in PERCENTILES]
        return dict(
            zip(names, [_mean(self.latencies), *found, float(self.latencies.max())], strict=True)
        )

    def quantiles_ms(self) -> list[float]:
        """The whole distribution in steps of 0.1 %, from the least to the greatest latency."""
        return [] if self.changed else quantiles(self.latencies, np.linspace(0, 1, 1001))


def summarise(load: Load, tally: Tally) -> Row:
    """The row of a load."""
    due, sent, done = (np.array(each) for each in (tally.due, tally.sent, tally.done))
    window = tally.end - tally.start
    lateness = np.array(tally.lateness)
    came = np.array(tally.arrived) < tally.end
    pictures = np.array(tally.arrived_pictures)[came]
    answered = len(due)
    return Row(
        load=load,
        seconds=window,
        requests=tally.begun,
        answered=answered,
        failed=sum(failure.requests for failure in tally.failures.values()),
        failures=tally.failures,
        requests_per_s=len(pictures) / window if window else 0.0,
        pictures_per_s=float(pictures.sum()) / window if window else 0.0,
        latencies=(done - due) * 1e3,
        moments=due - tally.start,
        service_ms=_mean((done - sent) * 1e3) if answered else None,
        server_ms={name: total / answered for name, total in tally.server_ms.items()},
        lateness_ms=lateness * 1e3,
        late=float((lateness > LATE).mean()) if len(lateness) else 0.0,
        cpu=tally.cpu / window if window else 0.0,
        models=dict(tally.models),
        interrupted=tally.interrupted,
    )


def percentile(values: Numbers, p: float) -> float | None:
    """The value that p per cent do not exceed, one that was measured; None with too few."""
    if len(values) * (100 - p) / 100 < BEYOND - 1e-9:
        return None
    return quantiles(values, np.array([p / 100]))[0]


def quantiles(values: Numbers, shares: Numbers) -> list[float]:
    """Each the least measured value that at least such a share of the values do not exceed."""
    if not len(values):
        return []
    ranks = np.ceil(len(values) * shares - 1e-6).astype(int).clip(1)  # 0.999 is no binary fraction
    found: list[float] = np.sort(values)[ranks - 1].tolist()
    return found


def name(p: float) -> str:
    """p99.9"""
    return f"p{p:g}"


def _mean(values: Numbers) -> float:
    return float(values.mean())
