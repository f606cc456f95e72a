"""How the workers of one server agree: a folder that all of them see.

`state.json` is the last decision (written beside, renamed into place), `lock` is held by whoever
makes the next one. A worker holds WORKER.alive locked for as long as it lives, so that nobody
waits for a dead one, and WORKER.done says which decision it has carried out.
"""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from attnvgg_serving.desired import State
from attnvgg_serving.errors import EngineUnavailable

# The folder's place; made by the supervisor, inherited by its workers. Not a setting.
VARIABLE = "_ATTNVGG_RUN_FOLDER"
_AGAIN_S = 0.05


class Agreement:
    """One worker's view of the folder."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._folder = folder
        self._worker = worker
        self._state = folder / "state.json"
        self._seen: tuple[int, int] | None = None
        self._alive: IO[bytes] | None = None

    def join(self) -> None:
        """From now on the others wait for this worker; call it before the first `read`."""
        self._file("done").unlink(missing_ok=True)
        self._alive = self._file("alive").open("wb")
        fcntl.flock(self._alive, fcntl.LOCK_EX)

    def leave(self) -> None:
        if self._alive:
            self._alive.close()

    def changed(self) -> bool:
        """Whether somebody decided something since the last `read`; costs one stat."""
        return self._stat() != self._seen

    def read(self) -> State:
        """The last decision; generation 0 if there was none yet."""
        self._seen = self._stat()
        try:
            return State.from_json(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return State()

    def write(self, state: State) -> None:
        """For the holder of the lock."""
        _replace(self._state, state.to_json())
        self._seen = self._stat()

    @asynccontextmanager
    async def lock(self, seconds: float) -> AsyncIterator[None]:
        """Held by one worker, for one decision.

        Raises:
            EngineUnavailable: another one was at it for so long.
        """
        until = time.monotonic() + seconds
        with (self._folder / "lock").open("wb") as file:
            while not _try_lock(file):
                if time.monotonic() > until:
                    raise EngineUnavailable(f"another change is going on since {seconds:g} s")
                await asyncio.sleep(_AGAIN_S)
            yield

    def done(self, generation: int, problems: list[str]) -> None:
        """Says that this worker has carried out what it could of a decision."""
        _replace(self._file("done"), json.dumps({"generation": generation, "problems": problems}))

    async def wait(self, generation: int, seconds: float) -> list[str]:
        """Until every live worker has carried it out; what went wrong, one line each."""
        until = time.monotonic() + seconds
        while (behind := self._behind(generation)) and time.monotonic() < until:
            await asyncio.sleep(_AGAIN_S)
        late = [f"worker {worker} has not followed within {seconds:g} s" for worker in behind]
        return late + [
            f"worker {worker}: {problem}"
            for worker in self._live()
            if worker not in behind
            for problem in self._done(worker)[1]
        ]

    def _behind(self, generation: int) -> list[str]:
        return [worker for worker in self._live() if self._done(worker)[0] < generation]

    def _live(self) -> list[str]:
        paths = sorted(self._folder.glob("*.alive"))
        return [path.stem for path in paths if path.stem == self._worker or _is_locked(path)]

    def _done(self, worker: str) -> tuple[int, list[str]]:
        try:
            said = json.loads(self._file("done", worker).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0, []
        return said["generation"], said["problems"]

    def _file(self, kind: str, worker: str | None = None) -> Path:
        return self._folder / f"{worker or self._worker}.{kind}"

    def _stat(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            found = self._state.stat()
            return found.st_ino, found.st_mtime_ns
        return None


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _try_lock(file: IO[bytes], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        return not _try_lock(file, fcntl.LOCK_SH)
