"""Keys against the real process: who comes in, who administers, and what a refusal costs."""

import hashlib
import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support import Server, end, running

pytestmark = pytest.mark.network


def line(name: str, *more: str) -> str:
    """A key is its name, in these tests."""
    return " ".join([name, "sha256:" + hashlib.sha256(name.encode()).hexdigest(), *more]) + "\n"


KEYS = line("user") + line("admin", "admin") + line("slow", "rate=1")


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Loopback is not trusted, so that these tests are strangers."""
    home = tmp_path_factory.mktemp("bentoml")
    keys = home / "keys"
    keys.write_text(KEYS)
    settings = {"ATTNVGG_API_KEYS": str(keys), "ATTNVGG_TRUST_LOOPBACK": "false"}
    with running(tiny_models, home, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def trusting(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Loopback is trusted, and uvicorn believes every X-Forwarded-For."""
    home = tmp_path_factory.mktemp("bentoml")
    keys = home / "keys"
    keys.write_text(KEYS)
    settings = {"ATTNVGG_API_KEYS": str(keys), "FORWARDED_ALLOW_IPS": "*"}
    settings |= {"ATTNVGG_CORS_ORIGINS": "https://app.example"}
    with running(tiny_models, home, **settings) as server:
        yield server


def ask(
    server: Server, path: str, key: str | None = None, method: str = "GET", **headers: str
) -> int:
    if key is not None:
        headers["X-API-Key"] = key
    return httpx.request(method, server.url + path, headers=headers).status_code


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/metrics", "GET"),
        ("/v1/models", "GET"),
        ("/v1/predict", "POST"),
        ("/v2", "GET"),
        ("/v2/models/tiny", "GET"),
        ("/v2/repository/models/tiny/unload", "POST"),
        ("/schema.json", "GET"),
        ("/docs.json", "GET"),
    ],
)
def test_a_stranger_needs_a_key(server: Server, path: str, method: str) -> None:
    assert ask(server, path, method=method) == 401
    assert ask(server, path, "nobody", method=method) == 401
    assert ask(server, path, "user", method=method) != 401


@pytest.mark.parametrize(
    "path",
    ["/", "/web/page.js", "/livez", "/readyz", "/healthz", "/openapi.json", "/v2/health/ready"],
)
def test_probes_and_the_page_need_none(server: Server, path: str) -> None:
    answer = httpx.get(server.url + path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "bentoml" not in str(answer.headers).lower()


def test_a_refused_upload_is_not_kept_and_its_connection_lives_on(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/v1/predict", bytes(5_000_000), {"Content-Type": "image/png"})
    first = connection.sock
    refused = connection.getresponse()
    assert (refused.status, refused.getheader("WWW-Authenticate")) == (401, "Bearer")
    refused.read()
    connection.request("GET", "/v1/models", headers={"Authorization": "Bearer user"})
    assert connection.getresponse().status == 200
    assert connection.sock is first
    connection.close()


def test_only_an_administrator_unloads_and_loads(server: Server, trusting: Server) -> None:
    path = "/v2/repository/models/tiny/load"
    assert ask(server, path, "user", "POST") == 403
    assert ask(server, path, "admin", "POST") == 200
    assert ask(trusting, path, None, "POST") == 401
    assert ask(trusting, path, "user", "POST") == 403
    assert ask(trusting, path, "admin", "POST") == 200


def test_a_rate_is_kept(server: Server) -> None:
    answers = [
        httpx.get(f"{server.url}/v1/models", headers={"X-API-Key": "slow"}) for _ in range(20)
    ]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.status_code for answer in answers} == {200, 429}
    assert refused[0].json()["error"]["code"] == "rate_limited"
    assert refused[0].headers["retry-after"] == "1"


def test_keys_come_and_go_while_it_runs(server: Server) -> None:
    keys = server.log.parent / "keys"
    new = keys.with_name("new")
    new.write_text(KEYS + line("late"))
    new.replace(keys)
    assert eventually(server, "late", 200)
    keys.write_text(KEYS + "nonsense\n")
    time.sleep(1.1)
    assert ask(server, "/v1/models", "late") == 200  # a wrong file changes nothing
    assert "line 4: " in server.log.read_text()
    keys.write_text(KEYS)
    assert eventually(server, "late", 401)


def eventually(server: Server, key: str, status: int) -> bool:
    until = time.monotonic() + 30
    while ask(server, "/v1/models", key) != status:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def test_no_key_is_in_the_log(server: Server) -> None:
    assert ask(server, "/v1/models", "a-key-of-nobody") == 401
    assert ask(server, "/v1/models", "user") == 200
    log = server.log.read_text()
    assert "key=user" in log
    assert "a-key-of-nobody" not in log
    assert hashlib.sha256(b"user").hexdigest() not in log


def test_loopback_is_trusted_where_it_speaks_for_itself(trusting: Server) -> None:
    assert ask(trusting, "/v1/models") == 200
    assert ask(trusting, "/metrics") == 200
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert ask(trusting, "/v1/models", None, "GET", **{header: "127.0.0.1"}) == 401
        assert ask(trusting, "/metrics", None, "GET", **{header: "127.0.0.1"}) == 401


def test_a_page_of_a_named_origin_may_ask(trusting: Server) -> None:
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight = httpx.options(f"{trusting.url}/v1/predict", headers=headers)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    other = httpx.get(f"{trusting.url}/v1/models", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_wrong_key_file_stops_the_start(tiny_models: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEYS + "mallory sha256:1234\n")
    server = Server(tiny_models, tmp_path, ATTNVGG_API_KEYS=str(keys))
    try:
        assert server.process.wait(120) != 0
    finally:
        end(server.process)
    log = server.log.read_text()
    assert "line 4: 'mallory' needs sha256:" in log
    assert "Traceback" not in log
