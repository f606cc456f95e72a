"""What a worker says of itself once a second, whether anybody asks or not.

/metrics is answered by one of the workers; of the others it knows only what they have written.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from attnvgg_serving import memory, metrics

EVERY_S = 1.0


class Pulse:
    """All methods belong to one event loop."""

    def __init__(self, ready: Callable[[], Awaitable[bool]]) -> None:
        self._ready = ready
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._beat(), name="pulse")

    def stop(self) -> None:
        if self._task:
            self._task.cancel()

    async def _beat(self) -> None:
        taken = 0.0
        while True:
            now = time.process_time()
            metrics.process(await self._ready(), memory.resident(), now - taken)
            taken = now
            await asyncio.sleep(EVERY_S)
