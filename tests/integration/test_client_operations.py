"""The SDK against a gateway as operators run it: keys, rates, deadlines, logs, a restart."""

import hashlib
import io
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from attnvgg_client import (
    AuthenticationError,
    Client,
    DeadlineError,
    NotFoundError,
    PermissionDeniedError,
    PictureRejectedError,
    RateLimitedError,
)
from support import RELEASED, Server, end, running

NAME = RELEASED.parent.name

pytestmark = pytest.mark.network


def line(name: str, *more: str) -> str:
    """A key is its name, in these tests."""
    return " ".join([name, "sha256:" + hashlib.sha256(name.encode()).hexdigest(), *more]) + "\n"


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two models, keys, and no trust in loopback."""
    home = tmp_path_factory.mktemp("bentoml")
    models = Path(shutil.copytree(tiny_models, home / "models"))
    shutil.copytree(RELEASED, models / NAME / RELEASED.name)
    (home / "keys").write_text(line("user") + line("slow", "rate=1"))
    settings = {"ATTNVGG_API_KEYS": str(home / "keys"), "ATTNVGG_TRUST_LOOPBACK": "false"}
    with running(models, home, **settings) as server:
        yield server


def png(width: int = 30, height: int = 20) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(stream, "PNG")
    return stream.getvalue()


def logged(server: Server, request_id: str | None) -> str:
    """The line of the log about a request, as soon as it is there."""
    assert request_id
    until = time.monotonic() + 30
    while not (found := re.search(rf".*{request_id}.*", server.log.read_text())):
        assert time.monotonic() < until, server.log.read_text()
        time.sleep(0.05)
    return found[0]


class Watched(httpx.BaseTransport):
    """The network, with a note of every attempt: when it was sent, when and how it was answered.

    It waits for the answer for longer than it was told, so that a server that gives up is heard.
    """

    def __init__(self) -> None:
        self._network = httpx.HTTPTransport()
        self.seen: list[tuple[float, float, httpx.Response]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), 60.0)
        sent = time.monotonic()
        answer = self._network.handle_request(request)
        answer.request = request
        self.seen.append((sent, time.monotonic(), answer))
        return answer

    def close(self) -> None:
        self._network.close()


def test_a_key_opens_the_door(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(server.url, api_key="user") as client:
        assert client.predict(png()).label in ("circle", "square", "triangle")
    monkeypatch.setenv("ATTNVGG_API_KEY", "user\n")
    with Client(server.url) as client:
        assert {model.name for model in client.models()} == {"tiny", NAME}


@pytest.mark.parametrize("key", [None, "nobody"])
def test_no_key_and_a_wrong_one_have_a_class_of_their_own(server: Server, key: str | None) -> None:
    with Client(server.url, api_key=key) as client:
        with pytest.raises(AuthenticationError) as refused:
            client.predict(png())
        assert client.health().ready  # a probe needs no key
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")
    assert "status=401" in logged(server, refused.value.request_id)
    assert "nobody" not in str(refused.value) + repr(client)
    assert not isinstance(refused.value, PermissionDeniedError)


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says(server: Server) -> None:
    network = Watched()
    with Client(server.url, api_key="slow", transport=network, max_retries=5) as client:
        while all(answer.status_code == 200 for _, _, answer in network.seen):
            client.models()
    pairs = list(zip(network.seen, network.seen[1:], strict=False))
    waits = [(one, other) for one, other in pairs if one[2].status_code == 429]
    assert waits
    for (_, answered, refusal), (sent, _, _) in waits:
        assert sent - answered >= float(refusal.headers["retry-after"]) >= 1
    assert network.seen[-1][2].status_code == 200


def test_without_retries_a_rate_limit_says_when_to_come_back(server: Server) -> None:
    with Client(server.url, api_key="slow", max_retries=0) as client:

        def ask_on_and_on() -> None:
            for _ in range(50):
                client.models()

        with pytest.raises(RateLimitedError) as limited:
            ask_on_and_on()
    assert limited.value.retry_after == 1
    assert "status=429" in logged(server, limited.value.request_id)


def test_the_deadline_travels_and_ends_the_work_at_the_server(server: Server) -> None:
    network = Watched()
    large = png(4900, 4900)  # a small file that takes long to decode
    with (
        Client(server.url, api_key="user", transport=network, max_retries=0) as client,
        pytest.raises(DeadlineError) as late,
    ):
        client.predict_batch([large] * 8, timeout=0.3)
    ((_, _, answer),) = network.seen
    assert 1 <= int(answer.request.headers["x-timeout-ms"]) <= 300
    assert (answer.status_code, answer.reason_phrase) == (504, "Gateway Timeout")
    assert "status=504" in logged(server, late.value.request_id)
    series = httpx.get(f"{server.url}/metrics", headers={"X-API-Key": "user"}).text
    assert re.search(r"^attnvgg.*deadline_exceeded.* [1-9]", series, re.M)


def test_an_error_has_the_id_under_which_the_log_knows_it(server: Server) -> None:
    with Client(server.url, api_key="user") as client:
        with pytest.raises(PictureRejectedError) as rejected:
            client.predict(png()[:60])
        found = client.predict(png())
    assert "invalid_image" in logged(server, rejected.value.request_id)
    assert str(rejected.value.request_id) in str(rejected.value)
    assert "status=200" in logged(server, found.request_id)


def test_a_model_by_its_name_and_version(server: Server) -> None:
    with Client(server.url, api_key="user") as client:
        assert client.predict(png()).model.name == "tiny"
        named = client.predict(png(), model=NAME, version=RELEASED.name, top_k=20)
        assert (named.model.name, named.model.version) == (NAME, RELEASED.name)
        assert len(named.top_k) == 10
        with pytest.raises(NotFoundError, match="model_not_found"):
            client.predict(png(), model=NAME, version="99")


def test_a_restart_in_between_is_not_noticed(server: Server) -> None:
    with Client(server.url, api_key="user", timeout=120, max_retries=100) as client:
        before = client.predict(png())  # and its connection stays open
        end(server.process)
        with ThreadPoolExecutor() as pool:
            after = pool.submit(client.predict, png())
            server.process = server.start()
            assert after.result().label == before.label
