"""One process at a time writes a run folder."""

import fcntl
import os
from pathlib import Path

from attnvgg_training.errors import ConfigError

NAME = ".lock"


class Lock:
    """A lock on a folder that ends with its process, however that ends.

    It is a POSIX record lock (fcntl), not flock: a process forked to read pictures inherits an
    flock, and may live for seconds after a SIGKILL of its parent.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._descriptor: int | None = None

    def take(self) -> None:
        """Makes the folder and locks it; a second call does nothing.

        Raises:
            ConfigError: another process has it.
        """
        if self._descriptor is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigError(
                f"--run {self._path.parent} is in use by another process ({holder}); wait until "
                "it ends, or name another folder"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the folder free; without it, the end of the process does."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
