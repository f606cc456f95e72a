"""Any number of pictures: what predict_many reads when, sends in which pieces, and yields.

The pictures are cut into chunks, and each chunk is a flow of its own. The blocking client runs them
in threads, the asyncio client in tasks; everything that both must agree on is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from attnvgg_client._batch import Batch, Results
from attnvgg_client._door import Door
from attnvgg_client._errors import InvalidArgumentError, ItemError
from attnvgg_client._http import Flow
from attnvgg_client._patience import Patience
from attnvgg_client._pictures import PictureLike, short
from attnvgg_client._prediction import Prediction
from attnvgg_client._progress import Progress
from attnvgg_client._requests import Options

FIRST_CHUNK = 4
LINGER = 0.05
"""Seconds for which a chunk may wait to fill: pictures from a slow source go as they come."""

Result: TypeAlias = Prediction | ItemError
Report: TypeAlias = Callable[[int, int | None], None]


@dataclass
class Chunk:
    """Pictures that become one flow, each with its place among all."""

    size: int
    images: list[tuple[int, PictureLike]] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def full(self) -> bool:
        return len(self.images) >= self.size or self.late()

    def late(self) -> bool:
        return time.monotonic() - self.start > LINGER


@dataclass
class Answer:
    """What became of a chunk: its results in order, and why there are no more, if there are not."""

    results: list[Result]
    error: Exception | None


class Many:
    """One call of predict_many.

    ended: there are no more pictures. error: why the pictures ended, if their iterator failed.
    """

    def __init__(
        self,
        door: Door,
        images: Any,
        options: Options,
        seconds: float,
        concurrency: int,
        progress: bool | Report,
        insistent: bool,
    ) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidArgumentError(f"concurrency is {concurrency!r}; it must be 1 or more")
        if not (isinstance(progress, bool) or callable(progress)):
            raise InvalidArgumentError(
                f"progress is {short(progress)}; it must be True, False or a function of two "
                "arguments, the number done and the number of all or None"
            )
        self.total = len(images) if hasattr(images, "__len__") else None
        self.ended = False
        self.error: Exception | None = None
        self._batch = Batch(Patience(door, insistent).ask, options, seconds)
        self._concurrency, self._progress = concurrency, progress
        self._chunks = self._read = 0
        self._slow = False

    @property
    def fast(self) -> bool:
        """Whether to read on before results that are there are yielded: not where it takes long."""
        return not self._slow

    def room(self, in_flight: int, answered: bool) -> bool:
        """Whether the next chunk should be read now. answered: the first one in flight is."""
        if self.ended or in_flight >= self._concurrency:
            return False
        return self.fast or not answered

    def chunk(self) -> Chunk:
        """An empty one. As large as one request where there are plenty of pictures, smaller where
        that would leave some of the requests that may be under way without work."""
        most = self._batch.limits.images
        if self.total:
            rounds = -(-self.total // (most * self._concurrency))
            return Chunk(min(most, -(-self.total // (rounds * self._concurrency))))
        return Chunk(min(most, FIRST_CHUNK * 2 ** min(8, self._chunks // self._concurrency)))

    def add(self, chunk: Chunk, image: PictureLike) -> bool:
        """Takes the next picture; whether the chunk should go."""
        chunk.images.append((self._read, image))
        self._read += 1
        return chunk.full()

    def flow(self, chunk: Chunk) -> Flow[Answer]:
        """What happens to a chunk."""
        self._chunks += 1
        self._slow = chunk.late()
        return self._answer(chunk)

    def _answer(self, chunk: Chunk) -> Flow[Answer]:
        results: Results = {}
        error: Exception | None = None
        try:
            yield from self._batch.collect(chunk.images, results)
        except Exception as problem:  # it is raised when its turn comes
            error = problem
        return Answer(list(_up_to_the_first_gap(chunk, results)), error)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], None]]:
        """A function to call for each result."""
        done = 0
        bar = Progress(self.total) if self._progress is True else None

        def count() -> None:
            nonlocal done
            done += 1
            if bar is not None:
                bar.advance()
            elif callable(self._progress):
                self._progress(done, self.total)

        try:
            yield count
        finally:
            if bar is not None:
                bar.close()


def _up_to_the_first_gap(chunk: Chunk, results: Results) -> Iterator[Result]:
    for place, _ in chunk.images:
        if place not in results:
            return
        yield results[place]
