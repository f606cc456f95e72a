"""Against Triton the client works out size and box of a picture itself: as the server does."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from attnvgg_bundle import preprocess
from attnvgg_client import _arrays, _decode, _geometry

GEOMETRIES = preprocess.GEOMETRIES


def encoded(
    size: tuple[int, int], format: str = "JPEG", orientation: int | None = None, mode: str = "RGB"
) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new(mode, size).save(stream, format, exif=exif)
    return stream.getvalue()


def assert_same(data: bytes, height: int, width: int, geometry: str) -> None:
    fitted = preprocess.fit(preprocess.decode(data), height, width, geometry, "nearest")  # type: ignore[arg-type]
    found = _geometry.seen(data, height, width, geometry)
    assert (found.width, found.height, found.box) == (fitted.width, fitted.height, fitted.box)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sizes_and_boxes(geometry: str) -> None:
    """To the last bit: clients compare boxes."""
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 90), (90, 1), (32, 32), (33, 32), *random.integers(1, 300, (60, 2))]
    for width, height in sizes:
        data = encoded((int(width), int(height)))
        for to_height, to_width in ((32, 32), (24, 32), (224, 224), (7, 3)):
            assert_same(data, to_height, to_width, geometry)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_orientations(format: str, orientation: int | None) -> None:
    assert_same(encoded((30, 20), format, orientation), 32, 32, "center-crop")


@pytest.mark.parametrize("turned", [False, True])
def test_orientations_in_a_pngs_texts(turned: bool) -> None:
    """As XMP, and after the pixels, where a header alone does not show it."""
    xmp = f'<x:xmpmeta><rdf tiff:Orientation="{6 if turned else 1}"/></x:xmpmeta>'
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp)
    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, "PNG", pnginfo=texts)
    assert_same(stream.getvalue(), 32, 32, "stretch")
    assert _geometry.size(stream.getvalue()) == ((20, 30) if turned else (30, 20))
    late = encoded((30, 20), "PNG", 6 if turned else 1)
    assert late.count(b"eXIf") == 1
    start = late.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(late[start : start + 4], "big")
    moved = late[:start] + late[end:-12] + late[start:end] + late[-12:]
    assert_same(moved, 32, 32, "stretch")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_pixels_that_are_sent_are_those_that_the_server_would_decode(mode: str) -> None:
    random = np.random.default_rng(1)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65536, (20, 30)).astype(np.uint16))
    else:
        pixels = random.integers(0, 256, (20, 30, 4), dtype=np.uint8)
        image = Image.fromarray(pixels, "RGBA").convert(mode)
    encode = _arrays.encoder(image)
    assert encode is not None
    data = encode(image)
    sent, there = _decode.upright_rgb(data), preprocess.decode(data)
    assert np.array_equal(np.asarray(sent), np.asarray(there))
