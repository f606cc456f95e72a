"""How a server ends, and how it goes on when one of its workers does, under load."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from attnvgg_client import Client
from support import Server, running
from traffic import connect, head, png, read_answer, workers

CLIENTS = 12
BODY = png(5, side=200)


class Load:
    """Clients on connections that they keep; a broken or refused one is counted and replaced."""

    def __init__(self, server: Server) -> None:
        self.answers: list[httpx.Response] = []
        self.refused = 0
        self.broken: list[str] = []
        self._url = f"{server.url}/v1/predict"
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]

    def _client(self) -> None:
        with httpx.Client(timeout=60, headers={"Content-Type": "image/png"}) as client:
            while not self._over.is_set():
                try:
                    self.answers.append(client.post(self._url, content=BODY))
                except httpx.ConnectError:
                    self.refused += 1
                    time.sleep(0.05)
                except httpx.TransportError as error:
                    self.broken.append(repr(error))

    def wait(self, more: int) -> None:
        """Until so many more requests have been answered."""
        goal = len(self.answers) + more
        while len(self.answers) < goal:
            time.sleep(0.01)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()


@contextmanager
def ending(server: Server) -> Iterator[Server]:
    """A ready server that the test ends; killed if it did not."""
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait(30)


@pytest.mark.parametrize(("number", "count"), [(signal.SIGTERM, "1"), (signal.SIGINT, "2")])
def test_a_signal_under_load_cuts_nobody_off(
    tiny_models: Path, tmp_path: Path, number: signal.Signals, count: str
) -> None:
    with (
        ending(Server(tiny_models, tmp_path, ATTNVGG_WORKERS=count)) as server,
        connect(server) as upload,
        Load(server).running() as load,
    ):
        upload.sendall(head(len(BODY)) + BODY[:1000])
        load.wait(100)
        server.process.send_signal(number)
        while not load.refused:
            time.sleep(0.01)
        # Refused at once: nobody hangs in the backlog of a server that is about to go.
        for path in ("/readyz", "/v1/models"):
            with pytest.raises(httpx.ConnectError):
                httpx.get(server.url + path, timeout=30)
        assert server.process.poll() is None
        upload.sendall(BODY[1000:])
        answer = read_answer(upload)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        assert server.process.wait(30) == 0
    assert {one.status_code for one in load.answers} == {200}
    assert load.broken == []
    assert any(one.headers.get("connection") == "close" for one in load.answers)
    assert "Traceback" not in server.log.read_text()


def test_the_end_is_not_later_than_the_deadline(tiny_models: Path, tmp_path: Path) -> None:
    """A body that never comes and a head that never ends hold the process no longer."""
    with (
        ending(Server(tiny_models, tmp_path, ATTNVGG_TIMEOUT_MS="3000")) as server,
        connect(server) as upload,
        connect(server) as idle,
    ):
        idle.sendall(b"GET /v1/models HTTP/1.1\r\nX-Slow: ")
        upload.sendall(head(len(BODY)) + BODY[:1000])
        time.sleep(0.5)
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert b'"deadline_exceeded"' in read_answer(upload)


def test_a_worker_that_goes_is_replaced_and_nobody_notices(
    tiny_models: Path, tmp_path: Path
) -> None:
    with running(tiny_models, tmp_path, ATTNVGG_WORKERS="2") as server:
        with Load(server).running() as load:
            load.wait(100)
            first, second = workers(server)
            os.kill(first, signal.SIGTERM)  # it drains; the other one goes on
            _wait_for_another(server, gone=first)
            load.wait(200)
        assert {one.status_code for one in load.answers} == {200}
        assert (load.broken, load.refused) == ([], 0)
        with Client(server.url) as client:
            _kill_under_load(server, client, second)


def _kill_under_load(server: Server, client: Client, worker: int) -> None:
    """What the killed worker held is lost, and the SDK sends it again."""
    killed, over = threading.Event(), threading.Event()
    labels: list[str] = []
    errors: list[Exception] = []

    def predict() -> None:
        try:
            while not over.is_set():
                labels.append(client.predict(BODY).label)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=predict) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for goal in (100, 300):
        while len(labels) < goal and not errors:
            time.sleep(0.01)
        if not killed.is_set():
            os.kill(worker, signal.SIGKILL)
            killed.set()
            _wait_for_another(server, gone=worker)
    over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(labels)) == 1


def _wait_for_another(server: Server, gone: int) -> None:
    """Two workers again, without the one that went."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = workers(server)
        if gone not in found and len(found) == 2:
            return
        time.sleep(0.05)
    raise AssertionError(f"still {workers(server)}; {gone} was to go and to be replaced")
