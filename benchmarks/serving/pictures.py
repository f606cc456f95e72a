"""The pictures that travel, and what the bare session says about them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bound
import numpy as np
from answers import Arrays
from numpy.typing import NDArray
from PIL import Image
from settings import JPEG_SIDE, PICTURES, ROOT
from wire import Picture

from attnvgg_bundle.manifest import Manifest
from attnvgg_bundle.preprocess import decode, fit

PHOTOS = ROOT / "export" / "attnvgg_export" / "photos"


def pictures(manifest: Manifest) -> list[Picture]:
    """Photos: brought to the network's input for pixels, and enlarged for the JPEG."""
    files = sorted(PHOTOS.glob("*.jpg"))[:PICTURES]
    return [Picture(_pixels(path.read_bytes(), manifest), _jpeg(path)) for path in files]


def expected(
    bundle: Path, manifest: Manifest, chosen: Sequence[Picture]
) -> dict[str, list[Arrays]]:
    """By payload: every picture's probabilities [K] and maps [h, w]."""
    session, names = bound.session(bundle), bound.outputs(manifest)

    def run(pixels: NDArray[np.uint8]) -> Arrays:
        values: list[Any] = session.run(names, {"image": pixels[None]})
        return {name: value[0] for name, value in zip(names, values, strict=True)}

    return {
        "pixels": [run(each.pixels) for each in chosen],
        "jpeg": [run(_pixels(each.jpeg, manifest)) for each in chosen],
    }


def _pixels(data: bytes, manifest: Manifest) -> NDArray[np.uint8]:
    size = manifest.input
    return fit(decode(data), size.height, size.width, size.geometry, size.filter).pixels


def _jpeg(path: Path) -> bytes:
    """The longer side has JPEG_SIDE pixels."""
    with Image.open(path) as image:
        scale = JPEG_SIDE / max(image.size)
        width, height = (round(side * scale) for side in image.size)
        buffer = io.BytesIO()
        image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(
            buffer, "JPEG", quality=90
        )
    return buffer.getvalue()
