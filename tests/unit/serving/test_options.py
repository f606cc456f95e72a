"""Query parameters, and the bodies' other forms."""

import base64
import json
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from attnvgg_serving.errors import InvalidImage, InvalidRequest, UnsupportedMediaType
from attnvgg_serving.http.options import Options, parse
from attnvgg_serving.http.pictures import media_type, unpack


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Options()),
        ("return_attention=true&top_k=3", Options(return_attention=True, top_k=3)),
        ("return_attention=0", Options()),
        ("return_attention=True", Options(return_attention=True)),
        ("attention_format=u8&model=m&version=2", Options(False, 5, "u8", "m", "2")),
    ],
)
def test_options_are_read(query: str, expected: Options) -> None:
    assert parse(QueryParams(query)) == expected


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("return_attention=maybe", "return_attention is 'maybe'; it must be true or false"),
        ("top_k=0", "top_k is '0'; it must be a whole number from 1 on"),
        ("top_k=-1", "top_k is '-1'"),
        ("top_k=1.5", "top_k is '1.5'"),
        ("top_k=\u0663", "top_k is"),
        ("top_k=" + "9" * 10_000, "top_k is '9"),
        ("top_k=", "top_k is ''"),
        ("attention_format=f64", "attention_format is 'f64'; it must be one of f16, f32, u8"),
        ("model=", "model is empty"),
        ("topk=3", "no option 'topk'; there is return_attention, top_k"),
        ("top_k=1&top_k=2", "top_k is given more than once"),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_what_is_allowed(query: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(QueryParams(query))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200


def test_media_types_may_have_parameters_and_capitals() -> None:
    assert media_type("Image/JPEG; q=1") == "image/jpeg"


@pytest.mark.parametrize("given", [None, "", "text/plain", "image/gif", "application/x-pickle"])
def test_other_media_types_are_refused(given: str | None) -> None:
    with pytest.raises(UnsupportedMediaType, match="it must be one of image/jpeg"):
        media_type(given)


def test_a_raw_body_is_one_picture() -> None:
    assert unpack(b"bytes", "image/png", 1) == [b"bytes"]


def test_json_pictures_are_decoded_one_by_one() -> None:
    good = base64.b64encode(b"picture").decode()
    images = [good, "not base64!", "data:image/png;base64," + good]
    first, second, third = unpack(json.dumps({"images": images}).encode(), "application/json", 9)
    assert first == b"picture"
    assert isinstance(second, InvalidImage)
    assert str(second) == "images[1] is not base64"
    assert "without the data: prefix" in str(third)


@pytest.mark.parametrize(
    "content",
    [{}, {"images": []}, {"images": "text"}, {"images": [1]}, {"images": ["eA=="], "top_k": 3}, []],
)
def test_json_of_another_shape_is_refused(content: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"the JSON body must be"):
        unpack(json.dumps(content).encode(), "application/json", 9)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the JSON body must be"):
        unpack(content, "application/json", 9)
