"""golden.npz: 16 pictures, and what a bundle must answer to them wherever it runs.

It holds uint8 `image` [16, H, W, 3] and PyTorch's float32 answer to each, under the outputs' names.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attnvgg_bundle.limits import Limit, limit_of
from attnvgg_bundle.manifest import IntegrityError, Manifest

FILE_NAME = "golden.npz"


def read(folder: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
    """The pictures, and the outputs by name in the contract's order.

    Raises:
        IntegrityError: the file is missing, no such archive, or has no pictures.
    """
    path = folder / FILE_NAME
    try:
        with np.load(path, allow_pickle=False) as stored:
            golden = {name: stored[name] for name in stored.files}
        image = golden.pop("image")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path} cannot be used: {error!r}") from error
    return image, golden


def limit(where: Path, bundle: Manifest, format: str) -> Limit:
    """How far the answers of a format (`onnx`, `int8`, ...) may be off: what its export allowed.

    `where` is its file or the bundle's folder, for the message.

    Raises:
        IntegrityError: the manifest has no such report.
    """
    if format not in bundle.parity:
        raise IntegrityError(f"{where}: the manifest has no parity report for {format}")
    try:
        return limit_of(bundle.parity[format])
    except (KeyError, TypeError) as error:
        raise IntegrityError(
            f"{where}: the manifest's parity report for {format} has no tolerance: {error!r}"
        ) from error
