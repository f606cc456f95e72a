"""Both clients against a scripted transport: what they send and what they make of the answer."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from attnvgg_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    DeadlineError,
    InvalidArgumentError,
    InvalidPictureError,
    NotFoundError,
    PictureRejectedError,
    ProtocolError,
    UnavailableError,
)

Ask = Callable[..., Any]


class Recorder:
    """A transport's handler that keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        return answer(request) if callable(answer) else answer


def test_a_picture_is_the_body_and_the_options_are_the_query(
    ask: Ask, fake: Any, photo: bytes, query: Any
) -> None:
    handler = Recorder(fake.ok())
    prediction = ask(
        handler,
        "predict",
        photo,
        return_attention=True,
        top_k=2,
        attention_format="f32",
        model="tiny",
        version="1",
        client={"api_key": "k", "url": "http://server/prefix/"},
    )
    (request,) = handler.requests
    assert request.method == "POST"
    assert request.url.path == "/prefix/v1/predict"
    assert query(request) == {
        "return_attention": "true",
        "top_k": "2",
        "attention_format": "f32",
        "model": "tiny",
        "version": "1",
    }
    assert request.content == photo
    assert request.headers["content-type"] == "image/jpeg"
    assert request.headers["accept"].startswith("application/octet-stream")
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["user-agent"].startswith("attnvgg-python/")
    assert len(request.headers["x-request-id"]) == 32
    assert 0 < int(request.headers["x-timeout-ms"]) <= 30_000
    assert prediction.attention["conv10"].shape == (8, 8)


def test_every_kind_of_picture_gets_through(ask: Ask, fake: Any, photo: bytes) -> None:
    for image in (photo, memoryview(photo), np.zeros((30, 40, 3), np.uint8)):
        assert ask(fake, "predict", image).label == "circle"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top_k is 0; it must be 1 or more"),
        ({"top_k": 2.0}, "top_k is 2.0"),
        ({"attention_format": "f8"}, "attention_format is 'f8'; it must be one of f16, f32, u8"),
        ({"model": ""}, "model is ''"),
        ({"version": 1}, "version is 1"),
        ({"timeout": -1}, "timeout is -1"),
    ],
)
def test_bad_arguments_fail_before_anything_is_sent(
    ask: Ask, photo: bytes, arguments: dict[str, Any], message: str
) -> None:
    handler = Recorder()
    with pytest.raises(InvalidArgumentError, match=message):
        ask(handler, "predict", photo, **arguments)
    with pytest.raises(InvalidPictureError, match="is no picture"):
        ask(handler, "predict", object())
    assert handler.requests == []


def test_errors_of_the_server_become_exceptions(ask: Ask, fake: Any, photo: bytes) -> None:
    with pytest.raises(PictureRejectedError, match="about image_too_large") as caught:
        ask(lambda r: fake.error(413, "image_too_large"), "predict", photo)
    assert (caught.value.status, caught.value.code) == (413, "image_too_large")
    assert caught.value.request_id == "r-2"
    with pytest.raises(AuthenticationError):
        ask(lambda r: fake.error(401, "unauthorized"), "models")


def test_a_protocol_error_knows_its_request(ask: Ask, photo: bytes) -> None:
    handler = Recorder(httpx.Response(200, text="hello"))
    for verb, arguments in (("predict", [photo]), ("models", [])):
        with pytest.raises(ProtocolError, match="no JSON") as caught:
            ask(handler, verb, *arguments)
        assert caught.value.request_id == handler.requests[-1].headers["x-request-id"]


def test_an_item_error_for_a_lone_picture_is_raised(ask: Ask, fake: Any, photo: bytes) -> None:
    with pytest.raises(PictureRejectedError, match="damaged"):
        ask(lambda r: fake.ok("f16", 1, bad=[0]), "predict", photo)


def test_models(ask: Ask, fake: Any) -> None:
    (model,) = ask(fake, "models")
    assert (model.name, model.version, model.default) == ("tiny", "1", True)
    assert model.labels == ("circle", "square", "triangle")
    assert model.levels == ("conv7", "conv10", "conv13", "fused")


def test_health(ask: Ask, fake: Any) -> None:
    assert ask(fake, "health").ready
    handler = Recorder(fake.error(503, "engine_unavailable", retry_after="9"))
    found = ask(handler, "health")
    assert not found.ready
    assert "about engine_unavailable" in found.detail
    assert len(handler.requests) == 1
    with pytest.raises(NotFoundError):
        ask(lambda r: httpx.Response(404), "health")


def test_waiting_until_ready(ask: Ask, fake: Any) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    starting = fake.error(503, "engine_unavailable")
    handler = Recorder(refuse, starting, httpx.Response(200))
    assert ask(handler, "wait_until_ready", 5) is None
    assert len(handler.requests) == 3

    def never(request: httpx.Request) -> httpx.Response:
        time.sleep(1)
        raise httpx.ReadTimeout("", request=request)

    # The last attempt is cut short by the end of the wait; the reason is the one before it.
    with pytest.raises(DeadlineError, match=r"not ready within 1 s: .*about engine_unav"):
        ask(Recorder(starting, never), "wait_until_ready", 1)
    with pytest.raises(NotFoundError):
        ask(lambda r: httpx.Response(404), "wait_until_ready", 5)


def test_busy_servers_are_asked_again(ask: Ask, fake: Any, photo: bytes) -> None:
    handler = Recorder(fake.error(503, "overloaded"), httpx.Response(502), fake.ok())
    assert ask(handler, "predict", photo).label == "circle"
    first, *others = handler.requests
    assert all(other.content == first.content for other in others)
    handler = Recorder(httpx.Response(502))
    with pytest.raises(UnavailableError):
        ask(handler, "predict", photo, client={"max_retries": 1})
    assert len(handler.requests) == 2


def test_a_url_is_fetched_here_and_the_key_stays_home(ask: Ask, fake: Any, photo: bytes) -> None:
    moved = httpx.Response(302, headers={"Location": "/b.jpg?sig=1"})
    handler = Recorder(moved, httpx.Response(200, content=photo), fake.ok())
    prediction = ask(
        handler, "predict", "http://pictures/a.jpg?sig=secret", client={"api_key": "k"}
    )
    first, second, asked = handler.requests
    assert str(first.url) == "http://pictures/a.jpg?sig=secret"
    assert str(second.url) == "http://pictures/b.jpg?sig=1"
    assert "authorization" not in first.headers
    assert "authorization" not in second.headers
    assert asked.content == photo
    assert prediction._source.place == photo


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(404), "http://p/a.jpg: the answer has status 404"),
        (httpx.Response(200, text="<html>"), "http://p/a.jpg: an HTML or XML page"),
        (
            httpx.Response(302, headers={"Location": "file:///etc/passwd"}),
            "redirected to something",
        ),
        (httpx.Response(302, headers={"Location": "/again"}), "status 302"),
    ],
)
def test_a_url_that_gives_no_picture(ask: Ask, answer: httpx.Response, message: str) -> None:
    with pytest.raises(InvalidPictureError, match=message) as caught:
        ask(lambda r: answer, "predict", "http://p/a.jpg?sig=secret")
    assert "secret" not in str(caught.value)


def test_one_client_serves_many_threads(fake: Any, photo: bytes) -> None:
    labels: list[str] = []
    with Client(transport=httpx.MockTransport(fake)) as client:
        threads = [
            threading.Thread(target=lambda: labels.append(client.predict(photo).label))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert labels == ["circle"] * 8


def test_async_calls_overlap_and_can_be_cancelled(fake: Any, photo: bytes) -> None:
    waiting = 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal waiting
        waiting += 1
        while waiting < 4:  # none answers before all have asked
            await asyncio.sleep(0.001)
        return fake.ok()

    async def together() -> None:
        nonlocal waiting
        async with AsyncClient(transport=httpx.MockTransport(slow)) as client:
            await asyncio.gather(*(client.predict(photo) for _ in range(4)))
            waiting = 0
            task = asyncio.create_task(client.predict(photo))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(together())
