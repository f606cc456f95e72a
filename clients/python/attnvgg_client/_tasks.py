"""Flows in tasks: what predict_many of the asyncio client runs its chunks in. See _jobs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Self, TypeAlias

from attnvgg_client._http import Flow
from attnvgg_client._many import Answer, Many, Result

Run: TypeAlias = Callable[[Flow[Answer]], Coroutine[Any, Any, Answer]]
Tasks: TypeAlias = deque[asyncio.Task[Answer]]


class _Awaited:
    """A plain iterator to be read with `async for`."""

    def __init__(self, images: Iterator[Any]) -> None:
        self._images = images

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for image in self._images:
            return image
        raise StopAsyncIteration


def iterator(images: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Of either kind."""
    if isinstance(images, AsyncIterable):
        return aiter(images)
    return _Awaited(iter(images))


async def results(run: Run, many: Many, images: AsyncIterator[Any]) -> AsyncIterator[Result]:
    """What predict_many yields; when the iteration stops, for whatever reason, so do the tasks."""
    tasks: Tasks = deque()
    try:
        with many.counting() as count:
            await _fill(run, many, images, tasks)
            while tasks:
                answer = await tasks[0]
                tasks.popleft()
                if many.fast and answer.error is None:
                    await _fill(run, many, images, tasks)
                for result in answer.results:
                    count()
                    yield result
                if answer.error is not None:
                    raise answer.error
                await _fill(run, many, images, tasks)
        if many.error is not None:
            raise many.error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _fill(run: Run, many: Many, images: AsyncIterator[Any], tasks: Tasks) -> None:
    while many.room(len(tasks), bool(tasks) and tasks[0].done()):
        chunk = many.chunk()
        try:
            async for image in images:
                if many.add(chunk, image):
                    break
            else:
                many.ended = True
        except Exception as error:  # raised after the results of what came before
            many.ended, many.error = True, error
        if chunk.images:
            tasks.append(asyncio.create_task(run(many.flow(chunk))))
            await asyncio.sleep(0)  # it starts while the next pictures are read
