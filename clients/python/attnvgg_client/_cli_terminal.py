"""What the commands say, and where: results, complaints, exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from attnvgg_client._errors import AttnVGGError
from attnvgg_client._plain import one_line

if TYPE_CHECKING:
    from asyncio import Future

OK, FAILED, USAGE, NOT_AVAILABLE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 4, 130

PIECE = 4096  # a pipe that has room at all has room for so many bytes


class OutputError(AttnVGGError):
    """Results cannot be written, so that going on would be for nothing; the message says where."""


class ModelChangedError(AttnVGGError):
    """Another model answers than the one whose answers are kept already."""


def complain(message: str, code: int) -> int:
    """One line on standard error; gives the exit code back."""
    if sys.stderr is not None:
        # With standard error gone there is nobody left to tell.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"attnvgg: {one_line(message)}\n")
            sys.stderr.flush()
    return code


def encoded(text: str) -> bytes:
    """A line as standard output takes it; characters that it lacks are spelled out."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return (text + "\n").encode(encoding, "backslashreplace")


def write(data: bytes) -> None:
    """To standard output, at once.

    Raises:
        OutputError: it is closed, or its disk is full.
        BrokenPipeError: the reader has gone.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


async def write_slowly(data: bytes) -> None:
    """As `write`, but a reader that pauses (`| less`) holds up neither the requests under way,
    which would run out of time, nor Ctrl-C."""
    for start in range(0, len(data), PIECE):
        await _room()
        write(data[start : start + PIECE])


async def _room() -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    ready: Future[None] = loop.create_future()
    try:
        number = sys.stdout.fileno()
        loop.add_writer(number, lambda: None if ready.done() else ready.set_result(None))
    except (AttributeError, OSError, ValueError, NotImplementedError):
        return  # a file on a disk, which always has room, or no file at all
    try:
        await ready
    finally:
        loop.remove_writer(number)


def silence() -> None:
    """Standard output leads nowhere from here on; Python would complain of it when it exits."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
