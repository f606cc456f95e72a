"""Which part of a picture the network saw, where the server does not say: from the file's header.

The rules are those of `attnvgg_bundle.preprocess`, which this package cannot import; a test of the
repository compares the two.
"""

from __future__ import annotations

import io

from attnvgg_client._errors import InvalidPictureError
from attnvgg_client._prediction import Input

STRETCH, CENTER_CROP = "stretch", "center-crop"
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
# Without one of these a PNG has no orientation, and Pillow decodes all of it to find that out.
PNG_EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


def seen(data: bytes, height: int, width: int, geometry: str) -> Input:
    """The upright size of an encoded picture, and the box in it that becomes [height, width].

    Raises:
        InvalidPictureError: its header cannot be read.
    """
    picture_width, picture_height = size(data)
    if geometry == STRETCH:
        return Input(picture_width, picture_height, (0, 0, picture_width, picture_height))
    scale = min(picture_width / width, picture_height / height)
    box_width = min(picture_width, width * scale)  # rounding may make it a hair more
    box_height = min(picture_height, height * scale)
    x0, y0 = (picture_width - box_width) / 2, (picture_height - box_height) / 2
    return Input(picture_width, picture_height, (x0, y0, x0 + box_width, y0 + box_height))


def size(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture after EXIF orientation; raises as `seen`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            width, height = image.size
            plain = image.format == "PNG" and not any(mark in data for mark in PNG_EXIF)
            turned = not plain and image.getexif().get(ORIENTATION) in TURNED
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more
        raise InvalidPictureError(
            f"the picture's size cannot be read: {error}", code="invalid_image"
        ) from error
    return (height, width) if turned else (width, height)
