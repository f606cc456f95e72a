"""The end of a model that was replaced or unloaded: it drains, then its engine is closed."""

import asyncio
import logging
import time
import weakref

from attnvgg_serving.batcher import Batcher
from attnvgg_serving.engines import Engine
from attnvgg_serving.model import Model

logger = logging.getLogger(__name__)

_AGAIN_S = 0.1


class Retirement:
    """Models that nobody can find any more. All methods belong to one event loop."""

    def __init__(self, longest: float) -> None:
        """`longest`: no request lives for more seconds than that."""
        self._longest = longest
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, model: Model) -> None:
        """The caller lets go of `model`, too."""
        # A request takes its model first and queues its pictures later, when its body is there
        # and decoded. Who holds the model may still do so: only the references tell.
        reference = weakref.ref(model)
        drain = self._drain(reference, model.batcher, model.engine, _name(model))
        task = asyncio.create_task(drain, name="retirement")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finishes what was accepted, without waiting for requests that may yet come."""
        self._closing.set()
        await asyncio.gather(*self._tasks)

    async def _drain(
        self, reference: weakref.ref[Model], batcher: Batcher, engine: Engine, name: str
    ) -> None:
        until = time.monotonic() + self._longest
        while reference() is not None and time.monotonic() < until and not self._closing.is_set():
            await asyncio.sleep(_AGAIN_S)
        await batcher.close()
        engine.close()
        logger.info("%s is closed", name)


def _name(model: Model) -> str:
    return f"{model.manifest.name}/{model.manifest.version}"
