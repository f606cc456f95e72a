"""How long a request may take, and what happens when its client goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from attnvgg_serving.errors import DeadlineExceeded, InvalidRequest

T = TypeVar("T")


def budget_ms(request: Request, longest: int) -> int:
    """The client's X-Timeout-Ms, or the server's own limit if that is shorter.

    Raises:
        InvalidRequest: the header is no whole number from 1 on.
    """
    value = request.headers.get("x-timeout-ms")
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
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
