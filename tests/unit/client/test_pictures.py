"""What can be a picture, and what travels for it."""

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import InvalidPictureError
from attnvgg_client._pictures import load

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
CLOSED = io.BytesIO()
CLOSED.close()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


class OnlyRead:
    """A file object that knows nothing but read, and gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, 100))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO, OnlyRead])
def test_bytes_and_file_objects_travel_untouched(wrap: Any, photo: bytes) -> None:
    picture = load(wrap(photo))
    assert picture.data == photo
    assert picture.media_type == "image/jpeg"


@pytest.mark.parametrize("wrap", [str, Path])
def test_paths_travel_untouched_and_are_remembered_as_paths(
    wrap: Any, photo: bytes, photo_path: Path
) -> None:
    picture = load(wrap(photo_path))
    assert picture.data == photo
    assert picture.source.place == photo_path
    with photo_path.open("rb") as file:
        assert load(file).data == photo


@pytest.mark.parametrize(("format", "type"), [("PNG", "image/png"), ("WEBP", "image/webp")])
def test_the_type_is_told_by_the_bytes(format: str, type: str, tmp_path: Path) -> None:
    path = tmp_path / "misleading.jpg"
    Image.fromarray(RGB).save(path, format)
    assert load(path).media_type == type


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (RGB, RGB),
        (GREY, GREY),
        (RGB[:, ::-1], RGB[:, ::-1]),
        (Image.fromarray(RGB), RGB),
        (Image.fromarray(GREY), GREY),
        (RGB[:3, :3], RGB[:3, :3]),
    ],
    ids=["rgb", "grey", "mirrored", "pil rgb", "pil grey", "3x3x3"],
)
def test_pixels_travel_without_loss(image: Any, expected: np.ndarray) -> None:
    picture = load(image)
    assert picture.media_type == "image/png"
    np.testing.assert_array_equal(pixels(picture.data), expected)


def test_tensors_have_their_channels_first() -> None:
    torch = pytest.importorskip("torch")
    for image, expected in (
        (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
        (torch.from_numpy(GREY), GREY),
        (torch.from_numpy(GREY)[None], GREY),
    ):
        np.testing.assert_array_equal(pixels(load(image).data), expected)
    for wrong, message in (
        (torch.zeros(5, 7, 3, dtype=torch.uint8), r"use tensor\.permute"),
        (torch.zeros(3, 5, 7), "it must be uint8 from 0 to 255"),
        (torch.zeros(2, 3, 5, 7, dtype=torch.uint8), "predict_batch"),
    ):
        with pytest.raises(InvalidPictureError, match=message) as caught:
            load(wrong)
        assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK", "YCbCr", "RGBX"])
def test_pil_modes(mode: str) -> None:
    image = Image.fromarray(GREY).convert(mode)
    picture = load(image)
    kept = mode if mode in ("1", "L", "LA", "P", "RGBA", "I;16") else "RGB"
    assert Image.open(io.BytesIO(picture.data)).mode == kept


def test_an_oriented_pil_image_travels_upright_and_only_once(
    make_jpeg: Callable[..., bytes],
) -> None:
    oriented = make_jpeg((40, 30), orientation=6)
    upright = load(Image.open(io.BytesIO(oriented)))
    assert pixels(upright.data).shape[:2] == (40, 30)
    assert upright.source.open().size == (30, 40)
    assert load(oriented).data == oriented


def test_what_is_remembered_does_not_change_with_the_array() -> None:
    array = RGB.copy()
    picture = load(array)
    array[:] = 0
    np.testing.assert_array_equal(np.asarray(picture.source.open()), RGB)


@pytest.mark.parametrize(
    ("image", "code", "message"),
    [
        (None, "invalid_argument", r"None \(NoneType\) is no picture; accepted is a path"),
        ({"a": 1}, "invalid_argument", "is no picture"),
        (RGB.astype(np.float32), "invalid_argument", r"float32 \[5, 7, 3\]; it must be uint8"),
        (RGB.transpose(2, 0, 1), "invalid_argument", r"channels first; use array.transpose"),
        (RGB[None], "invalid_argument", r"a batch; use predict_batch\(list\(array\)\)"),
        (RGB[:, :, :2], "invalid_argument", r"\[5, 7, 2\]; it must be"),
        (RGB[:0], "invalid_argument", "it has no pixels"),
        (Image.new("F", (2, 2)), "invalid_argument", "mode 'F'"),
        (b"", "invalid_image", "the bytes given: empty"),
        (b"GIF89a......", "unsupported_media_type", "a GIF picture; accepted are JPEG, PNG"),
        (b"\0\0\0\x1cftypheic....", "unsupported_media_type", "a HEIC picture"),
        (b"%PDF-1.7", "unsupported_media_type", "a PDF document"),
        (b"<html><body>", "unsupported_media_type", "an HTML or XML page"),
        ("é".encode() * 300, "unsupported_media_type", "text"),
        (bytes(range(128, 200)), "unsupported_media_type", "unknown kind"),
        (io.StringIO("text"), "invalid_argument", "gave str, not bytes; open it in binary mode"),
        ("/nowhere/x.jpg", "unreadable", "'/nowhere/x.jpg' cannot be read: No such file"),
        ("nul\0.jpg", "unreadable", "cannot be read"),
        ("x" * 5000, "unreadable", r"'x{59}\.\.\.x+' cannot be read"),
        ("ftp://host/x.jpg", "invalid_argument", "is a URL of a kind not fetched"),
        ("file:///x.jpg", "invalid_argument", "is a file URL; give the path"),
        ("data:image/png;base64,AAAA", "invalid_argument", "is a data URL; decode it"),
        (Path("http://h/x.jpg"), "invalid_argument", "a URL with one slash, .*give it as a str"),
        ("C:/x.jpg", "unreadable", "cannot be read: No such file"),
        ([RGB, RGB], "invalid_argument", "predict_batch and predict_many take lists$"),
        ((n for n in range(3)), "invalid_argument", "predict_batch and predict_many take lists$"),
        ([1, 2, 3], "invalid_argument", r"\[1, 2, 3\] \(list\) is no picture"),
        (7, "invalid_argument", r"7 \(int\) is no picture; accepted is .*h, w\]\)$"),
        (RGB > 5, "invalid_argument", r"bool \[5, 7, 3\]; it must be uint8"),
        (np.uint8(7), "invalid_argument", "numpy.uint8"),
        (CLOSED, "unreadable", "the file object given cannot be read: I/O operation on closed"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_named(image: Any, code: str, message: str) -> None:
    with pytest.raises(InvalidPictureError, match=message) as refused:
        load(image)
    assert refused.value.code == code
    assert isinstance(refused.value, ValueError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    """A pipe without a writer would be waited for, and /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("pipe.jpg", "socket", "/dev/zero"):
            with pytest.raises(InvalidPictureError, match="is no regular file; open it") as refused:
                load(tmp_path / name)
            assert refused.value.code == "unreadable"


def test_messages_are_one_line() -> None:
    with pytest.raises(InvalidPictureError) as refused:
        load([RGB])
    assert "\n" not in str(refused.value)


def test_a_folder_and_a_lone_truncated_pil_image(tmp_path: Path, photo: bytes) -> None:
    with pytest.raises(InvalidPictureError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(InvalidPictureError, match="cannot be decoded"):
        load(Image.open(io.BytesIO(photo[:-20])))


class Endless:
    """More bytes than any picture, counted."""

    def __init__(self, first: bytes) -> None:
        self.given, self._first = 0, first

    def read(self, size: int) -> bytes:
        block = (self._first if not self.given else b"").ljust(size, b"\0")
        self.given += size
        return block


def test_a_film_is_refused_by_its_first_bytes_and_a_flood_by_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    film = Endless(b"\0\0\0\x20ftypisom")
    with pytest.raises(InvalidPictureError, match="an MP4 film"):
        load(film)
    assert film.given <= 2**20
    monkeypatch.setattr("attnvgg_client._pictures.MAX_BYTES", 3 * 2**20)
    with pytest.raises(InvalidPictureError, match="more than 3,145,728 bytes"):
        load(Endless(b"\xff\xd8\xff"))


def test_a_file_object_that_fails_says_why() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise RuntimeError("the tape is torn")

    with pytest.raises(InvalidPictureError, match="the tape is torn"):
        load(Broken())
