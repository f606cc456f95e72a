"""Encoded pictures by number, whatever holds them: files, arrays, rows of a parquet file.

They are picklable and small, since every worker gets a copy: names are packed into one string of
bytes, and arrays are tensors, which torch passes on as shared memory.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attnvgg_bundle.preprocess import PictureError, decode


class Pictures(Protocol):
    """Reading picture `index` raises OSError or PictureError where that cannot be done."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a message calls the picture: its path, or its row."""
        ...

    def content(self, index: int) -> bytes:
        """The picture as it is stored: equal pictures are equal bytes."""
        ...

    def decode(self, index: int, content: bytes) -> Image.Image:
        """The stored picture as the gateway would see it: RGB, upright."""
        ...

    def stamp(self) -> str | None:
        """Changes when a picture may have changed; None where none can be unreadable."""
        ...


class Names(Sequence[str]):
    """Strings in one buffer, a tenth of what a list takes and quick to pickle."""

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
        self._buffer = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._buffer[start : self._ends[index]])


@dataclass(frozen=True)
class Files:
    """Pictures in files below `root`; boxes, float [N, 4] as x0 y0 x1 y1, cut them."""

    root: str
    names: Names
    boxes: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return os.path.join(self.root, self.names[index])

    def content(self, index: int) -> bytes:
        with open(self.name(index), "rb") as stream:
            return stream.read()

    def decode(self, index: int, content: bytes) -> Image.Image:
        image = decode_stored(content)
        return image if self.boxes is None else _cut(image, self.boxes[index])

    def stamp(self) -> str | None:
        """Of names, sizes and times: a file changed behind all three goes unnoticed."""
        digest = hashlib.sha256(os.fsencode(self.root))
        for name in self.names:
            path = os.path.join(self.root, name)
            try:
                found = os.stat(path)
            except OSError:
                continue  # reading it will say why
            digest.update(os.fsencode(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n"))
        if self.boxes is not None:
            digest.update(self.boxes.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Arrays:
    """Decoded pictures of one size, uint8 [N, h, w, 3], called by `title` and number."""

    images: Tensor
    title: str

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"{self.title} picture {index}"

    def content(self, index: int) -> bytes:
        return self.images[index].numpy().tobytes()

    def decode(self, index: int, content: bytes) -> Image.Image:
        return Image.fromarray(self.images[index].numpy())

    def stamp(self) -> str | None:
        return None


def decode_stored(content: bytes) -> Image.Image:
    """What the gateway decodes, and PPM, in which GTSRB is published."""
    if content.startswith(b"P6"):
        try:
            with Image.open(io.BytesIO(content), formats=("PPM",)) as image:
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise PictureError("invalid_image", f"the picture cannot be decoded: {error}") from None
    return decode(content)


def _cut(image: Image.Image, box: NDArray[np.float64]) -> Image.Image:
    """The whole pixels that a box touches, at least one; boxes may stick out of their picture."""
    x0, y0 = (min(max(int(v), 0), side - 1) for v, side in zip(box[:2], image.size, strict=True))
    x1, y1 = int(np.ceil(box[2])), int(np.ceil(box[3]))
    return image.crop(
        (x0, y0, max(x0 + 1, min(x1, image.width)), max(y0 + 1, min(y1, image.height)))
    )
