"""Both clients against real sockets that misbehave."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from attnvgg_client import (
    APIConnectionError,
    DeadlineError,
    ProtocolError,
    RateLimitedError,
)

Ask = Callable[..., Any]
Start = Callable[..., Any]


@dataclass
class Scripted:
    """A TCP server: connection after connection gets the next of `script`, raw bytes each; a number
    in between is a pause in seconds. `requests` holds what arrived."""

    url: str
    requests: list[bytes] = field(default_factory=list)


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """scripted([bytes or seconds, ...], ...): one list a connection; the last one repeats."""
    stop, threads = threading.Event(), []
    sockets: list[socket.socket] = []

    def start(*scripts: Sequence[bytes | float]) -> Scripted:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.01)
        sockets.append(listener)
        server = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def serve() -> None:
            turn = 0
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                with connection:
                    server.requests.append(_read_request(connection))
                    _play(connection, scripts[min(turn, len(scripts) - 1)], stop)
                turn += 1

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return server

    yield start
    stop.set()
    for thread in threads:
        thread.join()
    for listener in sockets:
        listener.close()


def _read_request(connection: socket.socket) -> bytes:
    connection.settimeout(2)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _play(
    connection: socket.socket, script: Sequence[bytes | float], stop: threading.Event
) -> None:
    for step in script:
        if isinstance(step, float):
            stop.wait(step)
            continue
        try:
            connection.sendall(step)
        except OSError:
            return  # the client has left, as it should


def raw(response: httpx.Response, **headers: str) -> bytes:
    """A response as it looks on the wire, with any header replaced or, if empty, left out."""
    replaced = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {**dict(response.headers), "connection": "close", **replaced}
    lines = [f"HTTP/1.1 {response.status_code} Whatever"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([*lines, "", ""]).encode() + response.content


def test_a_good_answer_over_a_socket(ask: Ask, scripted: Start, fake: Any, photo: bytes) -> None:
    server = scripted([raw(fake.ok())])
    prediction = ask(server.url, "predict", photo, return_attention=True)
    assert abs(prediction.attention["conv10"].sum() - 1) < 1e-3
    assert server.requests[0].endswith(b"\r\n\r\n" + photo)


def test_busy_then_well(ask: Ask, scripted: Start, fake: Any, photo: bytes) -> None:
    limited = raw(fake.error(429, "rate_limited", Retry_After="0"))
    busy = raw(fake.error(503, "overloaded", Retry_After="1"))
    server = scripted([limited], [busy], [raw(fake.ok())])
    start = time.monotonic()
    assert ask(server.url, "predict", photo).label == "circle"
    assert 1 <= time.monotonic() - start < 2
    assert len(server.requests) == 3


def test_retry_after_beyond_the_deadline_is_not_waited_for(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    server = scripted([raw(fake.error(429, "rate_limited", Retry_After="60"))])
    start = time.monotonic()
    with pytest.raises(RateLimitedError) as caught:
        ask(server.url, "predict", photo, timeout=5)
    assert time.monotonic() - start < 1
    assert caught.value.retry_after == 60


def test_cut_off_in_the_middle_then_well(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    whole = raw(fake.ok())
    server = scripted([whole[: len(whole) // 2]], [b""], [whole])
    assert ask(server.url, "predict", photo).label == "circle"
    assert len(server.requests) == 3


def test_always_cut_off(ask: Ask, scripted: Start, fake: Any, photo: bytes) -> None:
    server = scripted([raw(fake.ok())[:-1]])
    with pytest.raises(APIConnectionError, match=r"cannot be reached: .*without sending complete"):
        ask(server.url, "predict", photo, client={"max_retries": 1})
    assert len(server.requests) == 2


def test_cut_off_without_a_length_to_notice_it_by(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    server = scripted([raw(fake.ok(), content_length="")[:-1]])
    with pytest.raises(ProtocolError, match="cut off"):
        ask(server.url, "predict", photo)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\x01\x02" * 50, b""])
def test_something_that_speaks_no_http(
    ask: Ask, scripted: Start, photo: bytes, garbage: bytes
) -> None:
    server = scripted([garbage])
    with pytest.raises(APIConnectionError):
        ask(server.url, "predict", photo, client={"max_retries": 0})


@pytest.mark.parametrize("length", ["0", "7", "999999", "-3", "1_0", "x"])
def test_a_wrong_json_length(
    ask: Ask, scripted: Start, fake: Any, photo: bytes, length: str
) -> None:
    server = scripted([raw(fake.ok(), inference_header_content_length=length)])
    with pytest.raises(ProtocolError):
        ask(server.url, "predict", photo)


def test_compressed_nonsense(ask: Ask, scripted: Start, photo: bytes) -> None:
    nonsense = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"
    server = scripted([nonsense])
    with pytest.raises(ProtocolError):
        ask(server.url, "predict", photo)


def test_a_silent_server_costs_the_timeout_and_no_more(
    ask: Ask, scripted: Start, photo: bytes
) -> None:
    server = scripted([5.0])
    start = time.monotonic()
    with pytest.raises(DeadlineError, match=r"no whole answer within 0\.2 s") as caught:
        ask(server.url, "predict", photo, timeout=0.2)
    assert time.monotonic() - start < 0.6
    assert caught.value.request_id
    assert isinstance(caught.value, TimeoutError)


def test_a_server_that_drips_costs_the_timeout_and_no_more(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    whole = raw(fake.ok())
    head, body = whole[:-500], whole[-500:]
    drops = [step for byte in body for step in (bytes([byte]), 0.02)]
    server = scripted([head, *drops])
    start = time.monotonic()
    with pytest.raises(DeadlineError):
        ask(server.url, "predict", photo, timeout=0.3)
    assert time.monotonic() - start < 0.7


def test_nobody_there(ask: Ask, photo: bytes) -> None:
    with pytest.raises(APIConnectionError, match=r"http://127.0.0.1:9 cannot be reached"):
        ask("http://127.0.0.1:9", "predict", photo, client={"max_retries": 1})


def test_a_flood_is_not_kept(ask: Ask, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnvgg_client._core.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        ask(lambda r: httpx.Response(200, content=bytes(5000)), "predict", "http://p/a.jpg")
