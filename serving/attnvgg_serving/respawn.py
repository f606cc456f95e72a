"""A worker that died is replaced at once.

BentoML's supervisor (circus) looks for dead workers every ten seconds and has no setting for it.
It leaves SIGCHLD alone, so this looks when it arrives. A worker that dies again soon waits for
the ten seconds: that is the back-off of one that cannot live.
"""

import logging
import signal
import time
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

SOON = 30.0  # seconds


class Respawn:
    """Installed once in the supervisor, before it starts."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def install(self) -> None:
        signal.signal(signal.SIGCHLD, self._died)

    def _died(self, number: int, frame: FrameType | None) -> None:
        # circus's handler for SIGTERM is a method of what knows its controller.
        handler = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        controller = getattr(handler, "controller", None)
        now = time.monotonic()
        if controller is not None and now - self._last > SOON:
            self._last = now
            controller.loop.add_callback_from_signal(_look, controller.arbiter)


async def _look(arbiter: Any) -> None:
    for watcher in arbiter.iter_watchers():
        # In a container the framework replaces no worker, so that the container ends with its
        # only one; of several, one that is missing would go unnoticed.
        watcher.respawn = watcher.respawn or watcher.numprocesses > 1
    try:
        await arbiter.manage_watchers()
    except Exception as error:  # circus is busy, with stopping most likely
        logger.debug("did not look for dead workers: %s", error)
