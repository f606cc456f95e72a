"""Pictures with the classes that they belong to: in memory, or read from files as needed."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnvgg_bundle.preprocess import PictureError, fit
from attnvgg_training.config import DataConfig
from attnvgg_training.data.part import Part
from attnvgg_training.data.statistics import moments
from attnvgg_training.errors import DataError

SAMPLE = 10_000
BATCH, AHEAD = 64, 8


class Split(Protocol):
    """targets: int64 [N]."""

    @property
    def targets(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def pixels(self, indices: Tensor) -> Tensor:
        """uint8 [B, H, W, 3], the pictures of these numbers, int64 [B]."""
        ...


@dataclass(frozen=True)
class MemorySplit:
    """images: uint8 [N, H, W, 3]. targets: int64 [N]."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def pixels(self, indices: Tensor) -> Tensor:
        """See Split."""
        return self.images[indices]


@dataclass(frozen=True)
class FileSplit:
    """Reads and fits pictures when asked. digests: uint8 [N, 16], the hash of each one's content.

    It is picklable, and a worker's copy takes some 60 bytes a picture.
    """

    part: Part
    config: DataConfig
    digests: NDArray[np.uint8]

    @property
    def targets(self) -> Tensor:
        """See Split."""
        return self.part.targets

    def __len__(self) -> int:
        return len(self.part)

    def pixels(self, indices: Tensor) -> Tensor:
        """See Split.

        Raises:
            DataError: a picture has become unreadable since the survey.
        """
        size = self.config.image_size
        out = np.empty((len(indices), size, size, 3), dtype=np.uint8)
        for place, number in enumerate(indices.tolist()):
            try:
                out[place] = read(self.part, number, self.config)
            except (OSError, PictureError) as error:
                raise DataError(f"{self.part.name(number)}: {error}") from error
        return torch.from_numpy(out)


@dataclass(frozen=True)
class Dataset:
    """Training and test pictures with the class names that their targets index."""

    train: Split
    test: Split
    labels: tuple[str, ...]
    name: str

    def fingerprint(self) -> str:
        """sha256 over labels, pictures and targets: equal data, equal fingerprint.

        Of pictures in memory the pixels count, of files their bytes, as the survey found them:
        a file changed since, with its size and time kept, goes unnoticed.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(self.labels).encode())
        for split in (self.train, self.test):
            if isinstance(split, FileSplit):
                digest.update(split.digests.tobytes())
            else:
                for part in _parts(split):
                    digest.update(part.contiguous().numpy().data)
            digest.update(split.targets.numpy().tobytes())
        return digest.hexdigest()

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel of the training pictures, from 0 to 1.

        Of files a fixed sample of 10,000 counts, spread evenly over the split.
        """
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[list[float], list[float]]:
        return moments(_parts(self.train, SAMPLE if isinstance(self.train, FileSplit) else None))


def read(part: Part, number: int, config: DataConfig) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: a picture as the gateway would bring it to the network's size.

    Raises:
        OSError, PictureError: it cannot be read.
    """
    index, size = int(part.indices[number]), config.image_size
    image = part.pictures.decode(index, part.pictures.content(index))
    return fit(image, size, size, config.geometry, config.filter).pixels


def _parts(split: Split, most: int | None = None) -> Iterator[Tensor]:
    """The pictures in order, or `most` of them."""
    if isinstance(split, MemorySplit):
        yield split.images
        return
    count = len(split)
    taken = min(count, most or count)
    numbers = torch.arange(taken) * count // taken
    with ThreadPoolExecutor() as pool:
        for some in numbers.split(BATCH * AHEAD):  # not all at once: they might not fit
            yield from pool.map(split.pixels, some.split(BATCH))
