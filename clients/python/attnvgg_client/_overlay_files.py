"""Where the command line's overlays go, and how they get there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attnvgg_client._errors import InvalidArgumentError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def plan(names: list[str], out: str) -> list[Path]:
    """One path for each picture; with one picture `out` may be the file itself.

    In a folder photo.jpg becomes photo.overlay.png, and the next photo.* photo-2.overlay.png.

    Raises:
        InvalidArgumentError: `out` cannot be written as it stands, or is one of the pictures.
    """
    folder = Path(out)
    if len(names) > 1 or out.endswith(os.sep) or folder.is_dir():
        targets = [folder / name for name in _unique([_stem(name) for name in names])]
    else:
        targets = [folder]
        folder = folder.parent
        _check_format(targets[0])
        if not folder.is_dir():
            raise InvalidArgumentError(f"--overlay {out}: there is no folder {folder}")
    _check_harmless(names, targets)
    _make(folder, out)
    return targets


def write(image: Image.Image, path: Path) -> None:
    """Writes beside and renames, so that nobody sees half a picture.

    Raises:
        OSError: the disk says no; nothing is left behind.
    """
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        image.save(beside, FORMATS[path.suffix.lower()], quality=92)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _stem(name: str) -> str:
    if name == "-":
        return "stdin"
    path = urlsplit(name).path if "://" in name else name
    return PurePath(path).stem or "picture"


def _unique(stems: list[str]) -> list[str]:
    names: dict[str, None] = {}  # a set that keeps its order
    for stem in stems:
        name, number = f"{stem}.overlay.png", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}.overlay.png"
        names[name] = None
    return list(names)


def _check_format(target: Path) -> None:
    if target.suffix.lower() not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise InvalidArgumentError(
            f"--overlay {target}: the name must end in one of {allowed}, or be that of a folder"
        )


def _check_harmless(names: list[str], targets: list[Path]) -> None:
    pictures = {Path(name).resolve() for name in names if name != "-" and "://" not in name}
    for target in targets:
        if target.resolve() in pictures:
            raise InvalidArgumentError(f"--overlay {target} would overwrite a picture given")


def _make(folder: Path, out: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"--overlay {out}: {error.strerror}") from error
