"""Whatever a body holds, nothing but a documented outcome comes out of the parsers."""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.datastructures import QueryParams

from attnvgg_bundle.manifest import Input
from attnvgg_serving.decoding import to_input
from attnvgg_serving.errors import InvalidImage, WireError
from attnvgg_serving.http.options import parse
from attnvgg_serving.http.pictures import ACCEPTED, unpack
from traffic import save

INPUT = Input(32, 32, "center-crop", "bicubic")
MAX_PIXELS = 40_000
CODES = {"invalid_image", "image_too_large", "unsupported_media_type"}


def _photo(mode: str) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    return Image.fromarray(pixels).convert("RGB").convert(mode)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 8
    exif[0x010E] = "a description"
    return exif


FILES = [
    save(_photo("RGB"), "JPEG", exif=_exif()),
    save(_photo("RGB"), "JPEG", progressive=True),
    save(_photo("CMYK"), "JPEG"),
    save(_photo("RGB"), "PNG", exif=_exif()),
    save(_photo("P"), "PNG"),
    save(_photo("L"), "PNG"),
    save(_photo("RGB"), "PNG", save_all=True, append_images=[_photo("RGB").rotate(90)]),
    save(_photo("RGB"), "WEBP", exif=_exif()),
    save(_photo("RGBA"), "WEBP", lossless=True),
    save(_photo("RGB"), "WEBP", save_all=True, append_images=[_photo("RGB").rotate(90)]),
]
T = TypeVar("T")
Edit = tuple[str, float, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["overwrite", "insert", "cut", "repeat"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
)


def outcome(call: Callable[[], T]) -> T | WireError:
    try:
        return call()
    except WireError as error:
        return error


def edited(data: bytes, edits: list[Edit]) -> bytes:
    for kind, where, piece in edits:
        at = int(where * len(data))
        if kind == "overwrite":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + 8 * len(piece) :]
        else:
            data = data[:at] + data[at : at + 64] * len(piece) + data[at:]
    return data


@given(st.sampled_from(FILES), EDITS)
@settings(max_examples=400, deadline=None)
def test_a_damaged_picture_is_read_or_refused(data: bytes, edits: list[Edit]) -> None:
    found = outcome(lambda: to_input(edited(data, edits), INPUT, MAX_PIXELS))
    if isinstance(found, WireError):
        assert found.code in CODES
        assert len(found.message) < 300
    else:
        assert found.pixels.shape == (32, 32, 3)
        assert found.width * found.height <= MAX_PIXELS


@pytest.mark.parametrize("data", FILES)
def test_the_undamaged_ones_are_read(data: bytes) -> None:
    fitted = to_input(data, INPUT, MAX_PIXELS)
    assert {fitted.width, fitted.height} == {40, 60}


HEADER = st.text(st.characters(max_codepoint=255), max_size=20)


@given(st.binary(max_size=400), st.sampled_from(ACCEPTED), HEADER)
def test_any_body_is_pictures_or_a_refusal(body: bytes, kind: str, parameter: str) -> None:
    with contextlib.suppress(WireError):
        for picture in unpack(body, f"{kind}; boundary={parameter}", 5):
            assert isinstance(picture, bytes | InvalidImage)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=10) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@given(JSON | st.fixed_dictionaries({"images": JSON}))
def test_any_json_is_pictures_or_a_refusal(content: object) -> None:
    with contextlib.suppress(WireError):
        unpack(json.dumps(content).encode(), "application/json", 5)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_base64_brings_back_what_was_sent(pictures: list[bytes]) -> None:
    images = [base64.b64encode(picture).decode() for picture in pictures]
    assert unpack(json.dumps({"images": images}).encode(), "application/json", 5) == pictures


NAMES = ["return_attention", "top_k", "attention_format", "model", "version"]


@given(st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=9), st.text(max_size=30))))
def test_any_query_is_options_or_a_refusal(query: list[tuple[str, str]]) -> None:
    found = outcome(lambda: parse(QueryParams(query)))
    if isinstance(found, WireError):
        assert found.code == "invalid_request"
        assert len(found.message) < 300
