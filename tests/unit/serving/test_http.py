"""Requests' ids, errors and deadlines, and the promises of the OpenAPI document, in process."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from attnvgg_serving import errors
from attnvgg_serving.errors import DeadlineExceeded, InvalidRequest
from attnvgg_serving.http import app as http
from attnvgg_serving.http.deadline import budget_ms, while_connected, within
from attnvgg_serving.http.openapi import document


def get(path: str, **headers: str) -> httpx.Response:
    async def broken(request: Request) -> Response:
        raise RuntimeError("secret detail")

    async def ask() -> httpx.Response:
        app = http.create()
        app.router.routes.append(Route("/broken", broken))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "trace/1:2=3"])
def test_a_request_id_comes_back(given: str) -> None:
    answer = get("/openapi.json", **{"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "two words", 'quote"', "a<b>"])
def test_a_request_id_that_could_do_harm_is_replaced(given: str) -> None:
    answer = get("/openapi.json", **{"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


def test_an_unexpected_exception_is_json_and_keeps_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = get("/broken", **{"X-Request-ID": "find-me"})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["code"], error["request_id"]) == ("internal", "find-me")
    assert "secret" not in answer.text
    assert "request find-me failed" in caplog.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "not_found"),
        ("/v1/models/", 404, "not_found"),
        ("/web/../service.py", 404, "not_found"),
        ("/web/%2e%2e/service.py", 404, "not_found"),
        ("/v1/predict", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods_are_json(path: str, status: int, code: str) -> None:
    answer = get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_refused_method_is_told_the_allowed_one() -> None:
    assert get("/v1/predict").headers["allow"] == "POST"


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    found = errors.all_wire_errors()
    assert len(found) == len(errors.WireError.__subclasses__())
    assert errors.__doc__ is not None
    for code, kind in found.items():
        assert f"{kind.__name__} " in errors.__doc__
        assert f"{kind.status} {code}" in errors.__doc__
        assert ("Retry-After" in kind.headers) == (kind.status in (429, 503))


def test_the_openapi_document_resolves_and_names_the_options() -> None:
    text = json.dumps(document())
    schemas = document()["components"]["schemas"]
    references = {piece.split('"')[0] for piece in text.split("#/components/schemas/")[1:]}
    assert references <= set(schemas)
    predict = document()["paths"]["/v1/predict"]["post"]
    names = {parameter["name"] for parameter in predict["parameters"]}
    assert {"return_attention", "top_k", "attention_format", "model", "version"} < names
    assert {"400", "404", "413", "415", "500", "503", "504"} < set(predict["responses"])


def _request(messages: Any = (), **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    waiting = iter(messages)

    async def receive() -> Message:
        for message in waiting:
            return {"type": message}
        await asyncio.sleep(10)
        raise AssertionError

    return Request({"type": "http", "headers": raw}, receive)


def test_a_client_may_shorten_the_time_and_not_lengthen_it() -> None:
    assert budget_ms(_request(), 500) == 500
    assert budget_ms(_request(x_timeout_ms="20"), 500) == 20
    assert budget_ms(_request(x_timeout_ms="9000"), 500) == 500


@pytest.mark.parametrize("value", ["0", "-5", "soon", "1.5", "9" * 5000])
def test_a_timeout_must_be_a_number(value: str) -> None:
    with pytest.raises(InvalidRequest, match="X-Timeout-Ms is"):
        budget_ms(_request(x_timeout_ms=value), 500)


def test_the_deadline_cancels_what_is_inside() -> None:
    async def story() -> None:
        async with within(20) as until:
            assert until > time.monotonic()
            await asyncio.sleep(10)

    with pytest.raises(DeadlineExceeded, match="longer than 20 ms"):
        asyncio.run(story())


def test_work_is_cancelled_when_the_client_goes_away() -> None:
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def story() -> None:
        with pytest.raises(ClientDisconnect):
            await while_connected(_request(["http.disconnect"]), work())
        await asyncio.sleep(0)

    asyncio.run(story())
    assert cancelled == [True]


def test_somebody_else_who_cancels_is_heard() -> None:
    """The deadline, while the client is still there, and after it went away."""

    async def story(messages: list[str]) -> None:
        async with within(60):
            await while_connected(_request(messages), asyncio.sleep(10))

    with pytest.raises(DeadlineExceeded):
        asyncio.run(story([]))
    with pytest.raises(ClientDisconnect):
        asyncio.run(story(["http.disconnect"]))


def test_work_that_ends_gives_its_result_or_its_error() -> None:
    async def works() -> int:
        return 3

    async def fails() -> int:
        raise InvalidRequest("no")

    async def story() -> None:
        assert await while_connected(_request(), works()) == 3
        with pytest.raises(InvalidRequest):
            await while_connected(_request(), fails())

    asyncio.run(story())


def test_serving_never_imports_torch() -> None:
    code = (
        "import sys, attnvgg_serving.service, attnvgg_serving.check;"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'attnvgg_training')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
