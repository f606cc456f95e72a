"""Carries out one load, open or closed.

In an open loop requests are sent when they are due, whatever has become of the earlier ones, as
users do who know nothing of each other. Latency counts from the moment a request was due, so that
a server that stands still is charged with everybody who waits (in a closed loop the callers wait
with it and ask less, and one slow answer hides all the questions that were never asked).
"""

from __future__ import annotations

import asyncio
import heapq
import select
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from attnvgg_client._bench_schedule import MAX_REQUESTS, Load, due_times
from attnvgg_client._bench_tally import Outcome, Tally, now

Ask: TypeAlias = Callable[[int, int], Awaitable[Outcome]]

PAUSE = 0.05
"""Seconds before a caller that found no server asks again, or it would do nothing else."""

NOT_SENT = "in_flight_limit"
_BOUND = "too many requests were under way; --in-flight allows more"


async def carry_out(load: Load, ask: Ask, progress: Callable[[], None]) -> Tally:
    """The records of the load; of what there is of it, if it is cancelled (Ctrl-C)."""
    tally = Tally(start=now() + load.warmup)
    kind = _Closed if load.rate is None else _Open
    loop = kind(load, ask, tally, progress)
    try:
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(sender) for sender in loop.senders(group)]
            await _until(tally.start)
            tally.open_window()
            await asyncio.wait(senders, timeout=load.window)
            tally.close_window()
    except asyncio.CancelledError:
        tally.close_window()
        tally.interrupted = True
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
    return tally


class _Loop:
    def __init__(self, load: Load, ask: Ask, tally: Tally, progress: Callable[[], None]) -> None:
        self.load, self.tally = load, tally
        self._ask, self._progress = ask, progress
        self.end = tally.start + load.window

    def senders(self, group: asyncio.TaskGroup) -> list[Coroutine[Any, Any, None]]:
        """What sends; the window ends with it at the latest."""
        raise NotImplementedError

    async def one(self, slot: int, number: int, due: float) -> Outcome:
        sent = now()
        outcome = await self._ask(slot, number)
        self.tally.add(due, sent, outcome)
        self._progress()
        return outcome


class _Open(_Loop):
    """At a rate. A slot is a place for a request under way; the lowest free one is taken, so that
    few connections are in use where few are needed."""

    def senders(self, group: asyncio.TaskGroup) -> list[Coroutine[Any, Any, None]]:
        return [self._send(group)]

    async def _send(self, group: asyncio.TaskGroup) -> None:
        free = list(range(self.load.callers))
        for number, seconds in enumerate(due_times(self.load)):
            due = self.tally.start + seconds
            await _until(due)
            self.tally.begin(due)
            if free:
                group.create_task(self._occupy(free, heapq.heappop(free), number, due))
            else:
                self.tally.fail(due, Outcome(NOT_SENT, _BOUND))
        await _until(self.end)

    async def _occupy(self, free: list[int], slot: int, number: int, due: float) -> None:
        await self.one(slot, number, due)
        heapq.heappush(free, slot)


class _Closed(_Loop):
    """Callers that ask again as soon as they are answered."""

    def senders(self, group: asyncio.TaskGroup) -> list[Coroutine[Any, Any, None]]:
        return [self._call(slot) for slot in range(self.load.callers)]

    async def _call(self, slot: int) -> None:
        number, most = slot, self.load.requests or MAX_REQUESTS
        while (due := now()) < self.end and self.tally.begun < most:
            self.tally.begin(due)
            outcome = await self.one(slot, number, due)
            number += self.load.callers
            if outcome.code == "connection":
                await asyncio.sleep(PAUSE)


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - now()))


class _Selector(selectors.DefaultSelector):
    """epoll rounds its waits up to milliseconds, which would be seen in the latencies; select(),
    waiting for the epoll object, does not."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def event_loop() -> asyncio.AbstractEventLoop:
    """One whose timers are exact to a fraction of a millisecond, where the system allows."""
    if hasattr(selectors.DefaultSelector, "fileno"):
        return asyncio.SelectorEventLoop(_Selector())
    return asyncio.new_event_loop()
