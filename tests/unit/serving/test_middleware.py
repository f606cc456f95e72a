"""Keys, rates, origins and headers at the application's edge, in process."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from attnvgg_serving.errors import RateLimited, StartError
from attnvgg_serving.http import access
from attnvgg_serving.http import app as http
from attnvgg_serving.http.access import Door
from attnvgg_serving.keys import Key, require_admin
from attnvgg_serving.settings import Settings, load

FAR, NEAR = "203.0.113.9", "127.0.0.1"
ORIGIN = "https://app.example"


def line(name: str, *more: str) -> str:
    """A key is its name, in these tests."""
    return " ".join([name, "sha256:" + hashlib.sha256(name.encode()).hexdigest(), *more]) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(line("user") + line("admin", "admin") + line("slow", "rate=2"))
    return file


Ask = Callable[..., httpx.Response]


def asking(**settings: Any) -> Ask:
    """Asks an application with these settings for a page that says whose key it saw."""

    async def whose(request: Request) -> Response:
        return JSONResponse(request.state.key)

    async def administer(request: Request) -> Response:
        require_admin(request)
        return JSONResponse("done")

    app = http.create()
    app.router.routes[:0] = [
        Route("/whose", whose, methods=["GET", "POST"]),
        Route("/do", administer),
    ]
    http.guard(app, Settings(**settings))

    def ask(path: str = "/whose", peer: str = FAR, method: str = "GET", **headers: str) -> Any:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app, client=(peer, 1))
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                return await client.request(method, path, headers=named)

        return asyncio.run(send())

    return ask


def test_without_a_key_file_everybody_comes_in_and_nobody_administers() -> None:
    ask = asking()
    assert ask().json() is None
    assert ask(Authorization="Bearer nonsense").status_code == 200
    refused = ask("/do", peer=NEAR)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert "attnvgg-serve key NAME --admin" in refused.json()["error"]["message"]
    assert "ATTNVGG_API_KEYS" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer user"},
        {"Authorization": "bearer  user"},
        {"X_API_Key": "user"},
        {"X_API_Key": "user", "Authorization": "Bearer user"},
    ],
)
def test_a_key_comes_in(file: Path, headers: dict[str, str]) -> None:
    assert asking(api_keys=file)(**headers).json() == "user"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nobody"},
        {"Authorization": "Basic user"},
        {"Authorization": "Bearer "},
        {"X_API_Key": ""},
        {"X_API_Key": "user", "Authorization": "Bearer admin"},
    ],
)
@pytest.mark.parametrize("path", ["/whose", "/metrics", "/nothing", "/v1/predict", "/schema.json"])
def test_who_has_none_stays_out(file: Path, path: str, headers: dict[str, str]) -> None:
    answer = asking(api_keys=file)(path, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]


def test_v2_refuses_in_its_own_words(file: Path) -> None:
    answer = asking(api_keys=file)("/v2/models/x")
    assert answer.status_code == 401
    assert answer.json()["error"].startswith("unauthorized: ")


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/web/page.js", "/v2/health/live"])
def test_what_must_be_open_is(file: Path, path: str) -> None:
    assert asking(api_keys=file)(path).status_code == 200


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_loopback_needs_no_key(file: Path, peer: str) -> None:
    ask = asking(api_keys=file)
    assert ask(peer=peer).json() is None
    assert ask(peer=peer, X_API_Key="user").json() == "user"
    assert ask(peer=peer, X_API_Key="nobody").status_code == 401
    assert asking(api_keys=file, trust_loopback=False)(peer=peer).status_code == 401


@pytest.mark.parametrize("header", access.FORWARDED)
@pytest.mark.parametrize("value", ["127.0.0.1", FAR, ""])
def test_a_proxy_on_loopback_is_not_its_clients(file: Path, header: str, value: str) -> None:
    assert asking(api_keys=file)(peer=NEAR, **{header: value}).status_code == 401


@pytest.mark.parametrize("client", [None, ("testclient", 1), ("", 0)])
def test_a_peer_without_an_address_is_not_loopback(client: tuple[str, int] | None) -> None:
    assert not access.is_local({"type": "http", "headers": [], "client": client}, httpx.Headers())  # type: ignore[arg-type]


def test_administering_needs_an_admin_key_on_loopback_too(file: Path) -> None:
    ask = asking(api_keys=file)
    nobody = ask("/do", peer=NEAR)
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    assert ask("/do", peer=NEAR, X_API_Key="user").status_code == 403
    assert ask("/do", X_API_Key="admin").json() == "done"


def test_a_key_with_a_rate_is_limited_and_no_other(file: Path) -> None:
    ask = asking(api_keys=file)
    assert [ask(X_API_Key="slow").status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(X_API_Key="slow")
    assert refused.json()["error"]["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1
    assert [ask(X_API_Key="user").status_code for _ in range(5)] == [200] * 5


def test_the_bucket_fills_again_and_no_further_than_its_rate() -> None:
    door = Door(None, True)
    key = Key("slow", b"", rate=2)

    def spent(now: float) -> int:
        for count in range(100):
            try:
                door._spend(key, 2, now)
            except RateLimited:
                return count
        raise AssertionError("there is no limit")

    assert spent(10.0) == 2
    assert spent(10.4) == 0
    assert spent(10.5) == 1
    assert spent(1000.0) == 2


def test_cross_origin_is_off_by_default() -> None:
    answer = asking()(Origin=ORIGIN)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_named_origins_may_call(file: Path) -> None:
    ask = asking(api_keys=file, cors_origins=ORIGIN)
    preflight = ask(
        method="OPTIONS",
        Origin=ORIGIN,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, x-api-key, x-timeout-ms, content-type",
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["x-request-id"]
    answer = ask(Origin=ORIGIN)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, ORIGIN)
    exposed = answer.headers["access-control-expose-headers"]
    for name in ("X-Request-ID", "Retry-After", "Inference-Header-Content-Length"):
        assert name in exposed
    assert "access-control-allow-credentials" not in answer.headers


def test_other_origins_may_not() -> None:
    ask = asking(cors_origins=ORIGIN)
    assert "access-control-allow-origin" not in ask(Origin="https://evil.example").headers
    refused = ask(
        method="OPTIONS", Origin="https://evil.example", Access_Control_Request_Method="GET"
    )
    assert refused.status_code == 400
    assert (
        asking(cors_origins="*")(Origin="https://any").headers["access-control-allow-origin"] == "*"
    )


@pytest.mark.parametrize(
    "value",
    ["app.example", "https://app.example/", "https://app.example,", "ftp://a", "https://*", "null"],
)
def test_what_is_no_origin_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ATTNVGG_CORS_ORIGINS", value)
    with pytest.raises(StartError, match="is no origin; it must be like https://"):
        load()


def test_a_refused_request_is_not_read(file: Path) -> None:
    app = http.create()
    http.guard(app, Settings(api_keys=file))

    async def call() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("the body was read")

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "query_string": b""}
        await app({**scope, "headers": [], "client": (FAR, 1)}, receive, send)
        return sent

    assert asyncio.run(call())[0]["status"] == 401


def test_a_line_says_who_asked_for_what(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    ask = asking(api_keys=file)
    with caplog.at_level(logging.INFO):
        ask(X_API_Key="user", X_Request_ID="find-me")
        ask("/no%0athing", X_API_Key="admin", traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
        ask("/v2/health/live")
    found = [record.fields for record in caplog.records if record.name.endswith(".requests")]  # type: ignore[attr-defined]
    assert [(each["route"], each["status"], each["key"]) for each in found] == [
        ("/whose", 200, "user"),
        ("other", 404, "admin"),
    ]
    assert found[0]["request_id"] == "find-me"
    assert found[0]["bytes_out"] == len(json.dumps("user"))
    assert (found[1]["code"], found[1]["trace_id"]) == ("not_found", "ab" * 16)
