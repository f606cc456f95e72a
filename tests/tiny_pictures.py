"""Small pictures for tests of data sets: each is a function of a number, and no two are equal."""

import io
import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from attnvgg_training.data import Split


def pixels(seed: int, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(seed: int, height: int = 8, width: int = 8) -> bytes:
    """`pixels` as a PNG file, which keeps them exactly."""
    stream = io.BytesIO()
    Image.fromarray(pixels(seed, height, width)).save(stream, "PNG")
    return stream.getvalue()


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files below `root`, with their folders."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def class_folders(root: Path, train: int = 3, test: int = 2) -> Path:
    """Classes ant, bee and cow with so many pictures each."""
    for first, label in enumerate(("ant", "bee", "cow")):
        for split, count in (("train", train), ("test", test)):
            for number in range(count):
                seed = 1000 * first + number + (500 if split == "test" else 0)
                write(root, {f"{split}/{label}/{number}.png": png(seed)})
    return root


def put_sum(split: "Split", queue: "multiprocessing.Queue[int]") -> None:
    """Sums all pixels in another process, which must be able to import this by name."""
    import torch

    queue.put(int(split.pixels(torch.arange(len(split))).sum()))
