"""What only HTTP has: the JSON, the header of its length, and other servers at the URL."""

from typing import Any

import httpx
import numpy as np
import pytest

from attnvgg_client import NotFoundError, ProtocolError, ServerError, UnavailableError

PIXELS = np.zeros((6, 8, 3), np.uint8)
URL = {"url": "triton+http://server/behind/a/proxy"}


class Changed:
    """The stand-in with answers to inferences changed; takes away the proxy's path."""

    def __init__(self, triton: Any, change: Any) -> None:
        self.triton, self.change = triton, change

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        assert path.startswith("/behind/a/proxy/v2/")
        request.url = request.url.copy_with(path=path.removeprefix("/behind/a/proxy"))
        found: httpx.Response = self.triton(request)
        return self.change(found) if path.endswith("/infer") else found  # type: ignore[no-any-return]


def cut(response: httpx.Response) -> httpx.Response:
    return httpx.Response(200, headers=response.headers, content=response.content[:-1])


def longer(response: httpx.Response) -> httpx.Response:
    headers = {
        "Inference-Header-Content-Length": response.headers["inference-header-content-length"]
    }
    return httpx.Response(200, headers=headers, content=response.content + b"?")


def mislabelled(response: httpx.Response) -> httpx.Response:
    headers = {"Inference-Header-Content-Length": "99999"}
    return httpx.Response(200, headers=headers, content=response.content)


def of_another_size(response: httpx.Response) -> httpx.Response:
    content = response.content.replace(b'"shape": [1, 4]', b'"shape": [1, 5]')
    headers = {
        "Inference-Header-Content-Length": response.headers["inference-header-content-length"]
    }
    return httpx.Response(200, headers=headers, content=content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "cut off"),
        (longer, "has 1 bytes that belong to no tensor"),
        (mislabelled, "inference-header-content-length is '99999'"),
        (of_another_size, r"probabilities, FP32 \[1, 5\], came with 16 bytes"),
        (lambda r: httpx.Response(200, text="hello"), "the answer is no JSON"),
        (lambda r: httpx.Response(200, json={"outputs": []}), "model_version is missing"),
    ],
)
def test_a_broken_answer_is_a_protocol_error(
    ask: Any, triton: Any, change: Any, message: str
) -> None:
    assert ask(Changed(triton, lambda r: r), "predict", PIXELS, client=URL).label == "ant"
    with pytest.raises(ProtocolError, match=message) as caught:
        ask(Changed(triton, change), "predict", PIXELS, client=URL)
    assert caught.value.request_id == triton.asked[-1].id


def test_something_else_answers(ask: Any) -> None:
    client = {"url": "triton+http://server"}
    with pytest.raises(NotFoundError, match="the server answered '<html>'"):
        ask(lambda r: httpx.Response(404, text="<html>"), "predict", PIXELS, client=client)
    with pytest.raises(NotFoundError):
        ask(lambda r: httpx.Response(404), "health", client=client)
    moved = httpx.Response(302, headers={"Location": "http://elsewhere"})
    with pytest.raises(ServerError, match="redirected to http://elsewhere"):
        ask(lambda r: moved, "models", client=client)
    with pytest.raises(ProtocolError, match="the answer: models is dict, not list"):
        ask(lambda r: httpx.Response(200, json={"a": 1}), "models", client=client)


def test_a_proxy_before_triton_is_asked_again(ask: Any, triton: Any) -> None:
    answers = [httpx.Response(502), httpx.Response(503, headers={"Retry-After": "0"})]

    def handler(request: httpx.Request) -> httpx.Response:
        return answers.pop() if answers else triton(request)

    assert ask(handler, "predict", PIXELS, client={"url": "triton+http://s"}).label == "ant"
    with pytest.raises(UnavailableError):
        ask(lambda r: httpx.Response(502), "predict", PIXELS, client={"url": "triton+http://s"})
    found = ask(lambda r: httpx.Response(502), "health", client={"url": "triton+http://s"})
    assert not found.ready


def test_names_are_quoted(ask: Any, triton: Any) -> None:
    paths = []

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(404, json={"error": "Request for unknown model: 'x' is not found"})

    with pytest.raises(NotFoundError):
        ask(handler, "predict", PIXELS, model="a/../b?c", client={"url": "triton+http://s"})
    assert paths == [b"/v2/models/a%2F..%2Fb%3Fc-encoded/config"]
