"""Accuracy of a checkpoint, with an interval."""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor

from attnvgg_training import checkpoint, data
from attnvgg_training.data import Split
from attnvgg_training.scoring import CHUNK, predict


@dataclass(frozen=True)
class Accuracy:
    """correct of total pictures; low and high bound the 95 % Wilson interval of the rate."""

    correct: int
    total: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The part classified correctly."""
        return self.correct / self.total


@dataclass(frozen=True)
class Answers:
    """What a network answers to a split. predicted, targets: int64 [N], indices of labels."""

    predicted: Tensor
    targets: Tensor
    labels: tuple[str, ...]

    def accuracy(self) -> Accuracy:
        """Over all classes."""
        return wilson(int((self.predicted == self.targets).sum()), len(self.targets))


@dataclass(frozen=True)
class Mirrored:
    """The same pictures, left and right exchanged; see Split."""

    split: Split

    @property
    def targets(self) -> Tensor:
        """int64 [N]."""
        return self.split.targets

    def __len__(self) -> int:
        return len(self.split)

    def pixels(self, indices: Tensor) -> Tensor:
        """uint8 [B, H, W, 3]."""
        return self.split.pixels(indices).flip(2)


def answers(
    folder: Path,
    source: str | Path,
    device: torch.device | None = None,
    batch_size: int = CHUNK,
    flip: bool = False,
) -> Answers:
    """What a checkpoint answers, in float32, to the test split of a data set.

    flip: by the mean of the probabilities of a picture and its mirror image.

    Raises:
        CheckpointError, DataError: either cannot be read, or they do not fit each other.
    """
    model, record = checkpoint.load_model(folder)
    split = data.load(source, record.config.data, record.labels).test
    device = device or torch.device("cpu")
    model = model.to(device)
    views: list[Split] = [split, Mirrored(split)] if flip else [split]
    sums = torch.zeros(len(split), len(record.labels))
    for view in views:
        sums += predict(model, view, record.mean, record.std, device, batch_size).softmax(1)
    return Answers(sums.argmax(1), split.targets.cpu(), record.labels)


def accuracy(folder: Path, source: str | Path) -> Accuracy:
    """Scores a checkpoint on the test split of a data set; raises as `answers` does."""
    return answers(folder, source).accuracy()


def wilson(correct: int, total: int) -> Accuracy:
    """The interval of Wilson (1927) at 95 %; unlike the normal one it stays within 0 and 1."""
    z, rate = 1.959964, correct / total
    middle = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z * sqrt(rate * (1 - rate) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return Accuracy(correct, total, middle - half, middle + half)
