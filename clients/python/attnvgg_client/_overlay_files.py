"""Where the command line's overlays go, and how they get there whole or not at all."""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attnvgg_client import _saving
from attnvgg_client._cli_files import OVERLAY, Pictures
from attnvgg_client._errors import InvalidArgumentError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = _saving.PICTURES


def plan(pictures: Pictures, out: str) -> list[str]:
    """One path for each picture; for one that was named itself `out` may be the file.

    In a folder photo.jpg becomes photo.overlay.png, and the next photo.* photo-2.overlay.png.
    Pictures from a folder have the folders that they had in it; where it is not the only argument
    these are in one of its name. So a run and its continuation give a picture the same path.

    Raises:
        InvalidArgumentError: `out` cannot be written as it stands, or is one of the pictures.
    """
    alone = len(pictures.given) == 1 and not pictures.given[0].is_folder
    if alone and not out.endswith(os.sep) and not os.path.isdir(out):
        targets, folder = [out], Path(out).parent
        _check_format(Path(out))
        if not folder.is_dir():
            raise InvalidArgumentError(f"--overlay {out}: there is no folder {folder}")
    else:
        targets, folder = [os.path.join(out, name) for name in _unique(_stems(pictures))], Path(out)
    _check_harmless(pictures, targets)
    _make(folder, out)
    return targets


def write(image: Image.Image, target: str) -> None:
    """Writes beside and renames, so that nobody sees half a picture; makes its folder.

    Raises:
        OSError: the disk says no; nothing is left behind.
    """
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    _saving.write_picture(target, image)


def _stems(pictures: Pictures) -> Iterator[str]:
    """The paths in `out`, without their ends and perhaps not yet different."""
    roots: dict[str, None] = {"": None}
    for given in pictures.given:
        if not given.is_folder:
            yield _stem(given.argument)
            continue
        root = ""
        if len(pictures.given) > 1:
            root = _another(os.path.basename(os.path.abspath(given.argument)), roots)
            roots[root] = None
        for name in given.names:
            inside = name.removeprefix(given.argument).lstrip(os.sep)
            yield os.path.join(root, os.path.splitext(inside)[0])


def _stem(name: str) -> str:
    if name == "-":
        return "stdin"
    path = urlsplit(name).path if "://" in name else name
    return PurePath(path).stem or "picture"


def _another(stem: str, taken: Container[str]) -> str:
    names = (f"{stem}-{number}" for number in itertools.count(2))
    return stem if stem not in taken else next(name for name in names if name not in taken)


def _unique(stems: Iterator[str]) -> Iterator[str]:
    taken: dict[str, int] = {}  # stem -> the last number it was given
    for stem in stems:
        number, name = taken.get(stem, 0), stem
        while number and name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken[stem] = max(number, 1)
        taken[name] = taken.get(name, 1)
        yield f"{name}{OVERLAY}"


def _check_format(target: Path) -> None:
    if target.suffix.lower() not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise InvalidArgumentError(
            f"--overlay {target}: the name must end in one of {allowed}, or be that of a folder"
        )


def _check_harmless(pictures: Pictures, targets: list[str]) -> None:
    """Pictures from folders are safe: what looks like an overlay is none of them."""
    alone = [given.argument for given in pictures.given if not given.is_folder]
    named = {os.path.realpath(name) for name in alone if name != "-" and "://" not in name}
    for target in targets if named else []:
        if os.path.lexists(target) and os.path.realpath(target) in named:
            raise InvalidArgumentError(f"--overlay {target} would overwrite a picture given")


def _make(folder: Path, out: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"--overlay {out}: {error.strerror}") from error
