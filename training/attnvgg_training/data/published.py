"""torchvision's classification data sets by name, in the split that is usually trained on.

torchvision downloads them where it can. Pictures in files are decoded by us and not by
torchvision, so that training sees what the gateway will see.
"""

import http.client
import importlib.util
import logging
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attnvgg_training.data import cache
from attnvgg_training.data.part import Found, Part
from attnvgg_training.data.pictures import Arrays, Files, Names
from attnvgg_training.errors import DataError

log = logging.getLogger(__name__)
Samples = list[tuple[str, int]]
Arguments = Mapping[str, Any]
FOLDERS = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Entry:
    """How torchvision names the splits; several are joined, and no test means to hold out.

    samples: from a data set to (path, target) of each picture, or None where it holds arrays.
    labels: the class names, where torchvision has none.
    """

    train: tuple[Arguments, ...]
    test: tuple[Arguments, ...]
    samples: Callable[[Any], Samples] | None = None
    labels: tuple[str, ...] = ()
    scipy: bool = False


def _by_flag(labels: tuple[str, ...] = ()) -> Entry:
    return Entry(({"train": True},), ({"train": False},), labels=labels)


def _by_split(train: str, test: str, samples: Callable[[Any], Samples], **more: Any) -> Entry:
    """`loader=str` makes the data set give paths in place of pictures."""
    loader = {"loader": str} if samples is _paths else {}
    splits = [tuple({"split": s} | loader for s in names.split("+")) for names in (train, test)]
    return Entry(splits[0], splits[1], samples, **more)


def _paths(dataset: Any) -> Samples:
    return [dataset[index] for index in range(len(dataset))]


def _pets(dataset: Any) -> Samples:
    return [(str(p), t) for p, t in zip(dataset._images, dataset._labels, strict=True)]


def _signs(dataset: Any) -> Samples:
    return list(dataset._samples)


# OxfordIIITPet and GTSRB take no loader in torchvision 0.28, so their private lists are read.
TABLE: dict[str, Entry] = {
    "CIFAR10": _by_flag(),
    "CIFAR100": _by_flag(),
    "MNIST": _by_flag(),
    "FashionMNIST": _by_flag(),
    "KMNIST": _by_flag(),
    "USPS": _by_flag(DIGITS),
    "SVHN": Entry(({"split": "train"},), ({"split": "test"},), labels=DIGITS, scipy=True),
    "STL10": Entry(({"split": "train"},), ({"split": "test"},)),
    "Country211": _by_split("train", "test", _paths),
    "DTD": _by_split("train+val", "test", _paths),
    "EuroSAT": Entry(({"loader": str},), (), _paths),
    "FGVCAircraft": _by_split("trainval", "test", _paths),
    "Flowers102": _by_split("train+val", "test", _paths, scipy=True),
    "Food101": _by_split("train", "test", _paths),
    "GTSRB": _by_split("train", "test", _signs, labels=tuple(f"{i:02d}" for i in range(43))),
    "Imagenette": _by_split("train", "val", _paths),
    "OxfordIIITPet": _by_split("trainval", "test", _pets),
    "RenderedSST2": _by_split("train", "test", _paths),
    "StanfordCars": _by_split("train", "test", _paths, scipy=True),
    "SUN397": Entry(({"loader": str},), (), _paths),
}


def find(words: str) -> Found:
    """Reads NAME or NAME@ROOT, the name in any case, and downloads it where it is not in ROOT.

    Raises:
        DataError: the name is unknown, or the data set is neither there nor to be had.
    """
    given, _, at_root = words.partition("@")
    names = {name.lower(): name for name in TABLE}
    if given.lower() not in names:
        raise DataError(f"torchvision:{given} is unknown; there are {', '.join(TABLE)}")
    name = names[given.lower()]
    root = Path(at_root).expanduser() if at_root else cache.folder() / "torchvision"
    if TABLE[name].scipy and importlib.util.find_spec("scipy") is None:
        raise DataError(f"torchvision reads {name} with scipy, which is missing: pip install scipy")
    try:
        return _read(name, root, download=False)
    except (RuntimeError, OSError):
        log.info("%s is not in %s: downloading it", name, root)
    try:
        return _read(name, root, download=True)
    except _FAILURES as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(
            f"torchvision:{name} is not in {root}, and downloading it failed: {reason}; put the "
            f"published files there, or name their folder as torchvision:{name}@ROOT"
        ) from error


def at(root: Path) -> list[str]:
    """Which of the two CIFARs have their folder in `root`."""
    return [name for name, folder in FOLDERS.items() if (root / folder).is_dir()]


def read(name: str, root: Path) -> Found:
    """Reads a data set that is in `root`, without a download.

    Raises:
        DataError: the files are not the published ones, by their checksums.
    """
    try:
        return _read(name, root, download=False)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{root}/{FOLDERS[name]} is not the published data set: {error}") from error


# What urllib, tarfile, zipfile and torchvision itself raise when a download goes wrong.
_FAILURES = (
    RuntimeError,
    OSError,
    ValueError,
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def _read(name: str, root: Path, download: bool) -> Found:
    from attnvgg_training.torchvision_shim import datasets

    entry, kind = TABLE[name], getattr(datasets, name)
    opened = [
        [kind(str(root), download=download, **arguments) for arguments in split]
        for split in (entry.train, entry.test)
    ]
    train = _part(opened[0], entry, root, f"{name} train")
    test = _part(opened[1], entry, root, f"{name} test") if opened[1] else None
    labels = entry.labels or tuple(map(_label, opened[0][0].classes))
    return Found(train, test, labels, name.lower())


def _part(opened: Sequence[Any], entry: Entry, root: Path, title: str) -> Part:
    if entry.samples is None:
        return _array_part(opened[0], title)
    # Sorted, because SUN397 comes in the order of the file system.
    samples = sorted(sample for each in opened for sample in entry.samples(each))
    names = Names([os.path.relpath(path, root) for path, _ in samples])
    return Part.of(Files(str(root), names), [int(target) for _, target in samples])


def _array_part(dataset: Any, title: str) -> Part:
    """Of [N, h, w] grey, [N, h, w, 3] or [N, 3, h, w], as torchvision holds each of them."""
    images = np.asarray(dataset.data)
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    elif images.shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    targets = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    arrays = Arrays(torch.from_numpy(np.ascontiguousarray(images)), title)
    return Part.of(arrays, torch.as_tensor(np.asarray(targets)))


def _label(name: str | tuple[str, ...]) -> str:
    """Imagenette has several words for a class; the first is the usual one."""
    return name if isinstance(name, str) else name[0]
