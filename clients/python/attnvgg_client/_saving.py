"""Files that are there whole or not at all, and never in place of something else."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from attnvgg_client._errors import InvalidArgumentError

if TYPE_CHECKING:
    from PIL import Image

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels a side: what the formats can hold


def write_beside(path: str | os.PathLike[str], writer: Callable[[IO[bytes]], object]) -> None:
    """Calls `writer` with a new file beside `path` and renames it, so that nobody sees half a file.

    A file that was there is replaced only by a whole one; a link to a file stays a link.

    Raises:
        InvalidArgumentError: there is no such folder, or `path` is a folder or a device.
        OSError: the disk says no, of `path`; nothing is left behind and nothing was lost.
    """
    target = Path(os.path.realpath(path))
    _check(path, target)
    # A short name of its own: the file's may be as long as the file system allows.
    beside = target.with_name(f".attnvgg-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as stream:
            writer(stream)
        beside.replace(target)
    except OSError as error:
        # Pillow's errors have neither a number nor a name.
        number, reason = error.errno or errno.EIO, error.strerror or str(error)
        raise OSError(number, reason, os.fspath(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def write_picture(path: str | os.PathLike[str], image: Image.Image) -> None:
    """Writes a picture in the format of the path's suffix, one of PICTURES; see write_beside."""
    format = PICTURES[Path(path).suffix.lower()]
    if max(image.size) > LONGEST.get(format, max(image.size)):
        raise InvalidArgumentError(
            f"{os.fspath(path)}: {format} holds {LONGEST[format]} pixels a side, the picture is "
            f"{image.width} x {image.height}; save it as .png"
        )
    write_beside(path, lambda stream: image.save(stream, format, quality=92))


def _check(path: str | os.PathLike[str], target: Path) -> None:
    if not target.parent.is_dir():
        raise InvalidArgumentError(f"{os.fspath(path)}: there is no folder {target.parent}")
    if target.is_dir():
        raise InvalidArgumentError(f"{os.fspath(path)} is a folder; it must be a file's name")
    if target.exists() and not target.is_file():
        raise InvalidArgumentError(f"{os.fspath(path)} is no ordinary file; it would be replaced")
