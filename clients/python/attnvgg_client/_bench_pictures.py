"""The pictures of a load: read once into memory, or made."""

from __future__ import annotations

import io
from dataclasses import dataclass

from attnvgg_client._cli_files import gather
from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._pictures import Picture, from_bytes, load

MAX_PICTURES, MAX_BYTES = 1000, 256 * 2**20
WIDTH, HEIGHT, QUALITY, SEED = 640, 480, 90, 0


@dataclass(frozen=True)
class Pictures:
    """What is asked about, in turn. ignored: files that were too many. made: none was given."""

    pictures: list[Picture]
    ignored: int = 0
    made: bool = False

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(len(picture.data) for picture in self.pictures)

    def __str__(self) -> str:
        count, ignored = len(self.pictures), ""
        if self.made:
            return f"one picture made for this, a JPEG of {WIDTH}x{HEIGHT}, {self.size:,} bytes"
        if self.ignored:
            ignored = f"; {self.ignored:,} more left out to save memory"
        return f"{count:,} picture{'s' if count > 1 else ''}, {self.size:,} bytes{ignored}"


def read(names: list[str]) -> Pictures:
    """The pictures in these files and folders; with no name, one is made.

    Raises:
        InvalidPictureError: a file cannot be read, or is no picture.
        InvalidArgumentError: a folder has none, or a name is a URL or standard input.
    """
    if not names:
        return Pictures([from_bytes(photograph(), "the picture made")], made=True)
    names = gather(names).names
    pictures: list[Picture] = []
    size = 0
    for name in names[:MAX_PICTURES]:
        if name == "-" or "://" in name[:12]:
            raise InvalidArgumentError(f"{name}: bench takes files and folders")
        picture = load(name)
        size += len(picture.data)
        if pictures and size > MAX_BYTES:
            break
        pictures.append(picture)
    return Pictures(pictures, ignored=len(names) - len(pictures))


def photograph() -> bytes:
    """A JPEG file with a photograph's mixture of large shapes and fine grain, always the same."""
    import numpy as np
    from PIL import Image

    dice = np.random.default_rng(SEED)
    pixels = np.zeros((HEIGHT, WIDTH, 3))
    for cells, strength in ((4, 90), (16, 40), (64, 20), (WIDTH, 8)):
        coarse = dice.standard_normal((3, max(1, cells * HEIGHT // WIDTH), cells))
        layers = [Image.fromarray(layer.astype("f4")) for layer in coarse]
        large = [layer.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for layer in layers]
        pixels += strength * np.stack([np.asarray(layer) for layer in large], -1)
    stream = io.BytesIO()
    Image.fromarray((128 + pixels).clip(0, 255).astype("u1")).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
