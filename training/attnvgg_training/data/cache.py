"""What is kept between runs: downloads, unpacked parquet files, and what surveys found.

The folder is ATTNVGG_DATA, or ~/.cache/attnvgg. A survey counts until a picture's name, size or
time changes. Everything in it may be deleted at any time between runs.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attnvgg_training.data.pictures import Pictures

log = logging.getLogger(__name__)
DIGEST = 16


@dataclass(frozen=True)
class Content:
    """What reading a part gave.

    digests: uint8 [N, 16] of the contents, zero where unreadable. errors: number -> why.
    images: uint8 [N, H, W, 3], or None where only a survey was made.
    """

    digests: NDArray[np.uint8]
    errors: dict[int, str]
    images: Tensor | None = None

    def select(self, keep: Tensor) -> "Content":
        """Of the readable pictures where `keep`, bool [N], is true."""
        images = None if self.images is None else self.images[keep]
        return Content(self.digests[keep.numpy()], {}, images)


def folder() -> Path:
    """Where everything is kept; it need not exist."""
    return Path(os.environ.get("ATTNVGG_DATA") or "~/.cache/attnvgg").expanduser()


def _file(pictures: Pictures) -> Path | None:
    stamp = pictures.stamp()
    return folder() / "surveys" / f"{stamp}.npz" if stamp else None


def recall(pictures: Pictures) -> Content | None:
    """What an earlier survey found, if nothing has changed since."""
    path = _file(pictures)
    try:
        if path is None or not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as held:
            reasons = [str(reason) for reason in held["reasons"]]
            return Content(
                held["digests"], dict(zip(held["numbers"].tolist(), reasons, strict=True))
            )
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s cannot be used: %s", path, error)
        return None


def remember(pictures: Pictures, found: Content) -> None:
    """Keeps what a survey found; where that is impossible the next run makes another."""
    path = _file(pictures)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        with fresh.open("wb") as stream:
            np.savez(
                stream,
                digests=found.digests,
                numbers=np.array(list(found.errors), dtype=np.int64),
                reasons=np.array(list(found.errors.values()), dtype=np.str_),
            )
        fresh.replace(path)
    except OSError as error:
        log.warning("the survey cannot be kept for the next run: %s", error)
