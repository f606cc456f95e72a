"""The one decode, orient and resize.

Training's evaluation transform, the gateway and the Triton repository all run this file (Triton
gets a verbatim copy), so it imports nothing but the standard library, numpy and Pillow.

How a picture becomes RGB, in this order:

1. JPEG, PNG and WebP are read, by content and not by name; everything else is refused.
2. The parts that a file is made of are counted, and the size in its header is checked against
   the limits, before any pixel is decoded.
3. Of an animated picture the first frame counts.
4. EXIF orientation is applied.
5. 16 bits keep their upper 8; transparent pixels are laid over white; palette, grey, 1-bit and
   CMYK are converted by Pillow. Colour profiles are ignored.

JPEG draft mode is never used: the same bytes give the same pixels at every target size.
"""

import io
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 25_000_000
# JPEG has no longer sides. A strip of one pixel's width costs Pillow a gigabyte in row pointers.
MAX_SIDE = 65_535
# Every scan of a progressive JPEG passes over all pixels, and one of 42 bytes is a valid scan:
# without a limit 10 MB decode for an hour. Encoders write about ten.
MAX_SCANS = 64
# What Pillow reads in Python, one by one: 10 MB of tiny EXIF segments or colour profiles took
# it 20 s. Real files have a few dozen of them.
MAX_SEGMENTS = 512
# Parts that hold pixels may be many: some encoders cut them into pieces of 4 KB.
MAX_CHUNKS = 50_000
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
GEOMETRIES = ("stretch", "center-crop")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xff]")
Geometry = Literal["stretch", "center-crop"]
Box = tuple[float, float, float, float]


class PictureError(ValueError):
    """A picture that cannot be used; `code` is the wire's error code.

    invalid_image: it claims to be a picture and is not, or is cut off.
    unsupported_media_type: it is something other than JPEG, PNG or WebP.
    image_too_large: its header promises more pixels than allowed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Fitted(NamedTuple):
    """What the network sees of a picture.

    pixels: uint8 [H, W, 3], RGB.
    width, height: of the picture after EXIF orientation.
    box: (x0, y0, x1, y1), the part of that picture that `pixels` shows, in its pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    box: Box


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decodes a JPEG, PNG or WebP into an upright RGB picture.

    Raises:
        PictureError: see its codes.
    """
    _check_parts(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width, image.height, max_pixels)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(
            "image_too_large", f"the picture has more pixels than the {max_pixels:,} allowed"
        ) from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error ...
        raise PictureError("invalid_image", f"the picture cannot be decoded: {error}") from error


def fit(image: Image.Image, height: int, width: int, geometry: Geometry, filter: str) -> Fitted:
    """Brings an RGB picture to the network's input size.

    stretch: the whole picture, whatever its proportions. center-crop: the largest centred part
    that has the input's proportions. A picture of the right size passes unchanged.

    Raises:
        ValueError: an unknown geometry or filter.
    """
    box = _box(image.width, image.height, height, width, geometry)
    if filter not in FILTERS:
        raise ValueError(f"filter is {filter!r}; it must be one of {', '.join(FILTERS)}")
    resized = image.resize((width, height), FILTERS[filter], box=box)
    return Fitted(np.asarray(resized, dtype=np.uint8), image.width, image.height, box)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise PictureError(
            "image_too_large",
            f"the picture has {width} x {height} pixels; a side may have {MAX_SIDE:,}",
        )
    if width * height > max_pixels:
        raise PictureError(
            "image_too_large",
            f"the picture has {width} x {height} = {width * height:,} pixels; "
            f"at most {max_pixels:,} are allowed",
        )


def _check_parts(data: bytes) -> None:
    """Refuses files whose parts are so many that reading them is the attack."""
    if data.startswith(_JPEG):
        markers = list(_jpeg_markers(data))
        _limit("scans", markers.count(0xDA), MAX_SCANS)
        _limit("segments", len(markers), MAX_SEGMENTS)
    elif data.startswith(_PNG):
        chunks = list(_png_chunks(data))
        _limit("chunks", len(chunks), MAX_CHUNKS)
        beside = sum(kind not in (b"IDAT", b"fdAT", b"fcTL") for kind in chunks)
        _limit("chunks beside the pixels", beside, MAX_SEGMENTS)


def _limit(parts: str, found: int, most: int) -> None:
    if found > most:
        raise PictureError("invalid_image", f"the file has more than {most} {parts}")


def _jpeg_markers(data: bytes) -> Iterator[int]:
    """The markers up to the end of the picture, a few more than allowed at most."""
    at = len(_JPEG) - 1
    for _ in range(MAX_SEGMENTS + 1):
        # After a scan's header come its pixels, in which 0xFF is followed by 0 or by a restart.
        found = _MARKER.search(data, at)
        if found is None or found[0][1] == 0xD9:
            return
        yield found[0][1]
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if found[0][1] == 0xFF:  # padding before a marker; Pillow reads it byte by byte
            at = found.end() - 1


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """The kinds of the chunks, a few more than allowed at most."""
    at = len(_PNG)
    for _ in range(MAX_CHUNKS + 1):
        if at + 8 > len(data):
            return
        yield data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _unidentified(data: bytes) -> PictureError:
    if not data:
        return PictureError("invalid_image", "the picture is empty: 0 bytes")
    if data.startswith((_JPEG, _PNG)) or data[8:12] == b"WEBP":
        return PictureError("invalid_image", "the picture is damaged: its header cannot be read")
    return PictureError(
        "unsupported_media_type",
        f"{len(data)} bytes that are no JPEG, PNG or WebP picture (they start with {data[:8]!r})",
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey when it converts; the upper byte is what a viewer shows.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert(
            "RGB"
        )
    if image.has_transparency_data:
        # Copies are avoided: one of a picture of the largest allowed size takes 100 MB.
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = (255, 255, 255, 255)
        return Image.alpha_composite(Image.new("RGBA", rgba.size, white), rgba).convert("RGB")
    return image.convert("RGB")


def _box(width: int, height: int, to_height: int, to_width: int, geometry: str) -> Box:
    if geometry == "stretch":
        return (0, 0, width, height)
    if geometry != "center-crop":
        raise ValueError(f"geometry is {geometry!r}; it must be one of {', '.join(GEOMETRIES)}")
    scale = min(width / to_width, height / to_height)
    # Rounding may make the product a hair more than the whole side, and Pillow refuses such a box.
    crop_width, crop_height = min(width, to_width * scale), min(height, to_height * scale)
    x0, y0 = (width - crop_width) / 2, (height - crop_height) / 2
    return (x0, y0, x0 + crop_width, y0 + crop_height)
