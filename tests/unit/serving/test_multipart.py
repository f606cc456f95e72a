"""Bodies of several files, whole, odd and broken."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnvgg_serving.errors import InvalidRequest, TooManyImages, WireError
from attnvgg_serving.http.multipart import files

TYPE = "multipart/form-data; boundary=frontier"


def body(*parts: tuple[str, bytes], end: bytes = b"--frontier--\r\n") -> bytes:
    pieces = [
        b"--frontier\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"
        for headers, content in parts
    ]
    return b"".join(pieces) + end


def file(content: bytes, name: str = "f") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="x.jpg"', content


def test_files_come_in_their_order() -> None:
    assert files(body(file(b"one"), file(b"two", "f"), file(b"", "g")), TYPE, 3) == [
        b"one",
        b"two",
        b"",
    ]


def test_content_may_look_like_a_boundary() -> None:
    content = b"\r\n--frontie\r\n--frontier-ish"[:14] + b"\x00\xff\r\n"
    assert files(body(file(content)), TYPE, 1) == [content]


def test_a_picture_without_a_file_name_is_a_picture() -> None:
    part = ('Content-Disposition: form-data; name="f"\r\nContent-Type: image/png', b"png")
    assert files(body(part), TYPE, 1) == [b"png"]


def test_a_field_is_refused_and_told_where_options_belong() -> None:
    part = ('Content-Disposition: form-data; name="top_k"', b"3")
    with pytest.raises(InvalidRequest, match=r"'top_k' is no file; options are query parameters"):
        files(body(file(b"one"), part), TYPE, 5)


def test_more_files_than_allowed_are_not_collected() -> None:
    with pytest.raises(TooManyImages, match="more than 2"):
        files(body(*[file(b"x")] * 3), TYPE, 2)


@pytest.mark.parametrize(
    ("content", "content_type", "says"),
    [
        (body(file(b"one")), "multipart/form-data", "no boundary"),
        (body(), TYPE, "no file"),
        (body(file(b"one"), end=b""), TYPE, "cut off"),
        (body(file(b"one"))[:-20], TYPE, "cut off"),
        (b"", TYPE, "cut off"),
        (b"nothing of the kind", TYPE, "malformed"),
        (body(file(b"one")), "multipart/form-data; boundary=" + "x" * 300, "malformed"),
    ],
)
def test_what_is_broken_is_refused(content: bytes, content_type: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        files(content, content_type, 5)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_any_bytes_survive(contents: list[bytes]) -> None:
    assert files(body(*[file(content) for content in contents]), TYPE, 5) == contents


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_nothing_but_our_errors_comes_out(noise: bytes, head: bytes) -> None:
    for content in (noise, b"--frontier\r\n" + head + b"\r\n\r\n" + noise, body(file(noise))[:-7]):
        with contextlib.suppress(WireError):
            files(content, TYPE, 3)
