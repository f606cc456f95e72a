"""Pictures of many requests, one forward pass.

An idle engine takes what is there at once, so a lone request never waits. While it runs, what
arrives waits together and becomes the next batch: the delay adapts to the load by itself. To wait
for pictures that are known to be in decoding was tried: the batches grew, the throughput did not.

Options travel with the item: a batch fetches the outputs that any of its items wants, and each
item gets its own. An item that is cancelled or expired leaves the queue before it costs anything;
a batch that fails is run again picture by picture, so that one never fails for another.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from opentelemetry.context import Context

from attnvgg_serving import metrics, stages, tracing
from attnvgg_serving.engines import Engine, RemoteEngine
from attnvgg_serving.errors import DeadlineExceeded, EngineUnavailable, Overloaded, WireError

logger = logging.getLogger(__name__)

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Ran:
    """One picture's outputs (without the batch axis), and where its time went, in seconds."""

    outputs: Outputs
    queued: float
    ran: float


@dataclass(eq=False)
class _Item:
    pixels: NDArray[np.uint8]
    outputs: frozenset[str]
    deadline: float
    future: asyncio.Future[Ran]
    arrived: float = field(default_factory=time.monotonic)
    request: Context | None = field(default_factory=tracing.here)


class Batcher:
    """The queue before one engine. All methods belong to one event loop."""

    def __init__(
        self,
        engine: Engine,
        max_batch: int,
        max_queue: int,
        label: stages.Label = stages.UNNAMED,
    ) -> None:
        self._engine = engine
        self._remote = engine if isinstance(engine, RemoteEngine) else None
        self._watch: asyncio.Task[None] | None = None
        self._label = label
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._reserved = 0
        self._seconds = 0.0  # that requests have lately taken
        # A dict is an ordered set here: an item in the middle leaves in O(1).
        self._queue: dict[_Item, None] = {}
        self._arrived = asyncio.Event()
        self._closing = False
        self._threads = ThreadPoolExecutor(engine.lanes, thread_name_prefix="engine")
        self._lanes: list[asyncio.Task[None]] = []

    def start(self) -> None:
        work = (self._work() for _ in range(self._engine.lanes))
        self._lanes = [asyncio.create_task(lane, name="batcher") for lane in work]
        if self._remote:
            self._watch = asyncio.create_task(self._remote.watch(), name="watch")

    @property
    def alive(self) -> bool:
        """Whether what is queued now would run."""
        if self._remote and not self._remote.available:
            return False
        return bool(self._lanes) and not any(lane.done() for lane in self._lanes)

    def check_alive(self) -> None:
        """Raises EngineUnavailable if what is queued now would not run."""
        if not self.alive:
            raise EngineUnavailable("the engine does not answer")

    async def close(self) -> None:
        """Takes nothing more, finishes what was taken."""
        self._closing = True
        self._arrived.set()
        if self._lanes:
            await asyncio.wait(self._lanes)
        if self._watch:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        self._threads.shutdown()

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Room for `count` pictures from before they are decoded until they are answered.

        Raises:
            Overloaded: there is not as much.
        """
        if self._reserved + count > self._max_queue:
            raise Overloaded(
                f"{self._reserved} pictures are waiting and at most {self._max_queue} may; "
                f"there is no room for {count} more",
                retry_after=self._seconds,
            )
        started = time.monotonic()
        self._reserved += count
        metrics.queue(count, self._label.model)
        try:
            yield
        finally:
            self._reserved -= count
            self._seconds += (time.monotonic() - started - self._seconds) / 16
            metrics.queue(-count, self._label.model)

    def submit(
        self, pixels: NDArray[np.uint8], outputs: Collection[str], deadline: float
    ) -> asyncio.Future[Ran]:
        """Queues pixels [H, W, 3]; cancelling the future takes them out again.

        `deadline` is on the clock of time.monotonic. The future fails with DeadlineExceeded,
        or with EngineUnavailable if the engine fails on this very picture.
        """
        if self._closing:
            raise EngineUnavailable("the engine is shutting down")
        self.check_alive()
        future = asyncio.get_running_loop().create_future()
        item = _Item(pixels, frozenset(outputs), deadline, future)
        self._queue[item] = None
        future.add_done_callback(lambda _: self._queue.pop(item, None))
        self._arrived.set()
        return future

    async def _work(self) -> None:
        while not (self._closing and not self._queue):
            await self._arrived.wait()
            batch = self._take()
            if batch:
                await self._run(batch)
            elif not self._closing:
                self._arrived.clear()

    def _take(self) -> list[_Item]:
        """The next batch: the oldest item and those of its size, in the order of arrival."""
        now = time.monotonic()
        batch: list[_Item] = []
        for item in list(self._queue):
            if item.future.done() or _expired(item, now):
                del self._queue[item]
            elif len(batch) < self._max_batch and (
                not batch or item.pixels.shape == batch[0].pixels.shape
            ):
                del self._queue[item]
                batch.append(item)
        return batch

    async def _run(self, batch: Sequence[_Item]) -> None:
        started = time.monotonic()
        try:
            outputs = await self._compute(batch)
        except WireError as error:  # of an engine elsewhere: no picture is to blame
            _fail(batch, error)
            return
        except Exception:
            logger.exception("the engine failed on a batch of %d", len(batch))
            await self._rerun(batch)
            return
        ended = time.monotonic()
        ran = ended - started
        for item, own in zip(batch, outputs, strict=True):
            if item.future.done():
                continue
            if own is None:
                item.future.set_exception(_no_numbers())
            else:
                item.future.set_result(Ran(own, started - item.arrived, ran))
        stages.ran(batch, started, ended, self._label)

    async def _compute(self, batch: Sequence[_Item]) -> list[Outputs | None]:
        if self._remote:
            seconds = max(item.deadline for item in batch) - time.monotonic()
            return _each(batch, await self._remote.infer(*_asked(batch), seconds))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _run, self._engine, batch)

    async def _rerun(self, batch: Sequence[_Item]) -> None:
        if len(batch) > 1:
            for item in batch:
                # Those who went away or ran out of time meanwhile cost nothing more.
                if not (item.future.done() or _expired(item, time.monotonic())):
                    await self._run([item])
        elif not batch[0].future.done():
            batch[0].future.set_exception(EngineUnavailable("the engine failed on this picture"))


def _run(engine: Engine, batch: Sequence[_Item]) -> list[Outputs | None]:
    return _each(batch, engine.run(*_asked(batch)))


def _asked(batch: Sequence[_Item]) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels [B, H, W, 3], and the outputs that any of the items wants."""
    wanted = sorted(frozenset[str]().union(*(item.outputs for item in batch)))
    return np.stack([item.pixels for item in batch]), wanted


def _each(batch: Sequence[_Item], values: Outputs) -> list[Outputs | None]:
    """Each picture's own outputs; None where one of them is no number, which JSON has not."""
    each: list[Outputs | None] = [
        {name: values[name][i] for name in item.outputs} for i, item in enumerate(batch)
    ]
    if all(np.isfinite(found).all() for found in values.values()):
        return each
    return [own if own is not None and _finite(own) else None for own in each]


def _fail(batch: Sequence[_Item], error: WireError) -> None:
    for item in batch:
        if not item.future.done():
            item.future.set_exception(error)


def _finite(own: Outputs) -> bool:
    return all(np.isfinite(values).all() for values in own.values())


def _no_numbers() -> EngineUnavailable:
    return EngineUnavailable("the engine gave values that are no numbers for this picture")


def _expired(item: _Item, now: float) -> bool:
    if now < item.deadline:
        return False
    item.future.set_exception(DeadlineExceeded("the deadline passed while the picture waited"))
    return True
