"""predict_many: any number of pictures, in order, bounded, and nothing left running."""

import asyncio
import gc
import io
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, suppress
from typing import Any

import httpx
import pytest

from attnvgg_client import (
    AsyncClient,
    Client,
    InvalidArgumentError,
    ItemError,
    OverloadedError,
    ServerError,
    _many,
)

Ask = Callable[..., Any]
Parts = Callable[[httpx.Request], list[bytes]]


class Labelling:
    """Answers each picture with its own size, so that order shows; one at a time is `turn`."""

    def __init__(self, fake: Any, parts: Parts) -> None:
        self.counts: list[int] = []
        self.most = self._now = 0
        self._fake, self._parts, self._lock = fake, parts, threading.Lock()
        fake.binary = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        files = self._parts(request)
        with self._lock:
            self.counts.append(len(files))
            self._now += 1
            self.most = max(self.most, self._now)
            answer, _ = self._fake.body(None, len(files))
        for file, item in zip(files, answer["predictions"], strict=True):
            item["label"] = str(len(file))
            if file.endswith(b"damaged"):
                item.clear()
                item["error"] = {"code": "invalid_image", "message": "damaged"}
        time.sleep(0.01)
        with self._lock:
            self._now -= 1
        return httpx.Response(200, json=answer)


@pytest.fixture
def labelling(fake: Any, pictures_in: Parts, monkeypatch: pytest.MonkeyPatch) -> Labelling:
    monkeypatch.setattr(_many, "LINGER", 60)  # a busy machine must not change the chunks
    return Labelling(fake, pictures_in)


@pytest.fixture(params=["sync", "async", "async iterable"])
def many(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """All results, and the error that ended them: many(handler, images, client={...}, ...)."""

    def collect(handler: Any, images: Any, *, client: Any = None, **options: Any) -> Any:
        given = {"transport": httpx.MockTransport(handler), **(client or {})}
        found: list[Any] = []
        try:
            if request.param == "sync":
                with Client(**given) as blocking:
                    found += blocking.predict_many(images, **options)
            else:
                asyncio.run(awaited(given, images, found, options))
        except Exception as error:
            return found, error
        return found, None

    async def awaited(given: Any, images: Any, found: list[Any], options: Any) -> None:
        async def slowly() -> AsyncIterator[Any]:
            for image in images:
                await asyncio.sleep(0)
                yield image

        async with AsyncClient(**given) as client:
            source = slowly() if request.param == "async iterable" else images
            async for result in client.predict_many(source, **options):
                found.append(result)
            assert len(asyncio.all_tasks()) == 1

    return collect


def labels(results: list[Any]) -> list[int]:
    return [int(result.label) for result in results]


def test_results_come_in_order_whatever_the_chunks(
    many: Ask, labelling: Labelling, photo: bytes
) -> None:
    images = [photo + bytes(extra) for extra in range(150)]
    results, error = many(labelling, iter(images), concurrency=3)
    assert error is None
    assert labels(results) == [len(image) for image in images]
    assert max(labelling.counts) == 16
    assert [labelling.counts.count(size) for size in (4, 8, 16)] == [3, 3, 7]
    assert jobs() == 0


def test_bad_pictures_have_their_errors_in_their_places(
    many: Ask, labelling: Labelling, photo: bytes
) -> None:
    images = [photo] * 30
    images[9] = photo + b"damaged"
    wrong: list[Any] = [*images, None, "/nowhere.jpg", io.StringIO("x"), photo]
    results, error = many(labelling, wrong)
    assert error is None
    bad = [(r.index, r.code) for r in results if isinstance(r, ItemError)]
    assert bad == [
        (9, "invalid_image"),
        (30, "invalid_argument"),
        (31, "unreadable"),
        (32, "invalid_argument"),
    ]
    assert len(results) == 34


@pytest.mark.parametrize(
    ("number", "concurrency", "chunks"),
    [(20, 4, [5, 5, 5, 5]), (3, 4, [1, 1, 1]), (70, 4, [9] * 7 + [7]), (1, 1, [1]), (0, 4, [])],
)
def test_few_pictures_are_spread_over_the_requests(
    labelling: Labelling, photo: bytes, number: int, concurrency: int, chunks: list[int]
) -> None:
    with Client(transport=httpx.MockTransport(labelling)) as client:
        assert len(list(client.predict_many([photo] * number, concurrency=concurrency))) == number
    assert sorted(labelling.counts, reverse=True) == chunks


def test_requests_overlap_and_no_more_of_them_than_allowed(
    labelling: Labelling, photo: bytes
) -> None:
    with Client(transport=httpx.MockTransport(labelling)) as client:
        assert len(list(client.predict_many([photo] * 200, concurrency=3))) == 200
    assert 2 <= labelling.most <= 3


def test_pictures_are_read_no_further_ahead_than_the_window(
    labelling: Labelling, photo: bytes
) -> None:
    read = 0

    def pictures() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield photo

    with (
        Client(transport=httpx.MockTransport(labelling)) as client,
        closing(client.predict_many(pictures(), concurrency=2)) as results,  # type: ignore[type-var]
    ):
        assert read == 0, "nothing is read before the first result is wanted"
        ahead = []
        for done, _ in enumerate(itertools.islice(results, 300), 1):
            ahead.append(read - done)
    assert max(ahead) <= (2 + 1) * 16
    assert ahead[0] < 4 + 4 + 8


def test_a_slow_source_gets_its_results_as_it_goes(
    labelling: Labelling, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_many, "LINGER", 0.01)
    read: list[int] = []

    def camera() -> Iterator[bytes]:
        for number in range(6):
            time.sleep(0.06)
            read.append(number)
            yield photo

    with Client(transport=httpx.MockTransport(labelling)) as client:
        behind = [len(read) - done for done, _ in enumerate(client.predict_many(camera()), 1)]
    assert labelling.counts == [1] * 6
    assert max(behind) <= 2


def test_a_failed_request_raises_after_the_results_before_it(
    many: Ask, labelling: Labelling, fake: Any, photo: bytes, pictures_in: Parts
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if any(len(file) == len(photo) + 40 for file in pictures_in(request)):
            return httpx.Response(500)
        return labelling(request)

    images = [photo + bytes(extra) for extra in range(200)]
    results, error = many(handler, images, concurrency=2)
    assert isinstance(error, ServerError)
    assert labels(results) == [len(image) for image in images[: len(results)]]
    assert 40 - 16 < len(results) <= 40
    assert sum(labelling.counts) < 200


def test_what_was_answered_inside_the_failing_chunk_is_not_lost(
    many: Ask, labelling: Labelling, photo: bytes, pictures_in: Parts
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        files = pictures_in(request)
        if len(files) > 2:
            return httpx.Response(400, json={"error": {"code": "too_many_images", "message": ""}})
        return labelling(request) if len(files[0]) < len(photo) + 4 else httpx.Response(500)

    results, error = many(handler, [photo + bytes(n) for n in range(8)], concurrency=1)
    assert isinstance(error, ServerError)
    assert labels(results) == [len(photo) + n for n in range(4)]


def test_an_error_of_the_iterable_comes_after_the_results_before_it(
    many: Ask, labelling: Labelling, photo: bytes
) -> None:
    def pictures() -> Iterator[bytes]:
        for extra in range(10):
            yield photo + bytes(extra)
        raise LookupError("the shelf is empty")

    results, error = many(labelling, pictures())
    assert isinstance(error, LookupError)
    assert labels(results) == [len(photo) + extra for extra in range(10)]


def test_a_server_with_a_lower_limit_is_asked_too_much_only_a_few_times(
    many: Ask, labelling: Labelling, fake: Any, photo: bytes, pictures_in: Parts
) -> None:
    refused = 0

    def strict(request: httpx.Request) -> httpx.Response:
        nonlocal refused
        if len(pictures_in(request)) > 4:
            refused += 1
            return httpx.Response(400, json={"error": {"code": "too_many_images", "message": "m"}})
        return labelling(request)

    results, error = many(strict, [photo] * 300, concurrency=1)
    assert (len(results), error) == (300, None)
    assert refused <= 3
    assert max(labelling.counts) == 4


def test_a_busy_server_slows_all_requests_down_and_ends_none(
    many: Ask,
    labelling: Labelling,
    fake: Any,
    photo: bytes,
    pictures_in: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After its refusal of the second request the server expects quiet from the others, too."""
    refused: list[float] = []
    told, early, lock = 0.4, 0, threading.Lock()

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal early
        if pictures_in(request)[0] == photo:
            time.sleep(0.1)
            return labelling(request)
        with lock:
            if not refused:
                refused.append(time.monotonic())
                refusal: httpx.Response = fake.error(503, "overloaded")
                return refusal
            early += 0.05 < time.monotonic() - refused[0] < told
        return labelling(request)

    monkeypatch.setattr("attnvgg_client._responses.retry_after", lambda reply: told)
    images = [photo, *[photo + b"x"] * 63]
    results, error = many(handler, images, concurrency=2, client={"max_retries": 1})
    assert (len(results), error) == (64, None)
    assert early == 0


def test_patience_ends_with_the_timeout_or_is_not_wanted(
    many: Ask, fake: Any, photo: bytes
) -> None:
    asked = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        refusal: httpx.Response = fake.error(503, "overloaded")
        return refusal

    start = time.monotonic()
    results, error = many(handler, [photo], timeout=1.5, client={"max_retries": 1})
    assert (results, type(error)) == ([], OverloadedError)
    assert time.monotonic() - start < 15  # its own patience would be a minute
    assert asked > 3
    asked = 0
    results, error = many(handler, [photo], client={"max_retries": 0})
    assert (asked, type(error)) == (1, OverloadedError)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ("photo.jpg", {}, "predict takes a lone one"),
        (7, {}, "images is a int; it must be a list"),
        ([], {"concurrency": 0}, "concurrency is 0; it must be 1 or more"),
        ([], {"concurrency": True}, "concurrency is True"),
        ([], {"progress": "yes"}, "progress is 'yes'; it must be True, False or a function"),
        ([], {"top_k": 0}, "top_k is 0"),
        ([], {"timeout": -1}, "timeout is -1"),
    ],
)
def test_arguments_are_checked_at_the_call(images: Any, options: Any, message: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidArgumentError, match=message):
            kind().predict_many(images, **options)


def test_the_progress_function_hears_of_each_result(
    many: Ask, labelling: Labelling, photo: bytes, request: pytest.FixtureRequest
) -> None:
    heard: list[Any] = []
    many(labelling, [photo] * 5, progress=lambda done, total: heard.append((done, total)))
    total = None if "iterable" in request.node.name else 5
    assert heard == [(done, total) for done in range(1, 6)]


def test_the_progress_bar_is_ended_even_if_the_loop_is_left(
    labelling: Labelling, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Client(transport=httpx.MockTransport(labelling)) as client:
        for _ in client.predict_many([photo] * 9, progress=True):
            break
    drawn = terminal.getvalue()
    assert drawn.startswith("\r0/9")
    assert "1/9" in drawn
    assert drawn.endswith("\n")


# What follows needs connections that wait: a server that never answers.


@pytest.fixture
def silent(fake: Any) -> Iterator[str]:
    """A server that answers the picture that ends in "first", and leaves all others waiting."""
    listener, connections = socket.create_server(("127.0.0.1", 0)), []
    answer = answer_for_one(fake)

    def serve(connection: socket.socket) -> None:
        data = b""
        with suppress(OSError):  # a client that leaves may reset its connection
            while block := connection.recv(2**20):
                data += block
                if data.endswith(b"first"):
                    connection.sendall(answer)
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                connections.append(listener.accept()[0])
                threading.Thread(target=serve, args=connections[-1:]).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    accepting.join()
    for connection in (listener, *connections):
        connection.close()


def jobs() -> int:
    """Threads of ours that are alive."""
    return sum(thread.name == "attnvgg-client" for thread in threading.enumerate())


def answer_for_one(fake: Any) -> bytes:
    response = fake.ok(None)
    lines = [f"{name}: {value}" for name, value in response.headers.items()]
    head = ["HTTP/1.1 200 OK", *lines, "Connection: close", "", ""]
    content: bytes = response.content
    return "\r\n".join(head).encode() + content


def test_leaving_the_loop_ends_requests_under_way(silent: str, photo: bytes) -> None:
    start = time.monotonic()
    with Client(silent) as client:
        for _ in client.predict_many([photo + b"first", photo, photo, photo]):
            assert jobs() == 3
            break
        assert jobs() == 0
    assert time.monotonic() - start < 5


def test_leaving_ends_the_pause_that_a_server_asked_for(fake: Any, photo: bytes) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        first = request.content.endswith(b"first")
        answer: httpx.Response = (
            fake.ok(None) if first else fake.error(503, "overloaded", retry_after="25")
        )
        return answer

    start = time.monotonic()
    with Client(transport=httpx.MockTransport(handler)) as client:
        for _ in client.predict_many([photo + b"first", photo, photo], timeout=60):
            time.sleep(0.1)
            assert jobs() == 2
            break
    assert jobs() == 0
    assert time.monotonic() - start < 5


def test_ctrl_c_ends_requests_under_way(silent: str) -> None:
    script = f"""
import os, signal, threading, time
from attnvgg_client import Client
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    with Client({silent!r}) as client:
        list(client.predict_many([b"\\xff\\xd8\\xff"] * 50))
except KeyboardInterrupt:
    alive = [thread.name for thread in threading.enumerate()]
    print("interrupted", alive.count("attnvgg-client"), time.monotonic() - start < 5)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert run.stdout == "interrupted 0 True\n", run.stderr


def test_a_program_may_end_with_results_unread(silent: str) -> None:
    script = f"""
from attnvgg_client import Client
client = Client({silent!r})
results = client.predict_many([b"\\xff\\xd8\\xff first"] + [b"\\xff\\xd8\\xff"] * 3)
print(next(results).label, flush=True)
"""
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.returncode, run.stderr) == ("circle\n", 0, "")
    assert time.monotonic() - start < 15


def test_async_leaving_closing_and_cancelling_leave_no_task(silent: str, photo: bytes) -> None:
    images = [photo + b"first", photo, photo, photo]

    async def tasks(count: int) -> bool:
        """Whether there come to be so many; a busy machine takes its time."""
        deadline = time.monotonic() + 10
        while len(asyncio.all_tasks()) != count and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return len(asyncio.all_tasks()) == count

    async def main() -> None:
        async with AsyncClient(silent) as client:
            async for _ in client.predict_many(images):
                assert await tasks(4)
                break
            gc.collect()
            assert await tasks(1)
            async with aclosing(client.predict_many(images[1:])) as results:  # type: ignore[type-var]
                waiting = asyncio.ensure_future(anext(results))
                assert await tasks(5)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert len(asyncio.all_tasks()) == 1

    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 30
