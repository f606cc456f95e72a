"""What is wrong with a data set, said before the first step and not in epoch 3."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnvgg_training.data.part import Part
from attnvgg_training.errors import DataError

log = logging.getLogger(__name__)
FEW = 10
NAMED = 5


def check_classes(labels: Sequence[str], train: Part, test: Part | None, where: str) -> None:
    """Two classes or more, each with training pictures, and no target beside them.

    Raises:
        DataError: otherwise, with the classes' names.
    """
    if len(labels) < 2:
        raise DataError(f"{where} has {len(labels)} class; it must have two or more")
    doubled = sorted({repr(label) for label in labels if labels.count(label) > 1})
    if doubled:
        raise DataError(f"{where} has several classes called {some(doubled)}; names must differ")
    _check_range(len(labels), train, f"the training split of {where}")
    _check_empty(labels, train, where)
    _warn_few(labels, train, where)
    if test is not None:
        _check_range(len(labels), test, f"the test split of {where}")
        _warn_empty(labels, test, where)


def drop_unreadable(read: Sequence[tuple[Part, dict[int, str]]], skip: bool) -> list[Tensor]:
    """For each part with its errors (number -> why): bool [N], which of its pictures to keep.

    Raises:
        DataError: some cannot be read, and they are not to be skipped; it names all of them.
    """
    lines = [f"{part.name(i)}: {why}" for part, errors in read for i, why in errors.items()]
    if lines and not skip:
        if len(lines) == 1:
            raise DataError(f"{lines[0]} (--skip-unreadable true leaves it out)")
        raise DataError(
            f"{len(lines)} pictures cannot be read; mend or remove them, or leave them out with "
            "--skip-unreadable true:\n  " + "\n  ".join(lines)
        )
    for line in lines:
        log.warning("left out %s", line)
    if lines:
        count = sum(len(part) for part, _ in read)
        log.warning("%d of %d pictures cannot be read and are left out", len(lines), count)
    return [_without(len(part), errors) for part, errors in read]


def warn_shared(
    train: Part, test: Part, of_train: NDArray[np.uint8], of_test: NDArray[np.uint8]
) -> None:
    """Warns of pictures in both splits, by their contents' digests, uint8 [N, 16]."""
    seen: dict[bytes, int] = {row.tobytes(): number for number, row in enumerate(of_train)}
    rows = enumerate(row.tobytes() for row in of_test)
    shared = [(seen[row], number) for number, row in rows if row in seen]
    if shared:
        log.warning(
            "%d of %d test pictures are training pictures too, so the test flatters: %s",
            len(shared),
            len(test),
            some([f"{test.name(b)} is {train.name(a)}" for a, b in shared]),
        )


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def _without(count: int, errors: dict[int, str]) -> Tensor:
    keep = torch.ones(count, dtype=torch.bool)
    keep[list(errors)] = False
    return keep


def _check_range(count: int, part: Part, where: str) -> None:
    wrong = ((part.targets < 0) | (part.targets >= count)).nonzero().flatten().tolist()
    if wrong:
        first = f"{part.name(wrong[0])} has {int(part.targets[wrong[0]])}"
        raise DataError(
            f"{where} has {len(wrong)} labels that are none of its classes, 0 to {count - 1}: "
            f"{first}"
        )


def _check_empty(labels: Sequence[str], part: Part, where: str) -> None:
    empty = _empty(labels, part)
    if len(empty) == 1:
        raise DataError(f"class {empty[0]} is empty: {where} has no training picture of it")
    if empty:
        raise DataError(
            f"{len(empty)} classes are empty: {where} has no training picture of {some(empty)}"
        )


def _warn_empty(labels: Sequence[str], part: Part, where: str) -> None:
    if not len(part):
        raise DataError(f"the test split of {where} is empty")
    empty = _empty(labels, part)
    if empty:
        log.warning("%s has no test picture of class %s", where, some(empty))


def _empty(labels: Sequence[str], part: Part) -> list[str]:
    """Quoted names of the classes without a picture."""
    counts = part.targets.bincount(minlength=len(labels)).tolist()
    return [repr(label) for label, count in zip(labels, counts, strict=True) if not count]


def _warn_few(labels: Sequence[str], part: Part, where: str) -> None:
    """A class with a handful of pictures, beside others with many, is most often a mistake."""
    counts = part.targets.bincount(minlength=len(labels))
    few = (counts < min(FEW, int(counts.median()) / 2)).nonzero().flatten().tolist()
    if few:
        named = [f"{labels[i]!r} ({int(counts[i])})" for i in few]
        log.warning("%s: hardly any training pictures of %s", where, some(named))
