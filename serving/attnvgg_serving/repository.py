"""Which versions are served: what an operator asks for, and what the models folder shows."""

import asyncio
import logging
import os
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from attnvgg_serving import metrics
from attnvgg_serving import registry as registries
from attnvgg_serving.desired import State, flat
from attnvgg_serving.errors import (
    EngineAway,
    EngineUnavailable,
    InvalidRequest,
    ModelNotFound,
    StartError,
)
from attnvgg_serving.loaded import Loaded
from attnvgg_serving.model import Model
from attnvgg_serving.registry import Registry, version_key
from attnvgg_serving.settings import Settings
from attnvgg_serving.survey import Found, Key, Survey
from attnvgg_serving.worker import Worker

logger = logging.getLogger(__name__)

FOLLOW_S = 0.2  # between two looks at what the other workers decided


@dataclass(frozen=True)
class Entry:
    """One version, as Triton's repository index has it."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE", "LOADING"]
    reason: str = ""


class Repository:
    """Fills the registry and keeps it so. All methods belong to one event loop."""

    def __init__(self, settings: Settings, registry: Registry[Model]) -> None:
        self._settings = settings
        self._registry = registry
        self._survey = Survey(settings.models)
        self._loaded = Loaded(settings, registry)
        self._worker = Worker(settings, self._loaded, self._survey)
        self._missing: set[Key] = set()
        self._said: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Every model is loaded, warm and tried when this is done.

        Raises:
            StartError: one line that says what is wrong.
        """
        await self._worker.start()
        self._follower = asyncio.create_task(self._follow(), name="repository")

    async def close(self) -> None:
        """Ends what goes on, then answers what was accepted."""
        if self._follower:
            self._follower.cancel()
            await asyncio.gather(self._follower, *self._tasks, return_exceptions=True)
        await self._loaded.close()
        self._worker.stop()

    def index(self) -> list[Entry]:
        """Every version that is served, on its way, refused or unloaded; the highest first."""
        state, serving = self._worker.state, self._loaded.serving
        refused = flat(state.refused)
        unloaded = [(name, v) for name, versions in state.unloaded.items() for v in versions]
        entries = {key: Entry(*key, "UNAVAILABLE", "unloaded") for key in unloaded}
        entries |= {key: Entry(*key, "UNAVAILABLE", why) for key, why in refused.items()}
        entries |= {key: Entry(*key, "LOADING") for key in self._loaded.loading}
        # A version whose change was refused serves on as it was; the reason says why.
        entries |= {key: Entry(*key, "READY", refused.get(key, "")) for key in serving}
        newest = sorted(entries.values(), key=lambda e: version_key(e.version), reverse=True)
        return sorted(newest, key=lambda e: e.name)

    async def load(self, name: str) -> None:
        """Serves on every worker the versions of `name` that lie in the models folder now.

        Those that are served already and did not change stay as they are.

        Raises:
            ModelNotFound: there is no such bundle.
            InvalidRequest: a version is refused, the message says why; the others are served, and
                what was served under that version serves on.
            EngineUnavailable: a worker did not follow, or another change takes too long.
        """
        await self._to_its_end(self._load(name))

    async def unload(self, name: str) -> None:
        """No request finds `name` on any worker; those that found it before are answered.

        Raises:
            ModelNotFound: there is no such model.
            EngineUnavailable: see load.
        """
        await self._to_its_end(self._unload(name))

    async def _load(self, name: str) -> None:
        async with self._worker.change() as draft:
            found = await asyncio.to_thread(self._survey.look)
            bundles = {key: bundle for key, bundle in found.items() if key[0] == name}
            if not bundles:
                there = ", ".join(sorted({key[0] for key in found})) or "none"
                raise ModelNotFound(f"the models folder has no bundle {name!r}; it has {there}")
            refused = await self._take(draft, bundles)
            for version in draft.versions(name) - {version for _, version in bundles}:
                draft.forget(name, version)
            draft.default = self._default(draft)
        await self._worker.agreed()
        if refused:
            raise InvalidRequest("; ".join(refused))

    async def _unload(self, name: str) -> None:
        async with self._worker.change() as draft:
            if name not in draft.names():
                there = ", ".join(sorted(draft.names())) or "none"
                raise ModelNotFound(f"there is no model {name!r}; there is {there}")
            draft.unload(name)
        await self._worker.agreed()

    async def _follow(self) -> None:
        due = time.monotonic() + self._settings.poll_s
        while True:
            await asyncio.sleep(FOLLOW_S if not self._settings.poll_s else self._pause())
            try:
                await self._worker.follow()
                if self._settings.poll_s and time.monotonic() >= due:
                    await self._look()
                    due = time.monotonic() + self._settings.poll_s
            except (OSError, EngineUnavailable) as error:
                self._say(f"the models folder cannot be followed: {error}")
            except Exception:
                logger.exception("following the models folder failed; it is tried again")

    async def _look(self) -> None:
        """Follows the models folder, except for what an operator unloaded."""
        found = await asyncio.to_thread(self._survey.look)
        if not found:
            self._say(f"{self._settings.models} holds no bundle any more; what serves serves on")
            return
        state, gone = self._worker.state, self._gone(found)
        if not (gone or news(state, found) or self._default(state) != state.default):
            return
        async with self._worker.change() as draft:
            await self._take(draft, news(draft, found))
            for key in gone:
                draft.forget(*key)
            draft.default = self._default(draft)

    async def _take(self, draft: State, bundles: Mapping[Key, Found]) -> list[str]:
        """Serves each that is sound; why the others are refused, one line each."""
        refused = []
        for key, found in bundles.items():
            try:
                await self._loaded.take(key, found.folder, found.identity)
                draft.serve(*key, found.identity)
            except StartError as error:
                reason = self._told(error)
                logger.warning("%s/%s is refused: %s", *key, reason)
                metrics.changed("refused")
                # The next look tries again what nothing is known against.
                stamp = "" if isinstance(error, EngineAway) else found.stamp
                draft.refuse(*key, stamp, reason)
                refused.append(f"{'/'.join(key)} is refused: {reason}")
        return refused

    def _told(self, error: StartError) -> str:
        """Answers do not say where the server keeps its files, nor where Triton is."""
        reason = str(error).replace(f"{self._settings.models}{os.sep}", "")
        return reason.replace(f" at {self._settings.triton_url}", "")

    def _gone(self, found: Mapping[Key, Found]) -> set[Key]:
        """Missing for the second time: a folder is away for the moment of a rename."""
        state = self._worker.state
        missing = (set(flat(state.serving)) | set(flat(state.refused))) - set(found)
        gone, self._missing = missing & self._missing, missing
        return gone

    def _default(self, state: State) -> str:
        """What MODELS/default says now, or what it was if that cannot be."""
        models, configured = self._settings.models, self._settings.default_model
        try:
            return registries.default_name(models, configured, state.names())
        except (StartError, OSError) as error:
            self._say(f"the default stays {state.default!r}: {error}")
            return state.default

    def _say(self, line: str) -> None:
        """Once: a look comes every few seconds."""
        if line not in self._said:
            self._said.add(line)
            logger.warning("%s", line)

    def _pause(self) -> float:
        return min(FOLLOW_S, self._settings.poll_s)

    async def _to_its_end(self, change: Coroutine[Any, Any, None]) -> None:
        """Even if the caller goes away: half a change is nobody's wish."""
        task = asyncio.create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except OSError as error:
            raise EngineUnavailable(f"a folder of the server: {error.strerror}") from error


def news(state: State, found: Mapping[Key, Found]) -> dict[Key, Found]:
    """What is neither served nor refused just as it lies there, nor unloaded."""
    stamps, serving = flat(state.stamps), flat(state.serving)
    return {
        key: bundle
        for key, bundle in found.items()
        if key[0] not in state.unloaded
        and serving.get(key) != bundle.identity
        and stamps.get(key) != bundle.stamp
    }
