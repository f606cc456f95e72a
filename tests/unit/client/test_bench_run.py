"""Loads against a server of a few lines, whose behaviour is known to the millisecond."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from attnvgg_client import Model
from attnvgg_client._bench_run import NOT_SENT, carry_out, event_loop
from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_statistics import Row, quantiles, summarise
from attnvgg_client._bench_tally import Outcome

OK = Outcome(pictures=1, model=Model("tiny", "1", "ab", "cpu"), timings_ms={"total": 1.0})
Ask = Callable[[int, int], Awaitable[Outcome]]


def run(ask: Ask, **changes: Any) -> Row:
    return run_all((ask, changes))[0]


def run_all(*loads: tuple[Ask, dict[str, Any]]) -> list[Row]:
    """All at the same time, since most of it is waiting."""

    async def one(ask: Ask, changes: dict[str, Any]) -> Row:
        load = Load(**{"rate": None, "callers": 1, "seconds": 0.5, "warmup": 0.0} | changes)
        return summarise(load, await carry_out(load, ask, lambda: None))

    async def main() -> list[Row]:
        return await asyncio.gather(*(one(*load) for load in loads))

    with asyncio.Runner(loop_factory=event_loop) as runner:
        return runner.run(main())


def quantile(row: Row, share: float) -> float:
    import numpy as np

    return quantiles(row.latencies, np.array([share]))[0]


class Stalling:
    """Answers within 2 ms, except that it stands still for 0.5 s, 0.5 s after the first request."""

    def __init__(self) -> None:
        self.first = 0.0

    async def __call__(self, slot: int, number: int) -> Outcome:
        now = time.perf_counter()
        self.first = self.first or now
        stall = self.first + 0.5 <= now < self.first + 1
        await asyncio.sleep(self.first + 1 - now if stall else 0.002)
        return OK


def test_an_open_loop_charges_a_stall_with_everybody_who_waits_a_closed_one_does_not() -> None:
    opened, closed = run_all(
        (Stalling(), {"rate": 100.0, "callers": 256, "seconds": 2.0}),
        (Stalling(), {"callers": 1, "seconds": 2.0}),
    )
    assert (opened.requests, opened.failed) == (200, 0)
    # A quarter of the requests falls into the stall and waits a quarter of a second on average.
    assert 250 < quantile(opened, 0.95) < 900
    assert opened.latencies.max() > 350
    assert opened.latencies.mean() > 30
    # The closed loop asked once in that time: its p99 knows nothing of it.
    assert closed.answered > 100
    assert closed.latencies.max() > 350
    assert quantile(closed, 0.99) < 200


def test_latency_counts_from_due_even_if_the_generator_itself_stood_still() -> None:
    async def ask(slot: int, number: int) -> Outcome:
        if number == 20:
            time.sleep(0.4)  # nobody else gets to run: what a generator does that is too slow
        return OK

    row = run(ask, rate=100.0, callers=256, seconds=1.0, arrivals="even")
    assert row.answered == 100
    assert row.late > 0.3
    assert row.lateness_ms.max() > 350
    assert quantile(row, 0.9) > 250
    assert row.service_ms is not None
    assert row.service_ms < 100


def test_the_rate_is_kept_however_slow_the_answers() -> None:
    async def ask(slot: int, number: int) -> Outcome:
        await asyncio.sleep(0.3)
        return OK

    given = {"rate": 100.0, "callers": 256, "seconds": 1.0, "warmup": 0.5}
    for row in run_all(*((ask, given | {"arrivals": kind}) for kind in ("poisson", "even"))):
        assert row.requests == row.answered == 100
        assert 1.0 <= row.seconds < 1.5
        assert row.requests_per_s == pytest.approx(100, rel=0.4)
        assert row.latencies.min() >= 299


def test_timers_are_exact_to_less_than_a_millisecond() -> None:
    async def shortest() -> float:
        times = []
        for _ in range(200):
            began = time.perf_counter()
            await asyncio.sleep(0.0003)
            times.append(time.perf_counter() - began)
        return min(times)

    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert runner.run(shortest()) < 0.0009  # epoll by itself waits for whole milliseconds


def test_a_closed_loop_has_so_many_callers_and_no_more() -> None:
    under_way, most, slots = 0, 0, set()

    async def ask(slot: int, number: int) -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        slots.add(slot)
        await asyncio.sleep(0.02)
        under_way -= 1
        return OK

    row = run(ask, callers=4, seconds=0.6)
    assert (most, slots) == (4, {0, 1, 2, 3})
    assert 20 < row.answered <= 124
    assert row.requests == row.answered
    assert under_way == 0


def test_pictures_are_taken_in_turn_by_all_callers_together() -> None:
    numbers: list[int] = []

    async def ask(slot: int, number: int) -> Outcome:
        numbers.append(number)
        await asyncio.sleep(0.001)
        return OK

    run(ask, callers=3, requests=30, seconds=20.0)
    assert sorted(numbers)[:20] == list(range(20))


def test_the_number_of_requests_ends_a_closed_loop_early() -> None:
    async def ask(slot: int, number: int) -> Outcome:
        await asyncio.sleep(0.002)
        return OK

    began = time.perf_counter()
    row = run(ask, callers=4, seconds=100.0, requests=50)
    assert time.perf_counter() - began < 20
    assert (row.requests, row.answered) == (50, 50)
    assert row.seconds < 10
    assert row.requests_per_s > 10


def test_the_warm_up_counts_for_nothing() -> None:
    began = time.perf_counter()

    async def ask(slot: int, number: int) -> Outcome:
        cold = time.perf_counter() - began < 0.3
        await asyncio.sleep(0.25 if cold else 0.001)
        return Outcome("cold") if cold else OK

    given = {"seconds": 0.4, "warmup": 0.7}
    opened = {"rate": 100.0, "callers": 64}
    for row in run_all((ask, given | opened), (ask, given | {"callers": 2})):
        assert row.failures == {}
        assert row.answered > 10
        assert quantile(row, 0.5) < 150


def test_what_is_under_way_at_the_end_is_awaited_and_counted() -> None:
    async def ask(slot: int, number: int) -> Outcome:
        await asyncio.sleep(0.5)
        return OK

    row = run(ask, rate=50.0, callers=64, seconds=0.2)
    assert (row.requests, row.answered, row.unfinished) == (10, 10, 0)
    assert 0.2 <= row.seconds < 0.45


def test_requests_under_way_are_bounded_and_the_rest_fails_under_its_own_name() -> None:
    under_way = most = 0

    async def ask(slot: int, number: int) -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(30 if slot == 0 else 0.4)
        under_way -= 1
        return OK

    async def answering(slot: int, number: int) -> Outcome:
        return await asyncio.wait_for(ask(slot, number), 1.0)

    row = run(ask_or("deadline", answering), rate=50.0, callers=8, seconds=1.0)
    assert most == 8
    assert row.requests == 50
    assert row.failures["deadline"].requests == 1
    assert row.failures[NOT_SENT].requests >= 15
    assert "--in-flight" in row.failures[NOT_SENT].example
    assert row.answered == 50 - 1 - row.failures[NOT_SENT].requests


def ask_or(code: str, ask: Ask) -> Ask:
    async def asked(slot: int, number: int) -> Outcome:
        try:
            return await ask(slot, number)
        except TimeoutError:
            return Outcome(code, "too late")

    return asked


def test_callers_without_a_server_do_not_spin() -> None:
    async def ask(slot: int, number: int) -> Outcome:
        return Outcome("connection", "nobody there")

    row = run(ask, callers=2, seconds=0.5)
    assert 2 <= row.failures["connection"].requests <= 24


def test_a_cancelled_load_gives_what_there_is() -> None:
    load = Load(rate=100.0, callers=64, seconds=60.0, warmup=0.0)

    async def ask(slot: int, number: int) -> Outcome:
        await asyncio.sleep(0.01 if number < 20 else 60)
        return OK

    async def main() -> Row:
        task = asyncio.create_task(carry_out(load, ask, lambda: None))
        await asyncio.sleep(0.5)
        task.cancel()
        return summarise(load, await task)

    row = asyncio.run(main())
    assert row.interrupted
    assert row.answered == 20
    assert row.unfinished >= 5
    assert row.requests == row.answered + row.unfinished
    assert row.seconds < 10


def test_a_mistake_of_ours_is_no_result() -> None:
    async def ask(slot: int, number: int) -> Outcome:
        raise RuntimeError("a mistake")

    for rate in (50.0, None):
        with pytest.raises(ExceptionGroup) as failed:
            run(ask, rate=rate, seconds=30.0)
        assert failed.group_contains(RuntimeError, match="a mistake")
