"""Photos with object masks: DIR/*/NAME.jpg with NAME.mask.png beside it, 0 and 255."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attnvgg_bundle.preprocess import PictureError, decode, fit
from attnvgg_training.config import DataConfig
from attnvgg_training.data import SUFFIXES
from attnvgg_training.errors import DataError

MASK = ".mask.png"


@dataclass(frozen=True)
class Masked:
    """pixels: uint8 [H, W, 3], as the network sees the picture. mask: bool, the picture's own
    size; box: the part of it that `pixels` shows, (x0, y0, x1, y1)."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: tuple[float, float, float, float]

    def coverage(self, height: int, width: int) -> NDArray[np.float32]:
        """Which part of each cell of a grid over the box is object, by area, [height, width]."""
        image = Image.fromarray(self.mask.astype(np.float32))
        resized = image.resize((width, height), Image.Resampling.BOX, box=self.box)
        return np.asarray(resized, dtype=np.float32)

    def holds(self, down: float, across: float) -> bool:
        """Whether a point of the box is object; 0 is its top and left edge, 1 the other."""
        x0, y0, x1, y1 = self.box
        return bool(self.mask[int(y0 + down * (y1 - y0)), int(x0 + across * (x1 - x0))])


def find(folder: Path) -> list[tuple[Path, Path]]:
    """Pictures with their masks, sorted.

    Raises:
        DataError: there are none, or one of the two is missing.
    """
    masks = sorted(folder.glob(f"*/*{MASK}"))
    if not masks:
        raise DataError(f"--masks {folder} holds no DIR/*/NAME{MASK} with a picture NAME.jpg")
    pairs = []
    for mask in masks:
        stem = mask.name.removesuffix(MASK)
        beside = (mask.with_name(stem + suffix) for suffix in sorted(SUFFIXES))
        picture = next((path for path in beside if path.is_file()), None)
        if picture is None:
            raise DataError(f"{mask} has no picture {stem}.jpg beside it")
        pairs.append((picture, mask))
    return pairs


def read(picture: Path, mask: Path, config: DataConfig) -> Masked:
    """Reads one pair, the picture brought to the input as training and the gateway do it.

    Raises:
        DataError: either cannot be read, their sizes differ, or the mask holds no object.
    """
    size = config.image_size
    try:
        fitted = fit(decode(picture.read_bytes()), size, size, config.geometry, config.filter)
    except (OSError, PictureError) as error:
        raise DataError(f"{picture}: {error}") from error
    try:
        inside = np.asarray(decode(mask.read_bytes()).convert("L")) > 127
    except (OSError, PictureError) as error:
        raise DataError(f"{mask}: {error}") from error
    if inside.shape != (fitted.height, fitted.width):
        height, width = inside.shape
        raise DataError(
            f"{mask} has {width} x {height} pixels, its picture {fitted.width} x {fitted.height}; "
            "they must be the same"
        )
    if not inside.any():
        raise DataError(f"{mask} holds no object: no pixel of it is above 127")
    return Masked(fitted.pixels, inside, fitted.box)
