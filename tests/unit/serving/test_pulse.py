"""What a worker says of itself adds up, and does not wait to be asked."""

import asyncio
import itertools
import time

import pytest

from attnvgg_serving import memory, metrics, pulse


def test_every_beat_says_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[bool, int | None, float]] = []
    states = itertools.chain([True, False], itertools.repeat(True))
    monkeypatch.setattr(metrics, "process", lambda *values: said.append(values))
    monkeypatch.setattr(pulse, "EVERY_S", 0)

    async def ready() -> bool:
        sum(range(200_000))  # some processor time
        return next(states)

    async def tell() -> None:
        before = time.process_time()
        beat = pulse.Pulse(ready)
        beat.start()
        while len(said) < 4:
            await asyncio.sleep(0)
        beat.stop()
        # The first says all that the process has taken, each other one what came since.
        assert before <= sum(cpu for _, _, cpu in said) <= time.process_time()
        assert all(cpu > 0 for _, _, cpu in said)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(tell())
    assert [state for state, _, _ in said[:4]] == [True, False, True, True]
    assert all(taken is None or 10e6 < taken < 100e9 for _, taken, _ in said)


def test_without_proc_nothing_is_said_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert memory.resident() is None
