"""When a run pauses between two steps: at a signal, when its minutes are over, when a save is due.

A signal only leaves a note; the step in hand is finished and saved first. A second one ends the
process at once, in the middle of whatever it does: checkpoints are made to bear that. torchrun
hands a Ctrl-C on to processes that have seen it already, so there a second one counts only after
some seconds.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 3.0
NOTE = b"attnvgg-train: finishing the step and saving; the same again ends at once\n"


class Interrupted(Exception):
    """A signal came where waiting for a step would be long, and nothing is changed."""


class Stop:
    """Asked after every step; true if the run is to pause there.

    Args:
        save_minutes: between saves; 0 for none within an epoch.
        minutes: after which the run is to end, or None.
        started: time.monotonic() from which those are counted.
        echoes: whether a supervisor repeats signals, as torchrun does.
        speaks: whether this process is the one to say that it was heard.
    """

    def __init__(
        self,
        save_minutes: float,
        minutes: float | None = None,
        started: float | None = None,
        echoes: bool = False,
        speaks: bool = True,
    ) -> None:
        now = time.monotonic()
        self.signal: int | None = None
        self._every = 60 * save_minutes
        self._end = None if minutes is None else (started or now) + 60 * minutes
        self._saved, self._signalled = now, 0.0
        self._echoes, self._speaks = echoes, speaks
        self._waiting, self._process = False, os.getpid()

    def __call__(self) -> bool:
        """Whether to pause."""
        return self.ended or (self._every > 0 and time.monotonic() - self._saved >= self._every)

    @property
    def ended(self) -> bool:
        """Whether the run is to end, not only to save."""
        return self.signal is not None or self.out_of_time

    @property
    def out_of_time(self) -> bool:
        """Whether its minutes are over."""
        return self._end is not None and time.monotonic() >= self._end

    def saved(self) -> None:
        """A save has been made; the next is due after save_minutes."""
        self._saved = time.monotonic()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals, and gives them back."""
        before: dict[int, Any] = {each: signal.signal(each, self._note) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Around what may be left at once, such as a test.

        Raises:
            Interrupted: there was a signal, or it came.
        """
        self._waiting = True
        try:
            if self.signal is not None:
                raise Interrupted
            yield
        finally:
            self._waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a forked worker: its parent decides
        if self.signal is None:
            self.signal, self._signalled = number, time.monotonic()
            if self._speaks:
                os.write(2, NOTE)  # print and logging may be what was interrupted
            if self._waiting:
                raise Interrupted
        elif not self._echoes or time.monotonic() - self._signalled > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
