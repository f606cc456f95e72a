"""What this process has loaded: swapped in and dropped between two requests, never under one."""

import asyncio
import logging
from pathlib import Path

from attnvgg_serving import metrics, trial
from attnvgg_serving.batcher import Batcher
from attnvgg_serving.model import Model
from attnvgg_serving.registry import Registry
from attnvgg_serving.retirement import Retirement
from attnvgg_serving.settings import LONGEST_TIMEOUT_MS, Settings
from attnvgg_serving.stages import Label
from attnvgg_serving.survey import Key

logger = logging.getLogger(__name__)


class Loaded:
    """Fills the registry. All methods belong to one event loop.

    serving: what requests find -> its identity.
    loading: what is on its way.
    """

    def __init__(self, settings: Settings, registry: Registry[Model]) -> None:
        self.serving: dict[Key, str] = {}
        self.loading: set[Key] = set()
        self.registry = registry
        self._settings = settings
        self._retirement = Retirement(LONGEST_TIMEOUT_MS / 1000)

    async def take(self, key: Key, folder: Path, identity: str) -> None:
        """Loads it beside what is there, tries it, and swaps it in; nothing if it is there.

        Raises:
            StartError: it is broken; what was served under this key serves on.
        """
        if self.serving.get(key) == identity:
            return
        self.loading.add(key)
        try:
            bundle, engine = await asyncio.to_thread(trial.load, folder, self._settings)
        finally:
            self.loading.discard(key)
        label = Label(*key, engine.provider)
        batcher = Batcher(engine, self._settings.max_batch, self._settings.max_queue, label)
        batcher.start()
        model = Model(bundle.manifest, engine, batcher)
        self._retire(self.registry.add(*key, model))
        self._report(model, True)
        self.serving[key] = identity
        logger.info("%s/%s is ready on %s", *key, engine.provider)

    def drop(self, key: Key) -> None:
        """Requests that found it are answered, others find it no more."""
        self.serving.pop(key, None)
        self._retire(self.registry.remove(*key))
        logger.info("%s/%s is unloaded", *key)

    async def close(self) -> None:
        """Answers what was accepted, then frees everything."""
        for key in list(self.serving):
            self.drop(key)
        await self._retirement.close()

    def _retire(self, model: Model | None) -> None:
        if model is not None:
            self._retirement.add(model)
            self._report(model, False)

    def _report(self, model: Model, loaded: bool) -> None:
        engine, room = model.engine, self._settings.max_queue
        metrics.changed("loaded" if loaded else "unloaded")
        metrics.serves(loaded, *model.label.served(), engine.sha256, engine.precision)
        metrics.queue_limit(room if loaded else -room, model.label.model)
