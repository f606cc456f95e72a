"""The file that --out names: FILE.part while it grows line by line, FILE once it is whole.

What a run leaves behind, however it ended, the next one continues. Nothing but the lines says what
was done: a line that lacks its end is cut off, and what the lines have in common (columns, model,
number of labels) must be what this run would write.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attnvgg_client._cli_formats import KeptFormat, Result, Traits
from attnvgg_client._cli_part import LOCKS, open_part
from attnvgg_client._cli_terminal import ModelChangedError, OutputError
from attnvgg_client._errors import InvalidArgumentError, ItemError


class ResultFile:
    """Opens, locks and reads FILE.part.

    already: how many lines it had. failed: how many of these are about bad pictures.

    Raises:
        InvalidArgumentError: it cannot be written, or is not to be continued by this run.
    """

    def __init__(self, path: Path, form: KeptFormat) -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        self.already, self.failed = 0, 0
        self._done: Counter[str] = Counter()
        self._traits: Traits | None = None
        self._form, self._added, self._agreed = form, 0, False
        self._file = open_part(path, self.part)
        try:
            self._end = self._read()
        except BaseException:
            self._file.close()
            raise

    @property
    def lines(self) -> int:
        """How many pictures have a line now."""
        return self.already + self._added

    def remaining(self, names: list[str]) -> list[int]:
        """The places of those that have no line yet; a line that lacks its end is cut off.

        Raises:
            InvalidArgumentError: none has one, so that the lines are about something else.
        """
        done = self._done.copy()
        places = []
        for place, name in enumerate(names):
            if done[name] > 0:
                done[name] -= 1
            else:
                places.append(place)
        if self.already and len(places) == len(names):
            raise self._refused("is about other pictures than these")
        self._file.truncate(self._end)
        self._file.seek(self._end)
        return places

    async def add(self, name: str, result: Result) -> None:
        """Writes a line, whole, before anything else is done.

        Raises:
            OutputError: the disk is full.
            ModelChangedError: another model answered than before.
        """
        if not isinstance(result, ItemError):
            self._compare(self._form.traits(result))
        line = self._form.encode(name, result)
        try:
            self._write(line if self._end else self._form.header + line)
        except OSError as error:
            raise OutputError(f"{self.part} cannot be written: {error.strerror}") from error
        self._added += 1

    def finish(self) -> None:
        """FILE.part becomes FILE.

        Raises:
            OutputError: somebody else made FILE meanwhile, or the disk says no.
        """
        if os.path.lexists(self.path):
            raise OutputError(f"{self.path} exists by now; the results are in {self.part}")
        try:
            if not self._end:
                self._write(self._form.header)
            os.fsync(self._file.fileno())
            if not LOCKS:  # Windows renames no open files; elsewhere the lock must hold on
                self._file.close()
            self.part.rename(self.path)
        except OSError as error:
            raise OutputError(f"{self.part} cannot become {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Lets go of the file; one without lines is not left behind."""
        if not self._file.closed:
            if not self._end:
                with contextlib.suppress(OSError):
                    self.part.unlink()
            self._file.close()

    def _read(self) -> int:
        """Counts the lines; gives the place where the last whole one ends."""
        end = 0
        for number, record in enumerate(self._records(), 1):
            if end == 0 and self._form.header:
                if record != self._form.header:
                    raise self._refused("has other columns than this run (--json, --csv, --top-k)")
            else:
                self._count(number, record)
            end += len(record)
        if not (end or self._is_begun()):
            raise self._refused("was not written by such a run")
        return end

    def _is_begun(self) -> bool:
        """Whether what has no whole line is the start of one, and nothing that would be lost."""
        expected = self._form.header or self._form.start
        with self.part.open("rb") as lines:
            return expected.startswith(lines.read(len(expected)))

    def _records(self) -> Iterator[bytes]:
        waiting = b""
        with self.part.open("rb") as lines:
            for line in lines:
                waiting += line
                if line.endswith(b"\n") and self._form.whole(waiting):
                    yield waiting
                    waiting = b""

    def _count(self, number: int, record: bytes) -> None:
        try:
            name, traits = self._form.decode(record)
        except ValueError as error:
            raise self._refused(f"was not written by such a run: line {number} {error}") from error
        self._done[name] += 1
        self.already += 1
        self.failed += traits is None
        self._traits = traits or self._traits

    def _compare(self, traits: Traits) -> None:
        if self._traits is None:
            self._traits = traits
        for what, before in self._traits.items():
            if traits[what] == before:
                continue
            if self._agreed and what == "model":
                raise ModelChangedError(
                    f"the model changed from {before} to {traits[what]} meanwhile; "
                    f"{self.part} has the lines until then: remove it to start anew"
                )
            raise self._refused(f"has lines of {before}, this run gives {traits[what]}")
        self._agreed = True

    def _refused(self, why: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"{self.part} {why}; to start anew, remove it or name another file"
        )

    def _write(self, data: bytes) -> None:
        """All or nothing: what was written of a line before the disk was full is cut off."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(data)
