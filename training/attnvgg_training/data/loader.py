"""The batches of an epoch: shuffled, augmented, on the device, this process's part of each.

What a batch holds is a function of (seed, epoch, step) alone: the same with any number of workers,
after any interruption, and all processes together see what one alone would.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from attnvgg_training.config import Config
from attnvgg_training.data.augment import augment
from attnvgg_training.data.draws import epoch_order
from attnvgg_training.data.split import MemorySplit, Split
from attnvgg_training.data.workers import WorkerReader
from attnvgg_training.errors import ConfigError, DataError

SAMPLE = 1000


class Batch(NamedTuple):
    """images: uint8 [B, H, W, 3], augmented. targets: int64 [B]. Both on the device."""

    images: Tensor
    targets: Tensor


class Reader(Protocol):
    """Gives pictures as they are, on the device."""

    def read(self, batches: Tensor) -> Iterator[Tensor]:
        """uint8 [B, H, W, 3] for each row of `batches`, int64 [steps, B] on the CPU."""
        ...

    def close(self) -> None: ...


class Loader:
    """Batches of a split; `steps` of them an epoch, an incomplete last one is left out.

    Pictures in memory move to the device once. Others are read by `workers` processes (by default
    one a core, eight at most), which live until `close`.

    Args:
        rank, world: this process's number, and how many there are; of every step's pictures it
            takes each `world`-th.

    Raises:
        ConfigError: the processes cannot share a step's pictures equally.
        DataError: there are too few pictures for one step.
    """

    def __init__(
        self,
        split: Split,
        config: Config,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
    ) -> None:
        self.config, self.device, self.rank, self.world = config, device, rank, world
        self.steps = _steps(len(split), config.train.batch_size, world)
        self._count, self._targets = len(split), split.targets
        colour = _mean_colour(split) if config.data.cutout else torch.zeros(3, dtype=torch.uint8)
        self._fill = colour.to(device)
        self._reader: Reader
        if isinstance(split, MemorySplit):
            self._reader = MemoryReader(split.images, device)
        else:
            self._reader = WorkerReader(split, device, workers)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on; earlier pictures are not read.

        Raises:
            DataError: a picture cannot be read any more.
        """
        size, seed = self.config.train.batch_size, self.config.train.seed
        order = epoch_order(self._count, seed, epoch)[: self.steps * size].view(self.steps, size)
        mine = order[start:, self.rank :: self.world]
        for indices, images in zip(mine, self._reader.read(mine), strict=True):
            images = augment(images, indices, epoch, self.config.data, seed, self._fill)
            targets = self._targets[indices].to(self.device, non_blocking=True)
            yield Batch(images, targets)

    def close(self) -> None:
        """Ends the workers. A later epoch starts others."""
        self._reader.close()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MemoryReader:
    """Looks pictures up in images: uint8 [N, H, W, 3], which it holds on the device."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.images = images.to(device)

    def read(self, batches: Tensor) -> Iterator[Tensor]:
        """See Reader."""
        for indices in batches.to(self.images.device):
            yield self.images.index_select(0, indices)

    def close(self) -> None:
        """See Reader."""


def _steps(count: int, size: int, world: int) -> int:
    if size % world:
        raise ConfigError(
            f"--batch-size is {size}, shared by {world} processes; it must be a multiple of {world}"
        )
    if count < size:
        raise DataError(
            f"--batch-size is {size}, but there are only {count} training pictures; it must not "
            "be larger"
        )
    return count // size


def sample(split: Split) -> Tensor:
    """uint8 [N, H, W, 3], up to 1,000 pictures spread evenly over the split."""
    count = min(len(split), SAMPLE)
    return split.pixels(torch.arange(count) * len(split) // count)


def _mean_colour(split: Split) -> Tensor:
    """uint8 [3]."""
    return sample(split).reshape(-1, 3).double().mean(0).round().to(torch.uint8)
