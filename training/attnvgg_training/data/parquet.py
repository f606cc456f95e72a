"""Parquet files with a column of pictures and one of classes, as the Hugging Face hub has them.

Files are told apart by how their names start, or by the folder they lie in: train-*.parquet,
test-*.parquet, train/0000.parquet. A shuffled row of a parquet file costs a whole row group, so
pictures are unpacked into the cache folder once (unpack.py).
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnvgg_training.config import DataConfig
from attnvgg_training.data.part import Found, Part
from attnvgg_training.errors import DataError

if TYPE_CHECKING:
    from attnvgg_training.data.columns import Columns

log = logging.getLogger(__name__)
TRAIN = ("train", "training")
TESTS = ("test", "validation", "valid", "val", "dev")
_SPLIT = re.compile(rf"({'|'.join(TRAIN + TESTS)})(?![a-z])", re.IGNORECASE)


def files_in(root: Path) -> list[Path]:
    """The parquet files of a folder, or of data/ or the folders of splits in it."""
    for pattern in ("*.parquet", "data/*.parquet"):
        if files := _visible(root.glob(pattern)):
            return files
    return _visible(p for name in TRAIN + TESTS for p in root.glob(f"{name}/*.parquet"))


def find(files: Sequence[Path], root: Path, config: DataConfig, name: str = "") -> Found:
    """Reads schema and classes of the files, and unpacks their pictures where that is not done.

    Raises:
        DataError: pyarrow is missing, a file is damaged, the columns or the splits are unclear.
    """
    try:
        from attnvgg_training.data import columns
    except ImportError as error:
        raise DataError(
            f"{files[0]} cannot be read without pyarrow: pip install 'attnvgg[parquet]'"
        ) from error
    splits = _splits(files, root)
    train, tests = _train(splits, root), [split for split in TESTS if split in splits]
    found = columns.find(train, config.image_column, config.label_column)
    labels, targets = columns.classes(train, found)
    test = _test(splits, tests, found, labels)
    return Found(_part(train, found, targets), test, labels, name or root.resolve().name)


def _test(
    splits: dict[str, list[Path]], tests: list[str], found: "Columns", labels: tuple[str, ...]
) -> Part | None:
    """The first split that has labels: competitions publish their test pictures without."""
    from attnvgg_training.data import columns

    for split in tests:
        targets = columns.targets(splits[split], found, labels)
        if any(target >= 0 for target in targets):
            log.info("testing on the %s split", split)
            return _part(splits[split], found, targets)
        log.warning("the %s split has no labels and is not used", split)
    return None


def _part(files: list[Path], found: "Columns", targets: list[int]) -> Part:
    from attnvgg_training.data.unpack import unpack

    return Part.of(unpack(files, found.image), targets)


def _train(splits: dict[str, list[Path]], root: Path) -> list[Path]:
    if "train" in splits:
        if "" in splits:
            log.warning("%s names no split and is not used", splits[""][0])
        return splits["train"]
    if set(splits) == {""}:
        return splits[""]
    raise DataError(
        f"{root} has parquet files for {', '.join(filter(None, splits))} and none for train"
    )


def _splits(files: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    folders: set[Path] = set()
    for path in sorted(files):
        from_name, from_folder = _SPLIT.match(path.stem), _SPLIT.fullmatch(path.parent.name)
        match = from_name or (from_folder if path.parent != root else None)
        folders.add(path.parent if from_name or not match else path.parent.parent)
        split = match[1].lower() if match else ""
        splits.setdefault("train" if split in TRAIN else split, []).append(path)
    if len(folders) > 1:
        names = sorted(str(folder.relative_to(root)) for folder in folders)
        raise DataError(
            f"{root} has parquet files in several folders, {', '.join(names)}; name one of them "
            "(hub:OWNER/NAME/FOLDER for the hub)"
        )
    return splits


def _visible(paths: Any) -> list[Path]:
    return sorted(path for path in paths if not path.name.startswith("."))
