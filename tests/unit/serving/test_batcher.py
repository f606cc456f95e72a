"""The batcher against an engine that records its batches and waits when it is told to."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from attnvgg_serving.batcher import Batcher, Ran
from attnvgg_serving.errors import DeadlineExceeded, EngineUnavailable, Overloaded

POISON = 255
FAR = float("inf")


class Recorder:
    """`mean` is the mean of a picture; a picture that starts with POISON fails its batch."""

    provider, precision, sha256 = "cpu", "fp32", "0"
    lanes = 1

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.fetched: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        assert self.go.wait(10)
        self.batches.append(pixels[:, 0, 0, 0].tolist())
        self.fetched.append(list(outputs))
        if (pixels[:, 0, 0, 0] == POISON).any():
            raise RuntimeError("poison")
        return {name: pixels.mean(axis=(1, 2, 3)).astype(np.float32) for name in outputs}


def picture(value: int, side: int = 4) -> NDArray[np.uint8]:
    return np.full((side, side, 3), value, dtype=np.uint8)


def run(
    story: Callable[[Batcher, Recorder], Awaitable[None]], max_batch: int = 4, max_queue: int = 8
) -> Recorder:
    engine = Recorder()

    async def tell() -> None:
        batcher = Batcher(engine, max_batch, max_queue)
        batcher.start()
        try:
            await asyncio.wait_for(story(batcher, engine), 10)
        finally:
            engine.go.set()
            await batcher.close()

    asyncio.run(tell())
    return engine


async def occupy(batcher: Batcher, engine: Recorder) -> asyncio.Future[Ran]:
    """A picture (0) that keeps the engine busy until engine.go is set."""
    engine.go.clear()
    first = batcher.submit(picture(0), ["mean"], FAR)
    await asyncio.sleep(0.02)
    return first


def test_a_lone_picture_does_not_wait() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        ran = await batcher.submit(picture(3), ["mean"], FAR)
        assert ran.outputs["mean"] == 3
        assert ran.queued < 0.05

    assert run(story).batches == [[3]]


def test_what_arrives_while_the_engine_runs_is_merged_in_order() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        first = await occupy(batcher, engine)
        rest = [batcher.submit(picture(i), ["mean"], FAR) for i in range(1, 7)]
        engine.go.set()
        ran = await asyncio.gather(first, *rest)
        assert [float(one.outputs["mean"]) for one in ran] == list(range(7))

    assert run(story).batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_batch_fetches_the_union_and_each_item_gets_its_own() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        await occupy(batcher, engine)
        plain = batcher.submit(picture(1), ["mean"], FAR)
        rich = batcher.submit(picture(2), ["mean", "map"], FAR)
        engine.go.set()
        assert set((await plain).outputs) == {"mean"}
        assert set((await rich).outputs) == {"mean", "map"}

    assert run(story).fetched == [["mean"], ["map", "mean"]]


def test_sizes_are_never_merged() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        await occupy(batcher, engine)
        sides = [4, 5, 4, 5]
        futures = [batcher.submit(picture(i, side), ["mean"], FAR) for i, side in enumerate(sides)]
        engine.go.set()
        await asyncio.gather(*futures)

    assert run(story).batches == [[0], [0, 2], [1, 3]]


def test_a_cancelled_item_leaves_the_queue_before_it_costs_anything() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        await occupy(batcher, engine)
        gone = batcher.submit(picture(1), ["mean"], FAR)
        stays = batcher.submit(picture(2), ["mean"], FAR)
        gone.cancel()
        engine.go.set()
        assert (await stays).outputs["mean"] == 2

    assert run(story).batches == [[0], [2]]


def test_a_running_item_that_is_cancelled_harms_nobody() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        first = await occupy(batcher, engine)
        first.cancel()
        second = batcher.submit(picture(1), ["mean"], FAR)
        engine.go.set()
        assert (await second).outputs["mean"] == 1

    assert run(story).batches == [[0], [1]]


def test_an_expired_item_leaves_the_queue_and_says_so() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        await occupy(batcher, engine)
        late = batcher.submit(picture(1), ["mean"], time.monotonic() + 0.01)
        stays = batcher.submit(picture(2), ["mean"], time.monotonic() + 10)
        await asyncio.sleep(0.03)
        engine.go.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await stays

    assert run(story).batches == [[0], [2]]


def test_one_failure_never_reaches_another() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        await occupy(batcher, engine)
        futures = [batcher.submit(picture(value), ["mean"], FAR) for value in (1, POISON, 3)]
        engine.go.set()
        good, bad, other = await asyncio.gather(*futures, return_exceptions=True)
        assert isinstance(good, Ran)
        assert isinstance(other, Ran)
        assert (good.outputs["mean"], other.outputs["mean"]) == (1, 3)
        assert isinstance(bad, EngineUnavailable)
        assert "poison" not in str(bad)

    assert run(story).batches == [[0], [1, POISON, 3], [1], [POISON], [3]]


def test_who_went_away_or_is_too_late_is_not_run_again() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        await occupy(batcher, engine)
        gone = batcher.submit(picture(1), ["mean"], FAR)
        late = batcher.submit(picture(2), ["mean"], time.monotonic() + 0.1)
        bad = batcher.submit(picture(POISON), ["mean"], FAR)
        engine.go.set()
        while len(engine.batches) < 1:
            await asyncio.sleep(0)
        engine.go.clear()
        await asyncio.sleep(0.15)
        gone.cancel()
        engine.go.set()
        with pytest.raises(DeadlineExceeded):
            await late
        with pytest.raises(EngineUnavailable):
            await bad

    assert run(story).batches == [[0], [1, 2, POISON], [POISON]]


def test_the_engine_goes_on_after_a_failure() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        with pytest.raises(EngineUnavailable):
            await batcher.submit(picture(POISON), ["mean"], FAR)
        assert batcher.alive
        assert (await batcher.submit(picture(5), ["mean"], FAR)).outputs["mean"] == 5

    run(story)


def test_the_queue_is_bounded_and_room_comes_back() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        with batcher.reserve(6):
            with pytest.raises(Overloaded) as caught, batcher.reserve(3):
                pass
            assert caught.value.headers["Retry-After"]
            with batcher.reserve(2):
                pass
        with batcher.reserve(8):
            pass

    run(story, max_queue=8)


def test_room_comes_back_after_a_failure() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), batcher.reserve(8):
                raise ZeroDivisionError
        with batcher.reserve(8):
            pass

    run(story, max_queue=8)


def test_closing_finishes_what_was_taken_and_takes_no_more() -> None:
    async def story(batcher: Batcher, engine: Recorder) -> None:
        first = await occupy(batcher, engine)
        second = batcher.submit(picture(1), ["mean"], FAR)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(EngineUnavailable):
            batcher.submit(picture(2), ["mean"], FAR)
        engine.go.set()
        await closing
        assert first.done()
        assert second.result().outputs["mean"] == 1

    assert run(story).batches == [[0], [1]]


def test_a_seeded_storm_gives_everyone_the_answer_it_gets_alone() -> None:
    random = np.random.default_rng(7)

    async def client(batcher: Batcher, value: int, fate: int) -> None:
        await asyncio.sleep(float(random.random()) / 50)
        future = batcher.submit(picture(value), ["mean"], FAR)
        if fate == 0:
            future.cancel()
        elif value == POISON:
            with pytest.raises(EngineUnavailable):
                await future
        else:
            assert (await future).outputs["mean"] == value

    async def story(batcher: Batcher, engine: Recorder) -> None:
        values = random.choice([1, 2, 3, POISON], size=200)
        fates = random.integers(0, 5, size=200)
        await asyncio.gather(
            *(client(batcher, int(v), int(f)) for v, f in zip(values, fates, strict=True))
        )

    assert max(len(batch) for batch in run(story).batches) > 1
