"""Many pictures: in order, in few requests, and one bad one spoils no other."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_client import InvalidArgumentError, ItemError, OverloadedError, Prediction, _batch

Ask = Callable[..., Any]
Parts = Callable[[httpx.Request], list[bytes]]


class Labelling:
    """Answers each picture with its own size, so that order shows; keeps how many came at once."""

    def __init__(self, fake: Any, parts: Parts) -> None:
        self.counts: list[int] = []
        self._fake, self._parts = fake, parts

    def __call__(self, request: httpx.Request) -> httpx.Response:
        files = self._parts(request)
        self.counts.append(len(files))
        self._fake.binary = False
        answer, _ = self._fake.body(None, len(files))
        for file, item in zip(files, answer["predictions"], strict=True):
            item["label"] = str(len(file))
            if file.endswith(b"damaged"):
                item.clear()
                item["error"] = {"code": "invalid_image", "message": "damaged"}
        return httpx.Response(200, json=answer)


@pytest.fixture
def labelling(fake: Any, pictures_in: Parts) -> Labelling:
    return Labelling(fake, pictures_in)


def test_results_come_in_order_from_few_requests(
    ask: Ask, labelling: Labelling, photo: bytes
) -> None:
    images = [photo + bytes(extra) for extra in range(40)]
    results = ask(labelling, "predict_batch", iter(images))
    assert [int(result.label) for result in results] == [len(image) for image in images]
    assert labelling.counts == [16, 16, 8]


def test_each_bad_picture_has_its_error_in_its_place(
    ask: Ask, labelling: Labelling, photo: bytes, photo_path: Path
) -> None:
    images = [
        photo_path,
        photo + b"damaged",
        "/nowhere.jpg",
        np.zeros((3, 4, 3), np.uint8),
        None,
        b"GIF89a",
        photo,
    ]
    results = ask(labelling, "predict_batch", images)
    kinds = [result.code if isinstance(result, ItemError) else "" for result in results]
    assert kinds == [
        "",
        "invalid_image",
        "unreadable",
        "",
        "invalid_argument",
        "unsupported_media_type",
        "",
    ]
    assert [r.index for r in results if isinstance(r, ItemError)] == [1, 2, 4, 5]
    assert labelling.counts == [4]


def test_nothing_good_means_nothing_is_sent(ask: Ask, labelling: Labelling) -> None:
    assert ask(labelling, "predict_batch", []) == []
    (only,) = ask(labelling, "predict_batch", [b""])
    assert only == ItemError("invalid_image", "the bytes given: empty, 0 bytes", 0)
    assert labelling.counts == []


def test_requests_stay_small(
    ask: Ask, labelling: Labelling, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_batch, "MAX_BYTES", 3 * len(photo))
    results = ask(labelling, "predict_batch", [photo] * 5 + [photo * 9, photo])
    assert all(isinstance(result, Prediction) for result in results)
    assert labelling.counts == [3, 2, 1, 1]


@pytest.mark.parametrize(
    ("status", "code"), [(400, "too_many_images"), (413, "body_too_large"), (400, "invalid_image")]
)
def test_what_the_server_refuses_for_its_contents_is_halved(
    ask: Ask,
    labelling: Labelling,
    pictures_in: Parts,
    fake: Any,
    photo: bytes,
    status: int,
    code: str,
) -> None:
    def strict(request: httpx.Request) -> httpx.Response:
        files = pictures_in(request)
        if len(files) > 2 or files[0].endswith(b"damaged"):
            return fake.error(status, code)
        return labelling(request)

    images = [photo + bytes(extra) for extra in range(5)] + [photo + b"damaged"]
    results = ask(strict, "predict_batch", images)
    assert [int(r.label) for r in results[:5]] == [len(image) for image in images[:5]]
    assert isinstance(results[5], ItemError)
    assert results[5].index == 5


def test_what_fails_a_request_fails_the_call(ask: Ask, fake: Any, photo: bytes) -> None:
    with pytest.raises(OverloadedError):
        ask(lambda r: fake.error(503, "overloaded"), "predict_batch", [photo, photo])


@pytest.mark.parametrize(
    "images",
    [
        "photo.jpg",
        b"\xff\xd8\xff",
        Path("x.jpg"),
        io.BytesIO(),
        io.StringIO(),
        7,
        None,
        np.zeros((5, 7, 3), np.uint8),
        np.zeros((5, 7), np.uint8),
        Image.new("L", (2, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_lone_picture_is_not_a_list(ask: Ask, fake: Any, images: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="predict takes a lone one"):
        ask(fake, "predict_batch", images)


def test_an_array_of_pictures_is_a_list_of_them(ask: Ask, labelling: Labelling) -> None:
    assert len(ask(labelling, "predict_batch", np.zeros((5, 4, 4, 3), np.uint8))) == 5
    names = np.array(["/nowhere/a.jpg", "/nowhere/b.jpg"])
    assert [item.code for item in ask(labelling, "predict_batch", names)] == ["unreadable"] * 2


@pytest.mark.parametrize("code", ["too_many_images", "body_too_large"])
def test_a_limit_that_the_server_has_is_remembered(
    ask: Ask, labelling: Labelling, fake: Any, photo: bytes, pictures_in: Parts, code: str
) -> None:
    refused: list[int] = []

    def strict(request: httpx.Request) -> httpx.Response:
        files = pictures_in(request)
        if len(files) > 4:
            refused.append(len(files))
            answer: httpx.Response = fake.error(400, code)
            return answer
        return labelling(request)

    assert len(ask(strict, "predict_batch", [photo] * 64)) == 64
    assert refused == [16, 8, 8]
    assert max(labelling.counts) == 4


def test_a_generator_is_read_as_it_is_sent(ask: Ask, labelling: Labelling, photo: bytes) -> None:
    seen: list[int] = []

    def pictures() -> Iterator[bytes]:
        for _ in range(20):
            seen.append(len(labelling.counts))
            yield photo

    assert len(ask(labelling, "predict_batch", pictures())) == 20
    assert seen == [0] * 17 + [1] * 3
