"""One client, many threads, forks and event loops: over real sockets, connections counted."""

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from attnvgg_client import AsyncClient, Client

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    # Python 3.12 and later warn of a fork beside threads, which is what is tested.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
PICTURE = b"\xff\xd8\xff"


class Counting:
    """A keep-alive server that answers each picture with its length as the label; one that ends in
    "slow" only when `go` is set. connections: how many were accepted."""

    def __init__(self, answer: Callable[[int], bytes]) -> None:
        self.connections, self.go, self.asked = 0, threading.Event(), threading.Event()
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while line := stream.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = stream.read(length)
                if body.endswith(b"slow"):
                    self.asked.set()
                    self.go.wait(20)
                connection.sendall(self._answer(length))

    def close(self) -> None:
        self.go.set()
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()


@pytest.fixture
def server(fake: Any) -> Iterator[Counting]:
    fake.binary = False

    def answer(length: int) -> bytes:
        content: bytes = fake.ok(None).content.replace(b'"circle"', b'"%d"' % length)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)

    counting = Counting(answer)
    yield counting
    counting.close()


def ask(client: Client, length: int) -> None:
    """Asks about a picture of so many bytes, and expects the answer to that."""
    found = client.predict(PICTURE.ljust(length, b"."))
    if found.label != str(length):
        raise ValueError(f"the answer to {length} is {found.label}")


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked child that does this; it is killed after a while."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(10)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_threads_share_a_client_its_connections_and_no_answers(server: Counting) -> None:
    wrong: list[Exception] = []

    def hammer(first: int) -> None:
        try:
            for length in range(first, first + 50):
                ask(client, length)
        except Exception as error:
            wrong.append(error)

    with Client(server.url) as client:
        threads = [threading.Thread(target=hammer, args=(100 * n + 10,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert 1 <= server.connections <= 12


def test_a_forked_child_gets_connections_of_its_own(server: Counting) -> None:
    with Client(server.url) as client:
        ask(client, 10)
        assert server.connections == 1

        def child() -> None:
            for length in range(20, 30):
                ask(client, length)

        assert in_child(child) == 0
        assert server.connections == 2
        ask(client, 30)
        assert server.connections == 2, "the parent's connection is as it was"


def test_a_fork_in_the_middle_of_a_request_of_another_thread(server: Counting) -> None:
    answers: list[str] = []
    with Client(server.url) as client:
        ask(client, 10)
        slow = PICTURE + b"slow"
        thread = threading.Thread(target=lambda: answers.append(client.predict(slow).label))
        thread.start()
        assert server.asked.wait(10)
        assert in_child(lambda: ask(client, 20)) == 0
        assert in_child(client.close) == 0
        server.go.set()
        thread.join()
        ask(client, 30)
    assert answers == ["7"]


def _worker(length: int) -> None:
    ask(_SHARED[0], length)


_SHARED: list[Client] = []


def test_multiprocessing_with_fork(server: Counting) -> None:
    with Client(server.url) as client:
        ask(client, 10)
        _SHARED[:] = [client]
        with multiprocessing.get_context("fork").Pool(3) as pool:
            pool.map(_worker, range(20, 60))
        ask(client, 11)
    assert 2 <= server.connections <= 4


def test_a_child_that_leaves_predict_many_does_not_end_the_parents_requests(
    server: Counting,
) -> None:
    images = [PICTURE + bytes(1), *[PICTURE + bytes(n) + b"slow" for n in (1, 2, 3)]]
    with Client(server.url, max_retries=0) as client:
        results: Any = client.predict_many(images)
        assert next(results).label == "4"
        assert server.asked.wait(10)
        assert in_child(results.close) == 0
        server.go.set()
        assert [result.label for result in results] == ["8", "9", "10"]


def test_an_async_client_in_one_loop_after_the_other(server: Counting) -> None:
    client = AsyncClient(server.url)
    for length in (10, 20, 30):

        async def twice(length: int = length) -> list[str]:
            images = [PICTURE.ljust(length, b".")] * 2
            return [(await client.predict(image)).label for image in images]

        assert asyncio.run(twice()) == [str(length)] * 2
    assert server.connections == 3, "reused in the same loop"


def test_an_async_client_in_two_loops_at_once(server: Counting) -> None:
    client, labels = AsyncClient(server.url), []

    async def many(first: int) -> None:
        found = [await client.predict(PICTURE.ljust(first + n, b".")) for n in range(20)]
        labels.append([int(each.label) - first for each in found])

    threads = [threading.Thread(target=asyncio.run, args=(many(n * 100),)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labels == [list(range(20))] * 3
    assert server.connections == 3


def test_an_async_client_after_a_fork(server: Counting) -> None:
    client = AsyncClient(server.url)

    async def once(length: int) -> None:
        assert (await client.predict(PICTURE.ljust(length, b"."))).label == str(length)

    async def parent() -> None:
        await once(10)
        assert in_child(lambda: asyncio.run(once(20))) == 0
        await once(30)

    asyncio.run(parent())
    assert server.connections == 2


def test_a_loop_that_is_thrown_away_leaves_no_connections_behind(server: Counting) -> None:
    """Many loops, closed without ceremony: only the last one's connection may be open."""
    script = f"""
import asyncio, os
from attnvgg_client import AsyncClient
client = AsyncClient({server.url!r})
for _ in range(30):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.predict(b"\\xff\\xd8\\xff"))
    loop.close()
print(len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0)
"""
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 20
    assert time.monotonic() - start < 30
