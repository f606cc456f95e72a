"""Accuracy of a checkpoint, with an interval."""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import torch

from attnvgg_training import checkpoint, data
from attnvgg_training.loop import predict


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


def accuracy(folder: Path, pictures: Path) -> Accuracy:
    """Scores a checkpoint in float32 on the test split of a data set.

    Raises:
        CheckpointError, DataError: either cannot be read, or they do not fit each other.
    """
    model, record = checkpoint.load_model(folder)
    dataset = data.load(pictures, record.config.data, record.labels)
    images, targets = dataset.test.images, dataset.test.targets
    logits = predict(model, images, record.mean, record.std, torch.device("cpu"))
    return wilson(int((logits.argmax(1) == targets).sum()), len(targets))


def wilson(correct: int, total: int) -> Accuracy:
    """The interval of Wilson (1927) at 95 %; unlike the normal one it stays within 0 and 1."""
    z, rate = 1.959964, correct / total
    middle = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z * sqrt(rate * (1 - rate) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return Accuracy(correct, total, middle - half, middle + half)
