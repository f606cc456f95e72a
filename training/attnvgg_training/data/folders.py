"""Folders of class folders: the label of a picture is the folder it lies in.

DIR/train/CLASS with DIR/test/CLASS beside it (or val, valid, validation), or DIR/CLASS alone.
Pictures count at any depth below their class's folder, in the order of their paths. Names that
start with a dot are nobody's pictures (.ipynb_checkpoints, the ._photo.jpg of macOS) and are left
out, as is __MACOSX.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attnvgg_training.data.part import Found, Part
from attnvgg_training.data.pictures import Files, Names
from attnvgg_training.errors import DataError

log = logging.getLogger(__name__)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
TESTS = ("test", "val", "valid", "validation")


def find(root: Path) -> Found:
    """Lists the pictures of a folder.

    Raises:
        DataError: there are fewer than two classes, or the splits have different ones.
    """
    train = root / "train"
    tests = [root / name for name in TESTS if (root / name).is_dir()]
    if not train.is_dir():
        labels = _classes(root)
        return Found(_part(root, labels), None, labels, root.resolve().name)
    labels = _classes(train)
    if not tests:
        return Found(_part(train, labels), None, labels, root.resolve().name)
    if len(tests) > 1:
        log.info("%s: testing on %s; %s is not used", root, tests[0].name, tests[1].name)
    _check_same(train, labels, tests[0], _classes(tests[0]))
    return Found(_part(train, labels), _part(tests[0], labels), labels, root.resolve().name)


def _check_same(train: Path, labels: tuple[str, ...], test: Path, others: tuple[str, ...]) -> None:
    beside = [
        f"only {folder} has {', '.join(sorted(only))}"
        for folder, only in ((train, set(labels) - set(others)), (test, set(others) - set(labels)))
        if only
    ]
    if beside:
        raise DataError(
            f"{train} and {test} have different classes; they must be the same: {'; '.join(beside)}"
        )


def _classes(folder: Path) -> tuple[str, ...]:
    labels = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not _hidden(p.name)))
    if len(labels) < 2:
        held = f" ({labels[0]})" if labels else ""
        raise DataError(
            f"{folder} holds {len(labels)} class folders{held}; it must hold two or more"
        )
    return labels


def _part(folder: Path, labels: tuple[str, ...]) -> Part:
    names: list[str] = []
    targets: list[int] = []
    others: Counter[str] = Counter()
    for target, label in enumerate(labels):
        files = sorted(_files(str(folder), label))
        found = [name for name in files if _suffix(name) in SUFFIXES]
        others.update(_suffix(name) or name for name in set(files) - set(found))
        names += found
        targets += [target] * len(found)
    if others:
        log.warning(
            "%s: left out files that are not %s: %s",
            folder,
            ", ".join(sorted(SUFFIXES)),
            ", ".join(f"{count} {kind}" for kind, count in others.most_common(5)),
        )
    return Part.of(Files(str(folder), Names(names)), targets)


def _files(root: str, label: str) -> Iterator[str]:
    """Below root/label, relative to root. In strings: Path takes ten times as long."""
    for parent, folders, names in os.walk(os.path.join(root, label), followlinks=True):
        folders[:] = [name for name in folders if not _hidden(name)]
        within = os.path.relpath(parent, root)
        yield from (os.path.join(within, name) for name in names if not _hidden(name))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
