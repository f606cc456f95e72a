"""Data sets of small pictures, held in memory as uint8, and their augmentation.

Two layouts are read: a folder of class folders, `DIR/train/CLASS/*.png` with `DIR/test/CLASS/`
beside it (or `DIR/CLASS/` alone, of which a part is held out), and the root of torchvision's
CIFAR-100. Labels are the class folders' names, sorted.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnvgg_bundle.preprocess import PictureError, decode, fit
from attnvgg_training.config import DataConfig
from attnvgg_training.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Split:
    """images: uint8 [N, H, W, 3]. targets: int64 [N]."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Dataset:
    """Training and test pictures with the class names that their targets index."""

    train: Split
    test: Split
    labels: tuple[str, ...]
    name: str

    def fingerprint(self) -> str:
        """sha256 over labels, pictures and targets: equal data, equal fingerprint."""
        digest = hashlib.sha256("\n".join(self.labels).encode())
        for split in (self.train, self.test):
            digest.update(split.images.numpy().tobytes())
            digest.update(split.targets.numpy().tobytes())
        return digest.hexdigest()

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel of the training pictures, from 0 to 1."""
        pixels = self.train.images.view(-1, 3)
        # In float64 by chunks: the sum of 50 million bytes does not fit a float32.
        count, total, squares = len(pixels), torch.zeros(3).double(), torch.zeros(3).double()
        for chunk in pixels.split(1 << 20):
            values = chunk.double() / 255
            total += values.sum(0)
            squares += values.square().sum(0)
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(1e-6).sqrt()
        return mean.tolist(), std.tolist()


def load(root: Path, config: DataConfig, labels: tuple[str, ...] | None = None) -> Dataset:
    """Reads a data set into memory; `labels` are those that it must have, such as a checkpoint's.

    Raises:
        DataError: nothing is there, a class is empty, the splits disagree, a picture is damaged,
            or the classes are others than `labels`.
    """
    dataset = _read(root, config)
    if labels is not None and dataset.labels != labels:
        raise DataError(
            f"--data {root} has the classes {', '.join(dataset.labels)}; "
            f"the checkpoint knows {', '.join(labels)}"
        )
    return dataset


def _read(root: Path, config: DataConfig) -> Dataset:
    if (root / "cifar-100-python").is_dir():
        return _cifar100(root, config)
    if not root.is_dir():
        raise DataError(f"--data {root} is no folder; give a folder of class folders")
    train = root / "train"
    test = next((root / n for n in ("test", "val") if (root / n).is_dir()), None)
    if train.is_dir() and test is not None:
        labels = _classes(train)
        if _classes(test) != labels:
            raise DataError(f"{train} and {test} have different classes; they must be the same")
        splits = [_folder(part, labels, config) for part in (train, test)]
        return Dataset(splits[0], splits[1], labels, root.name)
    labels = _classes(train if train.is_dir() else root)
    everything = _folder(train if train.is_dir() else root, labels, config)
    return Dataset(*_hold_out(everything, config.holdout), labels, root.name)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of the pictures in an epoch, a function of (seed, epoch)."""
    return torch.randperm(count, generator=_generator(seed, epoch))


def batches(
    split: Split, size: int, config: DataConfig, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches of an epoch: images uint8 [B, H, W, 3], targets [B].

    Flip and shift are drawn for all pictures at once, so a picture's are a function of
    (seed, epoch, index) whatever the batches.
    """
    count = len(split)
    order = epoch_order(count, seed, epoch)
    first = torch.randint(0, 2, (count,), generator=_generator(seed, -1))
    flips = (first + epoch) % 2 == 1 if config.flip else torch.zeros(count, dtype=torch.bool)
    generator = _generator(seed, epoch + (1 << 32))
    low, high = -config.shift, config.shift + 1
    shifts = torch.randint(low, high, (count, 2), generator=generator)
    for start in range(0, count - size + 1, size):
        chosen = order[start : start + size]
        images = augment(split.images[chosen], flips[chosen], shifts[chosen])
        yield images, split.targets[chosen]


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W], each channel of mean 0 and deviation 1."""
    deviation = torch.tensor(std, device=images.device)
    offset = torch.tensor(mean, device=images.device) / deviation
    return (images.float() * (1 / (255 * deviation)) - offset).permute(0, 3, 1, 2)


def augment(images: Tensor, flips: Tensor, shifts: Tensor) -> Tensor:
    """Moves each picture by its shift (rows, columns), the border reflected, and mirrors some.

    images: uint8 [B, H, W, 3]. flips: bool [B]. shifts: int64 [B, 2].
    """
    batch, height, width, _ = images.shape
    rows = _reflect(torch.arange(height) + shifts[:, :1], height)  # [B, H]
    columns = _reflect(torch.arange(width) + shifts[:, 1:], width)  # [B, W]
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    return images[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def _generator(seed: int, stream: int) -> torch.Generator:
    """A generator for one (seed, stream); hashing keeps neighbouring streams independent."""
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _classes(folder: Path) -> tuple[str, ...]:
    labels = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir()))
    if len(labels) < 2:
        raise DataError(f"{folder} holds {len(labels)} class folders; it must hold two or more")
    return labels


def _folder(folder: Path, labels: tuple[str, ...], config: DataConfig) -> Split:
    paths: list[Path] = []
    targets: list[int] = []
    for target, label in enumerate(labels):
        found = sorted(p for p in (folder / label).iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"class {label!r} is empty: no picture in {folder / label}")
        paths += found
        targets += [target] * len(found)
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda path: _picture(path, config), paths))
    return Split(torch.from_numpy(np.stack(pictures)), torch.tensor(targets))


def _picture(path: Path, config: DataConfig) -> np.ndarray:
    size = config.image_size
    try:
        return fit(decode(path.read_bytes()), size, size, config.geometry, config.filter).pixels
    except (OSError, PictureError) as error:
        raise DataError(f"{path}: {error}") from error


def _hold_out(split: Split, part: float) -> tuple[Split, Split]:
    """Every class gives the same part; which pictures is fixed, whatever the run's seed."""
    order = torch.randperm(len(split), generator=_generator(0, -2))
    held = torch.zeros(len(split), dtype=torch.bool)
    for target in split.targets.unique():
        members = order[split.targets[order] == target]
        held[members[: max(1, round(part * len(members)))]] = True
    if held.all():
        raise DataError("there are too few pictures to hold any out for the test")
    return (
        Split(split.images[~held], split.targets[~held]),
        Split(split.images[held], split.targets[held]),
    )


def _cifar100(root: Path, config: DataConfig) -> Dataset:
    from attnvgg_training.torchvision_shim import datasets

    try:
        parts = [datasets.CIFAR100(str(root), train=train) for train in (True, False)]
    except RuntimeError as error:
        raise DataError(
            f"{root}/cifar-100-python is not the published data set: {error}"
        ) from error
    if config.image_size != 32:
        raise DataError(f"--image-size is {config.image_size}; CIFAR-100 is read at 32")
    splits = [
        # torchvision gives a transposed view of the file's planes.
        Split(torch.from_numpy(np.ascontiguousarray(p.data)), torch.tensor(p.targets))
        for p in parts
    ]
    return Dataset(splits[0], splits[1], tuple(parts[0].classes), "cifar100")
