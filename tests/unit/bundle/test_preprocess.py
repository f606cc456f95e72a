"""Every picture becomes upright RGB of the right size, or an error with the right code."""

import contextlib
import io
import zlib
from struct import pack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from attnvgg_bundle.preprocess import PictureError, decode, fit


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def noise(height: int = 24, width: int = 40, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG of any size in a few bytes: its header promises what its data does not hold."""
    header = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_lossless_formats_keep_every_pixel(format: str) -> None:
    pixels = noise()
    data = encode(Image.fromarray(pixels), format, lossless=True)
    assert np.array_equal(np.asarray(decode(data)), pixels)


def test_jpeg_gives_the_same_pixels_at_every_target_size() -> None:
    data = encode(Image.fromarray(noise(600, 800)), "JPEG", quality=90)
    with Image.open(io.BytesIO(data)) as plain:
        expected = np.asarray(plain.convert("RGB"))
    assert np.array_equal(np.asarray(decode(data)), expected)


def test_exif_orientation_turns_the_picture_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to view"
    pixels = noise(24, 40)
    picture = decode(encode(Image.fromarray(pixels), exif=exif))
    assert picture.size == (24, 40)
    assert np.array_equal(np.asarray(picture), np.rot90(pixels, -1))


def test_grey_palette_bilevel_and_cmyk_become_rgb() -> None:
    grey = Image.fromarray(noise(channels=1))
    for image, format in [
        (grey, "PNG"),
        (grey.convert("P"), "PNG"),
        (grey.convert("1"), "PNG"),
        (Image.fromarray(noise()).convert("CMYK"), "JPEG"),
    ]:
        assert decode(encode(image, format)).mode == "RGB"


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    pixels = np.asarray(decode(encode(Image.fromarray(values))))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_transparent_pixels_lie_over_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    found = np.asarray(decode(encode(Image.fromarray(pixels))))
    assert found[0, 0].tolist() == [10, 20, 30]
    assert found[1, 1].tolist() == [255, 255, 255]


def test_of_an_animation_the_first_frame_counts() -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 255, 0))
    data = encode(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert np.asarray(decode(data))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_image"),
        (b"hello, I am text", "unsupported_media_type"),
        (b"GIF89a" + bytes(100), "unsupported_media_type"),
        (b"\xff\xd8\xff" + bytes(50), "invalid_image"),
        (encode(Image.fromarray(noise(200, 200)), "JPEG")[:3000], "invalid_image"),
        (encode(Image.fromarray(noise(200, 200)))[:3000], "invalid_image"),
        (png_header(20_000, 20_000), "image_too_large"),
        (png_header(10_000, 10_000), "image_too_large"),
        (png_header(5_001, 5_000), "image_too_large"),
        (png_header(400, 400), "invalid_image"),
    ],
)
def test_bad_pictures_have_a_code(data: bytes, code: str) -> None:
    with pytest.raises(PictureError) as caught:
        decode(data)
    assert caught.value.code == code


def test_a_gif_is_refused_though_pillow_could_read_it() -> None:
    with pytest.raises(PictureError) as caught:
        decode(encode(Image.fromarray(noise()), "GIF"))
    assert caught.value.code == "unsupported_media_type"


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything_but_a_picture_error(tail: bytes, head: bytes) -> None:
    with pytest.raises(PictureError):
        decode(head + tail)


@given(st.integers(0, 2000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_flipped_byte_is_read_or_refused(position: int, value: int) -> None:
    data = bytearray(encode(Image.fromarray(noise()), "JPEG"))
    data[position % len(data)] = value
    with contextlib.suppress(PictureError):
        assert decode(bytes(data)).mode == "RGB"


def test_a_picture_of_the_right_size_passes_unchanged() -> None:
    pixels = noise(32, 32)
    for geometry in ("stretch", "center-crop"):
        fitted = fit(Image.fromarray(pixels), 32, 32, geometry, "bicubic")
        assert np.array_equal(fitted.pixels, pixels)
        assert fitted.box == (0, 0, 32, 32)


def test_stretch_sees_everything_and_center_crop_the_middle() -> None:
    pixels = np.zeros((30, 90, 3), np.uint8)
    pixels[:, 30:60] = 200  # the middle third
    image = Image.fromarray(pixels)
    stretched = fit(image, 10, 10, "stretch", "box")
    assert stretched.box == (0, 0, 90, 30)
    assert stretched.pixels.mean() == pytest.approx(200 / 3, abs=1)
    cropped = fit(image, 10, 10, "center-crop", "box")
    assert cropped.box == (30, 0, 60, 30)
    assert (cropped.pixels == 200).all()
    assert (cropped.width, cropped.height) == (90, 30)


def test_a_crop_never_leaves_the_picture() -> None:
    """224 * (29 / 224) is a hair more than 29, and Pillow refuses a box that begins below 0."""
    for side in range(1, 300):
        fitted = fit(Image.new("RGB", (side, side + 1)), 224, 224, "center-crop", "nearest")
        x0, y0, x1, y1 = fitted.box
        assert 0 <= x0 < x1 <= side
        assert 0 <= y0 < y1 <= side + 1


def test_unknown_geometry_and_filter_are_named() -> None:
    image = Image.new("RGB", (8, 8))
    with pytest.raises(ValueError, match="geometry is 'squash'"):
        fit(image, 4, 4, "squash", "box")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="filter is 'soft'"):
        fit(image, 4, 4, "stretch", "soft")


def test_sixteen_bit_colour_keeps_its_upper_bytes() -> None:
    rows = b"".join(b"\0" + pack(">HHH", *pixel) for pixel in ((0x1234, 0xABCD, 0x00FF),))
    data = PNG + chunk(b"IHDR", pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.asarray(decode(data))[0, 0].tolist() == [0x12, 0xAB, 0x00]


def progressive(more: int) -> bytes:
    """A progressive JPEG whose last scan, a few bytes, is repeated."""
    data = encode(Image.new("RGB", (64, 64), (9, 9, 9)), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * more + data[-2:]


JPEG_HEAD = encode(Image.new("RGB", (64, 64)), "JPEG")
PNG_HEAD = encode(Image.new("RGB", (64, 64)))
TINY_EXIF = b"\xff\xe1\0\x10Exif\0\0II*\0\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (progressive(200), "64 scans"),
        (JPEG_HEAD[:2] + TINY_EXIF * 600 + JPEG_HEAD[2:], "512 segments"),
        (JPEG_HEAD[:2] + b"\xff" * 600 + JPEG_HEAD[2:], "512 segments"),
        (PNG_HEAD[:33] + chunk(b"iCCP", b"k\0\0" + zlib.compress(b"")) * 600, "512 chunks beside"),
        (PNG_HEAD[:33] + chunk(b"IDAT", b"x") * 50_001, "50000 chunks"),
    ],
)
def test_files_of_countless_parts_are_refused_before_they_are_read(data: bytes, says: str) -> None:
    with pytest.raises(PictureError, match=f"has more than {says}") as caught:
        decode(data)
    assert caught.value.code == "invalid_image"


def test_files_of_many_parts_are_read() -> None:
    assert decode(progressive(50)).size == (64, 64)
    text = chunk(b"tEXt", b"k\0v") * 500
    assert decode(PNG_HEAD[:33] + text + PNG_HEAD[33:]).size == (64, 64)
    pieces = b"".join(chunk(b"IDAT", byte) for byte in _bytes(PNG_HEAD[41:-16]))
    assert decode(PNG_HEAD[:33] + pieces + PNG_HEAD[-12:]).size == (64, 64)


def _bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_a_thumbnail_in_the_metadata_is_no_scan() -> None:
    comment = b"\xff\xfe\x27\x12" + b"\xff\xda" * 5000  # a segment of 10,002 bytes
    assert decode(JPEG_HEAD[:2] + comment + JPEG_HEAD[2:]).size == (64, 64)


def test_a_strip_of_one_pixel_has_an_end() -> None:
    with pytest.raises(PictureError, match="a side may have 65,535") as caught:
        decode(png_header(1, 65_536))
    assert caught.value.code == "image_too_large"
