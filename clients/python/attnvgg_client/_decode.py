"""An encoded picture -> upright RGB pixels, by the rules of the server's own decoder."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from attnvgg_client._errors import InvalidPictureError

if TYPE_CHECKING:
    from PIL import Image


def upright_rgb(data: bytes) -> Image.Image:
    """JPEG, PNG or WebP; EXIF orientation applied, transparency laid over white.

    Raises:
        InvalidPictureError: it cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            image.load()
            return to_rgb(image)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError and more
        raise InvalidPictureError(
            f"the picture cannot be decoded: {error}", code="invalid_image"
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image as the server sees it: upright, RGB."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        return _sixteen_bit(upright)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return upright.convert("RGB")


def _sixteen_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey; its upper byte is what a viewer shows."""
    import numpy as np
    from PIL import Image

    upper = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
    return Image.fromarray(upper).convert("RGB")
