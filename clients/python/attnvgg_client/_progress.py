"""A line on a terminal that says how far a long job is; nothing where there is no terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

PAUSE = 0.1
BAR = 20


class Progress:
    """Counts what is done, and draws it on one line, at most ten times a second.

    with Progress(len(names)) as progress:
        for name in names:
            ...
            progress.advance()

    Args:
        total: how many there will be; None where nobody knows.
        stream: where to draw; standard error by default. A stream that is no terminal, is closed
            or fails stays as it is: a progress bar must not end the job that it is about.

    May be advanced by several threads.
    """

    def __init__(self, total: int | None, stream: TextIO | None = None) -> None:
        self.total, self.done = total, 0
        self._stream = sys.stderr if stream is None else stream
        self._live = _is_terminal(self._stream)
        self._start = self._drawn = time.monotonic()
        self._length = 0
        self._lock = threading.Lock()
        self._draw()

    def advance(self, n: int = 1) -> None:
        """So many more are done."""
        with self._lock:
            self.done += n
            now = time.monotonic()
            if now - self._drawn >= PAUSE:
                self._drawn = now
                self._draw()

    def clear(self) -> None:
        """Takes the line away, so that other output can have its place; the next draw puts it back
        below."""
        with self._lock:
            self._drawn -= PAUSE
            self._write("")

    def close(self) -> None:
        """Draws the last state and ends the line; may be called twice."""
        with self._lock:
            self._draw()
            self._write(None)
            self._live = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self) -> None:
        self._write(line(self.done, self.total, time.monotonic() - self._start))

    def _write(self, text: str | None) -> None:
        """Puts the text in the line's place; None ends the line."""
        if not self._live:
            return
        try:
            if text is None:
                self._stream.write("\n")
            else:
                text = text[: _width(self._stream) - 1]
                tail = "" if text else "\r"
                # Spaces, not an escape sequence: every terminal understands them.
                self._stream.write("\r" + text.ljust(self._length) + tail)
                self._length = len(text)
            self._stream.flush()
        except (OSError, ValueError):  # gone, or closed
            self._live = False


def line(done: int, total: int | None, seconds: float) -> str:
    """What is drawn: `37/120 31% [######              ] 12.3/s, 0:07 left`."""
    rate = done / seconds if seconds > 0 else 0.0
    if total is None:
        return f"{done} done, {rate:.1f}/s, {clock(seconds)}"
    share = min(1.0, done / total) if total else 1.0
    bar = ("#" * int(share * BAR)).ljust(BAR)
    left = f", {clock((total - done) / rate)} left" if 0 < done < total and rate else ""
    return f"{done}/{total} {share:4.0%} [{bar}] {rate:.1f}/s{left}"


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()  # None: a program without a console
    except (AttributeError, OSError, ValueError):
        return False


def _width(stream: TextIO) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        columns = 0
    return columns or 80
