"""How long a request may take, and what happens when its client goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from attnvgg_serving.errors import DeadlineExceeded, InvalidRequest
from attnvgg_serving.http.body import header

T = TypeVar("T")
PATIENCE = 0.02  # seconds until a request is watched for its client's going away


def budget_ms(request: Request, longest: int) -> int:
    """The client's X-Timeout-Ms, or the server's own limit if that is shorter.

    Raises:
        InvalidRequest: the header is no whole number from 1 on.
    """
    value = header(request, b"x-timeout-ms")
    if value is None:
        return longest
    if not (value.isascii() and value.isdecimal() and len(value) < 10) or int(value) < 1:
        raise InvalidRequest(f"X-Timeout-Ms is {value[:40]!r}; it must be a whole number from 1 on")
    return min(int(value), longest)


@asynccontextmanager
async def within(milliseconds: int) -> AsyncIterator[float]:
    """Yields the moment (on time.monotonic) at which what is inside is cancelled.

    Raises:
        DeadlineExceeded: it was.
    """
    try:
        async with asyncio.timeout(milliseconds / 1000):
            yield time.monotonic() + milliseconds / 1000
    except TimeoutError:
        raise DeadlineExceeded(f"the request took longer than {milliseconds} ms") from None


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` and cancels it if the client goes away. The body must have been read.

    Raises:
        ClientDisconnect: it did.
    """
    watch = _Watch(request)
    # Most requests are answered before it is worth asking whether anybody still waits.
    timer = asyncio.get_running_loop().call_later(PATIENCE, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        # Whoever else cancelled this task wants to be heard: only our own cancelling is undone.
        if watch.gone and watch.task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        watch.stop()


class _Watch:
    """Cancels the task that made it when the client goes away."""

    def __init__(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.gone = False
        self._request = request
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        await _disconnected(self._request)
        self.gone = True
        self.task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
