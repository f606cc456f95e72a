"""Caltech-UCSD Birds-200-2011 in its published layout (Wah et al., 2011).

images.txt and its neighbours give one picture a line, by number. The paper (section 4, CUB) cuts
pictures to the published box around the bird: `crop_to_box`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from attnvgg_training.data.part import Found, Part
from attnvgg_training.data.pictures import Files, Names
from attnvgg_training.errors import DataError

TABLES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
Value = TypeVar("Value")


def folder_of(root: Path) -> Path | None:
    """The folder with the tables: `root`, or CUB_200_2011 in it; None where neither has them."""
    for folder in (root, root / "CUB_200_2011"):
        if all((folder / table).is_file() for table in TABLES):
            return folder
    return None


def find(folder: Path, crop: bool) -> Found:
    """Lists the published split; labels are the names in classes.txt, such as 013.Bobolink.

    Raises:
        DataError: a table is missing, or a line in one does not fit the others.
    """
    names = _table(folder / "images.txt", str)
    numbers = list(names)
    classes = _table(folder / "classes.txt", str)
    place = {number: target for target, number in enumerate(classes)}
    given = _match(_table(folder / "image_class_labels.txt", str), numbers, folder)
    unknown = [number for number in given if number not in place]
    if unknown:
        raise DataError(
            f"{folder}/image_class_labels.txt: class {unknown[0]} is not in classes.txt"
        )
    is_train = _match(_table(folder / "train_test_split.txt", str), numbers, folder)
    boxes = _boxes(folder, numbers) if crop else None
    files = Files(str(folder / "images"), Names(list(names.values())), boxes)
    everything = Part.of(files, [place[number] for number in given])
    train = torch.tensor([flag == "1" for flag in is_train])
    labels = tuple(classes.values())
    return Found(everything.select(train), everything.select(~train), labels, "cub-200-2011", crop)


def _boxes(folder: Path, numbers: list[str]) -> NDArray[np.float64]:
    """x0 y0 x1 y1 of bounding_boxes.txt, which has x y width height."""
    table = _table(folder / "bounding_boxes.txt", _four)
    boxes = np.array(_match(table, numbers, folder), dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _four(text: str) -> list[float]:
    values = [float(word) for word in text.split()]
    if len(values) != 4:
        raise ValueError(text)
    return values


def _table(path: Path, convert: Callable[[str], Value]) -> dict[str, Value]:
    """Lines of a number, a space and a value."""
    table: dict[str, Value] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for row, line in enumerate(lines, start=1):
        number, _, text = line.strip().partition(" ")
        if not number:
            continue
        try:
            table[number] = convert(text)
        except ValueError:
            raise DataError(f"{path}, line {row}, cannot be read: {line!r}") from None
    return table


def _match(table: dict[str, Value], numbers: list[str], folder: Path) -> list[Value]:
    missing = [number for number in numbers if number not in table]
    if missing:
        raise DataError(
            f"{folder}: images.txt has {len(missing)} pictures that another table lacks, "
            f"such as number {missing[0]}"
        )
    return [table[number] for number in numbers]
