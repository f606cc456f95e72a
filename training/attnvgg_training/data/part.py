"""A data set as it is found, before any picture is read: numbers of pictures, and their classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnvgg_training.data.draws import seeded
from attnvgg_training.data.pictures import Pictures
from attnvgg_training.errors import DataError


@dataclass(frozen=True)
class Part:
    """Pictures of one split. indices: int64 [N] into `pictures`. targets: int64 [N]."""

    pictures: Pictures
    indices: NDArray[np.int64]
    targets: Tensor

    @classmethod
    def of(cls, pictures: Pictures, targets: Sequence[int] | Tensor) -> "Part":
        """All of `pictures`."""
        return cls(pictures, np.arange(len(pictures)), torch.as_tensor(targets, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.targets)

    def name(self, number: int) -> str:
        return self.pictures.name(int(self.indices[number]))

    def select(self, wanted: Tensor) -> "Part":
        """Those where `wanted`, bool [N], is true."""
        return Part(self.pictures, self.indices[wanted.numpy()], self.targets[wanted])


@dataclass(frozen=True)
class Found:
    """What a source has: `test` is None where it names no test pictures.

    boxes: whether its pictures are cut to the boxes around their objects.
    """

    train: Part
    test: Part | None
    labels: tuple[str, ...]
    name: str
    boxes: bool = False


def hold_out(part: Part, labels: Sequence[str], share: float) -> tuple[Part, Part]:
    """Training and test pictures: every class gives the same share of its pictures.

    Which ones is fixed, whatever the run's seed; adding pictures to the data set draws anew.

    Raises:
        DataError: a class has only one picture, so that nothing would be left to train on.
    """
    order = torch.randperm(len(part), generator=seeded(0, -2))
    held = torch.zeros(len(part), dtype=torch.bool)
    for target in part.targets.unique().tolist():
        members = order[part.targets[order] == target]
        if len(members) == 1:
            raise DataError(
                f"class {labels[target]!r} has only {part.name(int(members[0]))}; without a test "
                "split every class needs two pictures, one of them to be held out"
            )
        held[members[: max(1, round(share * len(members)))]] = True
    return part.select(~held), part.select(held)


def thin(part: Part, labels: Sequence[str], count: int) -> Part:
    """`count` of the pictures, all if there are no more; of each class its share and one at least.

    Which ones is fixed, whatever the run's seed; fewer are among more.

    Raises:
        DataError: there are more classes than that.
    """
    if count < len(labels):
        raise DataError(f"--subset is {count}; {len(labels)} classes need {len(labels)} or more")
    order = torch.randperm(len(part), generator=seeded(0, -3))
    place = torch.zeros(len(part), dtype=torch.float64)
    for target in part.targets.unique().tolist():
        members = order[part.targets[order] == target]
        place[members] = torch.arange(len(members), dtype=torch.float64) / len(members)
    wanted = torch.zeros(len(part), dtype=torch.bool)
    wanted[order[place[order].argsort(stable=True)[:count]]] = True
    return part.select(wanted)


def permuted(part: Part) -> Part:
    """The same pictures with each other's labels; as many of each as before, fixed like `thin`."""
    order = torch.randperm(len(part), generator=seeded(0, -4))
    return replace(part, targets=part.targets[order])
