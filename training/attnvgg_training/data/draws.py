"""Random numbers of an epoch, each a function of (seed, epoch, index of the picture) alone.

They are drawn for all pictures of an epoch at once, by one generator for each kind, and looked up
by index. So a picture's draws are the same in whatever batch, step, rank or worker it comes, they
are made on the CPU for every device, and turning one augmentation on leaves those of the others
as they were.
"""

import hashlib
from functools import lru_cache

import torch
from torch import Tensor

# The streams of a seed: the order of epoch e is e itself, the rest lie 2^32 apart. Negative ones
# belong to no epoch: -1 is the first epoch's flips, -2 what is held out, -3 a
# subset and -4 permuted labels (part.py).
SHIFT, ZOOM, CUTOUT = 1, 2, 3
FIRST_FLIP = -1
SMALLEST_TABLE = 1024


def seeded(seed: int, stream: int) -> torch.Generator:
    """A generator for one (seed, stream); hashing keeps neighbouring streams independent."""
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of the pictures in an epoch, a function of (seed, epoch): int64 [count]."""
    return torch.randperm(count, generator=seeded(seed, epoch))


def flips(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """bool [B]: every picture is mirrored in every other epoch, half of them in the first."""
    first = _integers(_rows(indices), 1, seed, FIRST_FLIP, 0, 2)[indices, 0]
    return (first + epoch) % 2 == 1


def shifts(indices: Tensor, seed: int, epoch: int, most: int) -> Tensor:
    """int64 [B, 2]: rows and columns, from -most to most."""
    stream = epoch + (SHIFT << 32)
    return _integers(_rows(indices), 2, seed, stream, -most, most + 1)[indices].long()


def zooms(indices: Tensor, seed: int, epoch: int, most: float) -> tuple[Tensor, Tensor]:
    """Factors float32 [B], 1 for half of the pictures and from 1 / most to most for the others,
    and moves float32 [B, 2] from -1 to 1."""
    drawn = _fractions(_rows(indices), 4, seed, epoch + (ZOOM << 32))[indices]
    chosen, power, moves = drawn[:, 0] < 0.5, 2 * drawn[:, 1] - 1, 2 * drawn[:, 2:] - 1
    return torch.where(chosen, most**power, 1.0), moves


def centres(indices: Tensor, seed: int, epoch: int, size: int) -> Tensor:
    """int64 [B, 2]: row and column of a pixel, from 0 to size - 1."""
    stream = epoch + (CUTOUT << 32)
    return _integers(_rows(indices), 2, seed, stream, 0, size)[indices].long()


def _rows(indices: Tensor) -> int:
    """Powers of two, so that an epoch needs one table or a few: a generator fills a table in
    order, so that a longer one begins with what a shorter one holds."""
    return max(SMALLEST_TABLE, 1 << int(indices.max()).bit_length())


@lru_cache(maxsize=4)  # an epoch has one table of each kind
def _integers(rows: int, columns: int, seed: int, stream: int, low: int, high: int) -> Tensor:
    drawn = torch.randint(low, high, (rows, columns), generator=seeded(seed, stream))
    return drawn.to(torch.int16)


@lru_cache(maxsize=1)
def _fractions(rows: int, columns: int, seed: int, stream: int) -> Tensor:
    return torch.rand(rows, columns, generator=seeded(seed, stream))
