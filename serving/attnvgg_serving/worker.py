"""This process among the workers of its server: they decide one after the other, and all follow.

Who decides does it himself first, so that a broken bundle is refused before anybody else hears
of it; then the decision is published and the others do the same.
"""

import asyncio
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attnvgg_serving import registry as registries
from attnvgg_serving.agreement import VARIABLE, Agreement
from attnvgg_serving.desired import State, flat
from attnvgg_serving.errors import EngineUnavailable, StartError
from attnvgg_serving.loaded import Loaded
from attnvgg_serving.settings import Settings
from attnvgg_serving.survey import Key, Survey

logger = logging.getLogger(__name__)

PATIENCE_S = 30.0  # for another's change to end, and then for all to follow ours


class Worker:
    """Keeps what is loaded here and what was decided the same. One event loop."""

    def __init__(self, settings: Settings, loaded: Loaded, survey: Survey) -> None:
        self.state = State()
        self._settings = settings
        self._loaded = loaded
        self._survey = survey
        self._tidy: Callable[[], object] | None = None
        self._agreement = Agreement(Path(self._folder()), str(os.getpid()))
        self._busy = asyncio.Lock()

    async def start(self) -> None:
        """Loads what the others serve; what there is, if nobody has decided yet.

        Raises:
            StartError: some of it is broken or gone. A worker serves all of it or does not start.
        """
        self._agreement.join()
        if self._agreement.read().generation == 0:
            async with self._agreement.lock(PATIENCE_S):
                if self._agreement.read().generation == 0:
                    self._agreement.write(await asyncio.to_thread(self._first))
        await self._join(self._agreement.read())

    def stop(self) -> None:
        self._agreement.leave()
        if self._tidy:
            self._tidy()

    @asynccontextmanager
    async def change(self) -> AsyncIterator[State]:
        """A draft of the next decision, published at the end if it is another one.

        Raises:
            EngineUnavailable: another change takes too long.
        """
        async with self._busy, self._agreement.lock(PATIENCE_S):
            await self._catch_up()
            draft = self.state.copy()
            yield draft
            if draft != self.state:
                draft.generation += 1
                self._agreement.write(draft)
                await self._reach(draft)

    async def follow(self) -> None:
        """Does what was decided since the last time."""
        async with self._busy:
            await self._catch_up()

    async def agreed(self) -> None:
        """Returns when every worker has done what was decided.

        Raises:
            EngineUnavailable: some have not, or could not.
        """
        problems = await self._agreement.wait(self.state.generation, PATIENCE_S)
        if problems:
            raise EngineUnavailable("; ".join(problems))

    def _folder(self) -> str:
        if folder := os.environ.get(VARIABLE):
            return folder
        # Without a supervisor of ours (in a test, say) this worker is alone.
        folder = tempfile.mkdtemp(prefix="attnvgg-")
        self._tidy = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _first(self) -> State:
        """Serve everything that lies there."""
        models = self._settings.models
        registries.scan(models)
        state = State(generation=1)
        for (name, version), found in self._survey.look().items():
            state.serve(name, version, found.identity)
        configured = self._settings.default_model
        state.default = registries.default_name(models, configured, set(state.serving))
        return state

    async def _join(self, state: State) -> None:
        found = await asyncio.to_thread(self._survey.look)
        changed: dict[Key, str] = {}
        for key, identity in flat(state.serving).items():
            if key not in found:
                raise StartError(f"the others serve {'/'.join(key)}, but its bundle is gone")
            await self._loaded.take(key, found[key].folder, found[key].identity)
            if found[key].identity != identity:
                changed[key] = found[key].identity
        self._adopt(state, [])
        # What the others serve under these names cannot be had any more: they take this.
        if changed:
            async with self.change() as draft:
                for key, identity in changed.items():
                    draft.serve(*key, identity)

    async def _catch_up(self) -> None:
        if not self._agreement.changed():
            return
        state = self._agreement.read()
        if state.generation < self.state.generation:
            # Somebody tidied up the run folder: that is no reason to drop what is served.
            self._agreement.write(self.state)
        else:
            await self._reach(state)

    async def _reach(self, state: State) -> None:
        """Does what was decided as far as it can; where it cannot, the old one serves on."""
        problems = []
        for key, identity in flat(state.serving).items():
            try:
                await self._reach_one(key, identity)
            except StartError as error:
                problems.append(str(error))
                logger.warning("%s/%s cannot be followed: %s", *key, error)
        for key in set(self._loaded.serving) - set(flat(state.serving)):
            self._loaded.drop(key)
        self._adopt(state, problems)

    async def _reach_one(self, key: Key, identity: str) -> None:
        if self._loaded.serving.get(key) == identity:
            return
        found = (await asyncio.to_thread(self._survey.look)).get(key)
        if found is None or found.identity != identity:
            raise StartError(f"{'/'.join(key)} was changed or removed after another worker took it")
        await self._loaded.take(key, found.folder, identity)

    def _adopt(self, state: State, problems: list[str]) -> None:
        self.state = state
        self._loaded.registry.default = state.default
        self._agreement.done(state.generation, problems)
