"""Opening FILE.part: by one run at a time, and over nothing that is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from attnvgg_client._errors import InvalidArgumentError

try:
    import fcntl
except ImportError:  # Windows: nobody locks
    LOCKS = False
else:
    LOCKS = True


def open_part(path: Path, part: Path) -> BinaryIO:
    """FILE.part, locked; made if it is not there. Unbuffered, so that nothing waits to be lost."""
    check_free(path)
    try:
        number = os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        file: BinaryIO = os.fdopen(number, "r+b", buffering=0)
    except OSError as error:
        raise InvalidArgumentError(f"--out: {part} cannot be written: {error.strerror}") from error
    if not (_lock(file) and _is_still(part, file)):
        file.close()
        raise InvalidArgumentError(f"--out: another run is writing {part}")
    return file


def _is_still(part: Path, file: BinaryIO) -> bool:
    """Before the lock was had, the run that held it may have renamed what was opened here."""
    try:
        return os.path.samestat(part.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def check_free(path: Path) -> None:
    """Nothing that is there is overwritten.

    Raises:
        InvalidArgumentError: something is there, or no folder for it is.
    """
    if os.path.lexists(path):
        raise InvalidArgumentError(f"--out: {path} exists; remove it, or name another file")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"--out {path}: there is no folder {path.parent}")


def _lock(file: BinaryIO) -> bool:
    if not LOCKS:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
