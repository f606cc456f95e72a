"""Anything that can be a picture -> the bytes that travel, and what an overlay is drawn on.

| given                            | what travels                                              |
|---|---|
| path (str, Path), file object    | the file, untouched                                       |
| bytes, bytearray, memoryview     | the bytes, untouched                                      |
| http(s) URL (str)                | what this client fetches from there, untouched            |
| PIL image                        | PNG, upright: an EXIF orientation is applied              |
| numpy array                      | PNG of uint8 [h, w, 3] (RGB) or [h, w] (grey)             |
| torch tensor                     | PNG of uint8 [3, h, w] (RGB), [1, h, w] or [h, w] (grey)  |

Arrays have channels last and tensors channels first, as their libraries' own decoders give them;
neither is guessed. Nothing is ever compressed with loss. Pixels of exactly the network's input size
travel to Triton as they are, with no PNG to decode there.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from attnvgg_client import _arrays, _sniff
from attnvgg_client._errors import InvalidPictureError

if TYPE_CHECKING:
    from PIL import Image

PictureLike: TypeAlias = Any  # the table above; files, arrays and tensors are known by behaviour

MAX_BYTES = 64 * 2**20
# Two letters at least, for C:/ is a drive; one slash will do, for a Path leaves no more.
_URL = re.compile(r"([a-z][a-z0-9+.-]{0,9}[a-z0-9]):(?:/+\S|(?<=data:)\w+/)", re.IGNORECASE)
ACCEPTED = (
    "a path, an http(s) URL, bytes, a file object opened in binary mode, a PIL image, "
    "a numpy array (uint8 [h, w, 3] or [h, w]) or a torch tensor (uint8 [3, h, w])"
)
SEVERAL = ". predict takes one picture, predict_batch and predict_many take lists"


@dataclass(frozen=True)
class Source:
    """What a prediction remembers: a file by its path, everything else by its encoded bytes."""

    place: Path | bytes

    def open(self) -> Image.Image:
        """The picture, upright and RGB.

        Raises:
            InvalidPictureError: the file is gone, or is no picture any more.
        """
        from attnvgg_client import _decode

        if isinstance(self.place, bytes):
            return _decode.upright_rgb(self.place)
        return _decode.upright_rgb(load(self.place).data)


@dataclass(frozen=True)
class Picture:
    """A picture ready to travel: `data` is a whole JPEG, PNG or WebP file. `made`: by this package,
    of pixels in memory."""

    data: bytes
    media_type: str
    source: Source
    made: bool = False


def url_of(image: PictureLike) -> str | None:
    """The URL, if the picture is one that must be fetched first."""
    if isinstance(image, str) and image.lower().startswith(("http://", "https://")):
        return image
    return None


def load(image: PictureLike) -> Picture:
    """Reads, checks and, where there is no file, encodes a picture; never asks the network.

    Raises:
        InvalidPictureError: what was given, and what is accepted.
    """
    if isinstance(image, str | os.PathLike):
        return _from_path(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return from_bytes(bytes(image), "the bytes given")
    if callable(getattr(image, "read", None)):
        return _from_file(image)
    return _from_pixels(image)


def from_bytes(data: bytes, what: str) -> Picture:
    """An encoded picture, its type told by its first bytes and by nothing else."""
    if len(data) > MAX_BYTES:
        raise too_large(what)
    return Picture(data, _sniff.media_type(data, what), Source(data))


def too_large(what: str) -> InvalidPictureError:
    """More bytes than this client reads into memory for one picture."""
    return InvalidPictureError(
        f"{what} has more than {MAX_BYTES:,} bytes, more than any picture here",
        code="image_too_large",
    )


def _from_path(given: str | os.PathLike[Any]) -> Picture:
    what = short(os.fspath(given))
    if url := _URL.match(os.fsdecode(given)):
        raise InvalidPictureError(f"{what} is {_about_url(url[1].lower())}")
    try:
        path = Path(os.fsdecode(given))
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # opening a pipe may last for ever
            reason = "it is no regular file; open it, and give the file object"
            raise InvalidPictureError(f"{what} cannot be read: {reason}", code="unreadable")
        with path.open("rb") as file:
            picture = _read(file.read, what)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidPictureError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidPictureError(f"{what} cannot be read: {reason}", code="unreadable") from error
    return replace(picture, source=Source(path))


def _about_url(scheme: str) -> str:
    if scheme in ("http", "https"):
        return "a URL with one slash, as a Path makes it; give it as a str"
    if scheme == "file":
        return "a file URL; give the path"
    if scheme == "data":
        return "a data URL; decode it and give the bytes"
    return "a URL of a kind not fetched; http and https are"


def _from_file(file: Any) -> Picture:
    name = getattr(file, "name", None)
    what = f"the file object {short(name)}" if isinstance(name, str) else "the file object given"
    try:
        return _read(file.read, what)
    except InvalidPictureError:
        raise
    except Exception as error:  # anything may hide behind a duck-typed read
        raise InvalidPictureError(f"{what} cannot be read: {error}", code="unreadable") from error


def _read(read: Callable[[int], Any], what: str) -> Picture:
    """Reads to the end, but looks at the first bytes before it reads a film into memory."""
    stream = io.BytesIO()
    while stream.tell() <= MAX_BYTES:
        block = read(2**20)
        if not isinstance(block, bytes | bytearray | memoryview):
            kind = type(block).__name__
            raise InvalidPictureError(f"{what} gave {kind}, not bytes; open it in binary mode")
        if not block:
            break
        before = stream.tell()
        stream.write(block)
        if before < _sniff.ENOUGH <= stream.tell():
            _sniff.media_type(stream.getvalue()[: _sniff.ENOUGH], what)
    return from_bytes(stream.getvalue(), what)


def _from_pixels(image: Any) -> Picture:
    encode = _arrays.encoder(image)
    if encode is None:
        kind = f"{type(image).__module__}.{type(image).__qualname__}".removeprefix("builtins.")
        hint = SEVERAL if hasattr(image, "__iter__") else ""
        raise InvalidPictureError(
            f"{short(image)} ({kind}) is no picture; accepted is {ACCEPTED}{hint}"
        )
    data = encode(image)
    return Picture(data, "image/png", Source(data), made=True)


def short(value: object) -> str:
    """A repr that fits into a message."""
    text = repr(value)
    if "\n" in text:  # arrays; a message is one line
        text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"
