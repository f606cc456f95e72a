"""Limits on bodies hold before their memory is spent."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from attnvgg_serving.errors import BodyTooLarge, Overloaded, UnsupportedMediaType, WireError
from attnvgg_serving.http.body import Budget, check_headers, read


def request(chunks: Iterator[bytes] | None = None, **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> Message:
        chunk = next(chunks, None) if chunks else None
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def test_a_content_length_over_the_limit_is_refused_unread() -> None:
    check_headers(request(content_length="100"), 100)
    for length in ("101", "9" * 5000):
        with pytest.raises(BodyTooLarge):
            check_headers(request(content_length=length), 100)


@pytest.mark.parametrize("length", ["-1", "many", "1e3", ""])
def test_a_content_length_must_be_a_number(length: str) -> None:
    with pytest.raises(WireError):
        check_headers(request(content_length=length), 100)


def test_compressed_bodies_are_refused() -> None:
    check_headers(request(content_encoding="identity"), 100)
    with pytest.raises(UnsupportedMediaType, match="gzip"):
        check_headers(request(content_encoding="gzip"), 100)


def test_a_body_in_pieces_is_put_together() -> None:
    with Budget(100).lease() as lease:
        body = asyncio.run(read(request(iter([b"ab", b"", b"cd"])), 4, lease))
    assert body == b"abcd"


def test_a_body_in_pieces_is_cut_off_at_the_limit() -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(10)
            yield b"x" * 10

    with Budget(10_000).lease() as lease, pytest.raises(BodyTooLarge):
        asyncio.run(read(request(endless()), 55, lease))
    assert sum(taken) == 60


def test_all_bodies_together_are_bounded_and_room_comes_back() -> None:
    budget = Budget(10)
    with budget.lease() as first:
        first.take(7)
        with budget.lease() as second:
            second.take(3)
            with pytest.raises(Overloaded):
                second.take(1)
        with budget.lease() as third:
            third.take(3)
    with budget.lease() as fourth:
        fourth.take(10)
