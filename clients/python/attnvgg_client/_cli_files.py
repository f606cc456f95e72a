"""Which pictures a command line means: files, URLs, standard input, and what is in folders."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._pictures import MAX_BYTES

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
OVERLAY = ".overlay.png"
"""What --overlay adds to a picture's name; such files are no pictures of a folder, or else the
second run over a folder that holds its own overlays would classify the first one's."""


@dataclass(frozen=True)
class Given:
    """One argument and its pictures: those in a folder, or just itself."""

    argument: str
    is_folder: bool
    names: list[str]


@dataclass
class Pictures:
    """All arguments; `complaints` are about folders in folders that could not be read."""

    given: list[Given]
    complaints: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Every picture, in the order of the results."""
        return [name for given in self.given for name in given.names]


class StandardInput(io.BytesIO):
    """What came through standard input, with a name for messages."""

    name = "<stdin>"


def gather(arguments: list[str]) -> Pictures:
    """Looks into folders; other arguments are taken as they are, and found out about when read.

    Raises:
        InvalidArgumentError: a folder that has no pictures or cannot be read; - twice.
    """
    if arguments.count("-") > 1:
        raise InvalidArgumentError("- stands for standard input and can be given once")
    pictures = Pictures([])
    for argument in arguments:
        if argument == "-" or "://" in argument[:12] or not os.path.isdir(argument):
            pictures.given.append(Given(argument, False, [argument]))
            continue
        names = list(_walk(argument, pictures.complaints))
        if not names:
            raise InvalidArgumentError(_empty(argument, pictures.complaints))
        pictures.given.append(Given(argument, True, names))
    return pictures


def standard_input() -> StandardInput:
    """All of it, read before the event loop starts: a thread that reads cannot be interrupted.

    Raises:
        InvalidArgumentError: there is none.
    """
    if sys.stdin is None:
        raise InvalidArgumentError("- stands for standard input, and that is closed")
    try:
        return StandardInput(sys.stdin.buffer.read(MAX_BYTES + 1))
    except OSError as error:
        raise InvalidArgumentError(f"standard input cannot be read: {error.strerror}") from error


def _walk(folder: str, complaints: list[str]) -> Iterator[str]:
    """Depth first, sorted by name. Links are followed, but no folder is entered twice."""
    seen: set[tuple[int, int]] = set()
    waiting = [(folder, True)]
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield path
            continue
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                waiting += sorted(_entries(path), reverse=True)
        except OSError as error:
            complaints.append(f"{path} cannot be read: {error.strerror}")


def _entries(folder: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                yield entry.path, True
            elif _is_picture(entry):
                yield entry.path, False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """By its name. A link that leads nowhere counts, so that somebody hears of it; a pipe or a
    device does not, because reading it might never end."""
    name = entry.name.lower()
    if not name.endswith(SUFFIXES) or name.endswith(OVERLAY):
        return False
    if entry.is_file(follow_symlinks=False):
        return True
    return os.path.isfile(entry.path) or not os.path.exists(entry.path)


def _empty(folder: str, complaints: list[str]) -> str:
    if complaints:
        return complaints[-1]
    return f"the folder {folder} holds no pictures ({', '.join(SUFFIXES)})"
