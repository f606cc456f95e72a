"""What a load brought, request by request; what it means is worked out afterwards."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from attnvgg_client._prediction import Model

now = time.perf_counter


@dataclass(frozen=True)
class Outcome:
    """What came of one request.

    code: empty if every picture has its prediction; else why not, in one word.
    pictures: how many have one.
    """

    code: str = ""
    message: str = ""
    pictures: int = 0
    model: Model | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Failure:
    """Requests that failed for the same reason, and what the first of them said."""

    example: str
    requests: int = 0


@dataclass
class Tally:
    """The records of one load. Moments are of `now`; `start` and `end` bound the window.

    due, sent, done: of every answered request that was due in the window.
    lateness: seconds from due to sent, of every request that was sent.
    begun: requests due in the window. arrived: pictures by the moment of their answer, whenever
        they were asked: the throughput of a steady state counts what comes, not what was sent.
    """

    start: float
    end: float = 0.0
    cpu: float = 0.0
    begun: int = 0
    interrupted: bool = False
    due: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    done: array[float] = field(default_factory=lambda: array("d"))
    lateness: array[float] = field(default_factory=lambda: array("d"))
    arrived: array[float] = field(default_factory=lambda: array("d"))
    arrived_pictures: array[int] = field(default_factory=lambda: array("L"))
    failures: dict[str, Failure] = field(default_factory=dict)
    models: Counter[Model] = field(default_factory=Counter)
    server_ms: dict[str, float] = field(default_factory=dict)

    def open_window(self) -> None:
        """The warm-up is over."""
        self.cpu = -time.process_time()

    def close_window(self) -> None:
        """Nothing more becomes due; what is under way still counts."""
        if not self.end:
            self.end = max(self.start, now())
            self.cpu += time.process_time() if self.cpu else 0.0

    def begin(self, due: float) -> None:
        """A request is due."""
        if due >= self.start:
            self.begun += 1

    def add(self, due: float, sent: float, outcome: Outcome) -> None:
        """A request that has just ended."""
        done = now()
        if outcome.pictures and done >= self.start:
            self.arrived.append(done)
            self.arrived_pictures.append(outcome.pictures)
        if due >= self.start:
            self.lateness.append(sent - due)
        if outcome.code:
            self.fail(due, outcome)
        elif due >= self.start:
            self._answer(due, sent, done, outcome)

    def fail(self, due: float, outcome: Outcome) -> None:
        """A request without an answer that can be used, or one that could not be sent."""
        if due >= self.start:
            failure = self.failures.setdefault(outcome.code, Failure(outcome.message))
            failure.requests += 1

    def _answer(self, due: float, sent: float, done: float, outcome: Outcome) -> None:
        self.due.append(due)
        self.sent.append(sent)
        self.done.append(done)
        if outcome.model is not None:
            self.models[outcome.model] += 1
        for name, milliseconds in outcome.timings_ms.items():
            self.server_ms[name] = self.server_ms.get(name, 0.0) + milliseconds
