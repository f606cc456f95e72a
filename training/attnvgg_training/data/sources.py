"""From the words after --data to two splits, in memory or read as needed."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from attnvgg_training.config import DataConfig
from attnvgg_training.data import checks, cub, folders, hub, parquet, published
from attnvgg_training.data.cache import Content
from attnvgg_training.data.part import Found, Part, hold_out, permuted, thin
from attnvgg_training.data.split import Dataset, FileSplit, MemorySplit, Split
from attnvgg_training.data.survey import read_all, survey
from attnvgg_training.errors import DataError

log = logging.getLogger(__name__)
IN_MEMORY = 2 << 30  # bytes


def load(source: str | Path, config: DataConfig, labels: tuple[str, ...] | None = None) -> Dataset:
    """Finds, reads and checks a data set; `labels` are those it must have, as a checkpoint's.

    `source` is a folder of class folders, of parquet files, of CUB-200-2011 or of torchvision's
    CIFAR-10 or CIFAR-100; a parquet file; torchvision:NAME[@ROOT]; hub:OWNER/NAME[@REVISION].

    Raises:
        DataError: nothing is there, a class is empty, the splits disagree, pictures cannot be
            read, or the classes are others than `labels`.
    """
    found = find(str(source), config)
    if config.crop_to_box and not found.boxes:
        _refuse_boxes(str(source), labels is not None)
    parts = _parts(found, config, str(source))
    if labels is not None and found.labels != labels:
        parts = _in_order(parts, found.labels, labels, str(source))
    readable = _keep_readable(parts, _contents(parts, config), config)
    (train, of_train), (test, of_test) = readable
    if len(train) < len(parts[0]) or len(test) < len(parts[1]):
        checks.check_classes(labels or found.labels, train, test, str(source))
    checks.warn_shared(train, test, of_train.digests, of_test.digests)
    splits = [_split(part, content, config) for part, content in readable]
    return Dataset(splits[0], splits[1], labels or found.labels, found.name)


def find(source: str, config: DataConfig) -> Found:
    """Lists the pictures of a source without reading them."""
    kind, _, rest = source.partition(":")
    if kind == "hub":
        return hub.find(rest, config)
    if kind.lower() == "torchvision":
        return published.find(rest)
    root = Path(source).expanduser()
    if root.is_file() and root.suffix == ".parquet":
        return parquet.find([root], root.parent, config)
    if not root.is_dir():
        raise DataError(
            f"--data {source} is no folder; it must be one of class folders, a parquet file, "
            "torchvision:NAME or hub:OWNER/NAME"
        )
    birds = cub.folder_of(root)
    if birds is not None:
        return cub.find(birds, config.crop_to_box)
    return _by_content(root, config)


def _by_content(root: Path, config: DataConfig) -> Found:
    kinds = published.at(root)
    if len(kinds) > 1:
        raise DataError(f"{root} holds {' and '.join(kinds)}; say torchvision:{kinds[0]}@{root}")
    if kinds:
        return published.read(kinds[0], root)
    files = parquet.files_in(root)
    return parquet.find(files, root, config) if files else folders.find(root)


def _refuse_boxes(where: str, is_checkpoint: bool) -> None:
    """What a checkpoint was trained with cannot be changed any more, so it is only told."""
    message = f"--crop-to-box is true, but {where} has no boxes; only CUB-200-2011 has them"
    if not is_checkpoint:
        raise DataError(message)
    log.warning("%s", message)


def _parts(found: Found, config: DataConfig, where: str) -> tuple[Part, Part]:
    checks.check_classes(found.labels, found.train, found.test, where)
    if found.test is not None:
        train, test = found.train, found.test
    else:
        log.info("%s has no test split: %g of each class is held out", where, config.holdout)
        train, test = hold_out(found.train, found.labels, config.holdout)
    if config.subset:
        train = thin(train, found.labels, config.subset)
    return permuted(train) if config.permute_labels else train, test


def _in_order(
    parts: tuple[Part, Part], given: tuple[str, ...], labels: tuple[str, ...], where: str
) -> tuple[Part, Part]:
    """The same classes in the checkpoint's order: sources sort them in different ways."""
    if set(given) != set(labels):
        raise DataError(
            f"--data {where} has the classes {checks.some(given)}; "
            f"the checkpoint knows {checks.some(labels)}"
        )
    place = torch.tensor([labels.index(label) for label in given])
    train, test = (replace(part, targets=place[part.targets]) for part in parts)
    return train, test


def _contents(parts: tuple[Part, Part], config: DataConfig) -> list[Content]:
    if _fits(sum(map(len, parts)), config):
        return [read_all(part, config) for part in parts]
    seen: dict[int, Content] = {}
    return [survey(part, seen) for part in parts]


def _fits(count: int, config: DataConfig) -> bool:
    if config.memory != "auto":
        return config.memory == "device"
    return count * config.image_size**2 * 3 <= IN_MEMORY


def _keep_readable(
    parts: tuple[Part, Part], contents: list[Content], config: DataConfig
) -> list[tuple[Part, Content]]:
    errors = [content.errors for content in contents]
    keeps = checks.drop_unreadable(list(zip(parts, errors, strict=True)), config.skip_unreadable)
    return [
        (part, content) if keep.all() else (part.select(keep), content.select(keep))
        for part, content, keep in zip(parts, contents, keeps, strict=True)
    ]


def _split(part: Part, content: Content, config: DataConfig) -> Split:
    if content.images is None:
        return FileSplit(part, config, content.digests)
    return MemorySplit(content.images, part.targets)
