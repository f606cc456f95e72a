"""gRPC on both sides of a fork: what goes on working, and what refuses instead of hanging.

The server is a process of its own, for gRPC's servers cannot be forked at all.
"""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from attnvgg_client import AsyncClient, Client

pytest.importorskip("tritonclient.grpc")
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # From Python 3.12 on a fork warns where there are threads, which is what is tested here.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

PIXELS = np.zeros((6, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import conftest\n"
        "with conftest.grpc_server(conftest.FakeTriton()) as url:\n"
        "    print(url, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, os.path.dirname(__file__)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate(timeout=20)


def in_a_child(work: Callable[[], str]) -> str:
    """What `work` says in a forked process, or that it hung."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe()

    def run() -> None:
        try:
            its.send(work())
        except Exception as error:
            its.send(f"{type(error).__name__}: {error}")

    child = context.Process(target=run)
    child.start()
    try:
        return str(mine.recv()) if mine.poll(20) else "nothing: it hangs"
    finally:
        child.join(5)
        child.kill()
        child.join()


def test_a_child_may_use_its_parents_client(url: str) -> None:
    """Also one whose threads go on asking. Not in the middle of a call: gRPC skips its fork
    handlers then, and on a busy machine a child was seen to hang in gRPC."""
    stop, labels, calling = threading.Event(), set(), threading.Lock()

    def keep_asking() -> None:
        while not stop.is_set():
            with calling:
                labels.add(client.predict(PIXELS).label)
            time.sleep(0.001)  # or the other thread would never get the lock

    def forked() -> str:
        with calling:
            return in_a_child(lambda: client.predict(PIXELS).label)

    with Client(url) as client:
        thread = threading.Thread(target=keep_asking)
        thread.start()
        try:
            said = [forked() for _ in range(4)]
        finally:
            stop.set()
            thread.join()
        assert said == ["ant"] * 4
        assert labels == {"ant"}
        assert client.predict(PIXELS).label == "ant"


def test_asyncio_refuses_before_it_hangs(url: str) -> None:
    async def ask() -> str:
        async with AsyncClient(url) as client:
            return (await client.predict(PIXELS)).label

    def blocking() -> str:
        with Client(url) as client:
            return client.predict(PIXELS).label

    assert asyncio.run(ask()) == "ant"
    said = in_a_child(lambda: asyncio.run(ask()))
    assert said.startswith("InvalidArgumentError: url is 'grpc://")
    assert "forked" in said
    assert in_a_child(blocking) == "ant"
    assert asyncio.run(ask()) == "ant"
