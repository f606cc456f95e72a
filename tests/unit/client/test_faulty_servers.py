"""Both clients against real sockets that misbehave."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx
import pytest

from attnvgg_client import (
    APIConnectionError,
    APIStatusError,
    AsyncClient,
    Client,
    DeadlineError,
    InvalidPictureError,
    PictureRejectedError,
    ProtocolError,
    RateLimitedError,
    _bounded,
    _early,
    _transport,
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
    """What arrives until the request is whole; less where the client leaves before."""
    connection.settimeout(2)
    data, length = b"", -1
    with suppress(OSError):
        while length < 0 or len(data) < length:
            block = connection.recv(65536)
            if not block:
                break
            data += block
            head, end, _ = data.partition(b"\r\n\r\n")
            if end and length < 0:
                lines = head.lower().split(b"\r\n")
                sizes = [line for line in lines if line.startswith(b"content-length:")]
                length = len(head) + 4 + (int(sizes[0].split(b":")[1]) if sizes else 0)
    return data


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


@pytest.mark.parametrize("value", ["60", "1" * 400, "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_retry_after_beyond_the_deadline_is_not_waited_for(
    ask: Ask, scripted: Start, fake: Any, photo: bytes, value: str
) -> None:
    server = scripted([raw(fake.error(429, "rate_limited", Retry_After=value))])
    start = time.monotonic()
    with pytest.raises(RateLimitedError) as caught:
        ask(server.url, "predict", photo, timeout=5)
    assert time.monotonic() - start < 1
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 60


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


def drips(data: bytes, seconds: float = 0.02) -> list[bytes | float]:
    return [step for byte in data for step in (bytes([byte]), seconds)]


def test_a_server_that_drips_its_headers_costs_the_timeout_and_no_more(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    server = scripted(drips(raw(fake.ok())))
    start = time.monotonic()
    with pytest.raises(DeadlineError, match=r"no whole answer within 0\.4 s"):
        ask(server.url, "predict", photo, timeout=0.4)
    assert time.monotonic() - start < 1


def test_so_does_one_that_sends_nothing_but_1xx_answers(
    ask: Ask, scripted: Start, photo: bytes
) -> None:
    server = scripted([b"HTTP/1.1 102 Processing\r\n\r\n", 0.02] * 200)
    start = time.monotonic()
    with pytest.raises(DeadlineError):
        ask(server.url, "predict", photo, timeout=0.4)
    assert time.monotonic() - start < 1


def test_1xx_answers_before_the_real_one_are_passed_over(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    noise = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    server = scripted([noise, 0.05, raw(fake.ok())])
    assert ask(server.url, "predict", photo).label == "circle"


def test_chunked_answers(ask: Ask, scripted: Start, fake: Any, photo: bytes) -> None:
    whole = raw(fake.ok(), content_length="", transfer_encoding="chunked")
    head, _, body = whole.partition(b"\r\n\r\n")
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    end = b"0\r\n\r\n"
    server = scripted([head + b"\r\n\r\n", *chunks, end], [head + b"\r\n\r\n", *chunks])
    assert ask(server.url, "predict", photo).label == "circle"
    with pytest.raises(APIConnectionError):
        ask(server.url, "predict", photo, client={"max_retries": 0})


def test_too_long_a_content_length_is_a_broken_connection(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    server = scripted([raw(fake.ok(), content_length="99999")])
    with pytest.raises(APIConnectionError):
        ask(server.url, "predict", photo, client={"max_retries": 0})


@pytest.mark.parametrize("length", ["10", "-1", "1e3", "12, 13"])
def test_too_short_or_senseless_a_content_length_gives_no_prediction(
    ask: Ask, scripted: Start, fake: Any, photo: bytes, length: str
) -> None:
    server = scripted([raw(fake.ok(), content_length=length)])
    with pytest.raises((APIConnectionError, ProtocolError)):
        ask(server.url, "predict", photo, client={"max_retries": 0})


def test_headers_without_end_are_not_kept(ask: Ask, scripted: Start, photo: bytes) -> None:
    server = scripted([b"HTTP/1.1 200 OK\r\nX-A: ", *[b"a" * 60_000] * 20])
    with pytest.raises(APIConnectionError):
        ask(server.url, "predict", photo, client={"max_retries": 0})


def test_a_redirect_is_not_followed_and_said(ask: Ask, scripted: Start, photo: bytes) -> None:
    answer = httpx.Response(307, headers={"location": "https://elsewhere/"})
    server = scripted([raw(answer)])
    with pytest.raises(APIStatusError, match="redirected to https://elsewhere/; redirects are not"):
        ask(server.url, "predict", photo)


@pytest.mark.parametrize(
    ("value", "longest"),
    [
        ("0", 0.5),
        ("-5", 0.5),
        ("soon", 0.5),
        ("\xff\xfe", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.5),
        ("1", 1.6),
    ],
)
def test_any_retry_after(
    ask: Ask, scripted: Start, fake: Any, photo: bytes, value: str, longest: float
) -> None:
    busy = raw(fake.error(429, "rate_limited"), Retry_After=value).replace(b"\xc3", b"")
    server = scripted([busy], [raw(fake.ok())])
    start = time.monotonic()
    assert ask(server.url, "predict", photo, timeout=20).label == "circle"
    assert time.monotonic() - start < longest + 0.5


@pytest.fixture
def early() -> Iterator[str]:
    """Reads a little of each request, answers 413 and closes; what it did not read becomes a
    reset."""
    listener = socket.create_server(("127.0.0.1", 0))
    problem = b'{"error": {"code": "body_too_large", "message": "at most 1 MB"}}'
    head = b"HTTP/1.1 413 Whatever\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(10_000)
                connection.sendall(head % len(problem) + problem)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def test_an_answer_before_the_request_was_read_is_the_servers_error(
    ask: Ask, early: str, photo: bytes
) -> None:
    with pytest.raises(PictureRejectedError, match="at most 1 MB"):
        ask(early, "predict", photo + bytes(20_000_000), client={"max_retries": 0})


def test_a_server_that_does_not_read_costs_the_timeout_and_no_more(ask: Ask, photo: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(DeadlineError):
            ask(url, "predict", photo + bytes(20_000_000), timeout=0.4)
        assert time.monotonic() - start < 1


def test_a_server_that_reads_slowly_costs_the_timeout_and_no_more(ask: Ask, photo: bytes) -> None:
    """Each read makes room for one more write; none of them waits as long as the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while connection.recv(200_000):
                    time.sleep(0.05)

        thread = threading.Thread(target=serve)
        thread.start()
        url, start = f"http://127.0.0.1:{listener.getsockname()[1]}", time.monotonic()
        with pytest.raises(DeadlineError):
            ask(url, "predict", photo + bytes(40_000_000), timeout=0.6)
        assert time.monotonic() - start < 1.6
        thread.join()


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_closed_while_it_lay_idle_is_replaced_without_a_word(
    fake: Any, photo: bytes, reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes after each answer and says nothing of it; nothing is retried."""
    # Without this look at the socket the client walks into the closed connection every time, as it
    # otherwise does only when the server closes at that very moment.
    monkeypatch.setattr("httpcore._sync.http11.HTTP11Connection.has_expired", lambda self: False)
    monkeypatch.setattr("httpcore._async.http11.AsyncHTTP11Connection.has_expired", lambda s: False)
    accepted = 0
    answer = raw(fake.ok(), connection="keep-alive")

    def serve() -> None:
        nonlocal accepted
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted += 1
            with connection:
                _read_request(connection)
                connection.sendall(answer)
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    time.sleep(0.02)  # a reset overtakes what is under way

    async def awaited(url: str) -> None:
        async with AsyncClient(url, max_retries=0) as client:
            for _ in range(3):
                assert (await client.predict(photo)).label == "circle"
                await asyncio.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, max_retries=0) as client:
            for _ in range(3):
                assert client.predict(photo).label == "circle"
                time.sleep(0.05)
        asyncio.run(awaited(url))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert accepted == 6


def test_a_fresh_connection_that_breaks_is_a_failure_and_counts(
    ask: Ask, scripted: Start, fake: Any, photo: bytes
) -> None:
    server = scripted([b""])
    with pytest.raises(APIConnectionError):
        ask(server.url, "predict", photo, client={"max_retries": 0})
    assert len(server.requests) == 1


def test_fetching_a_picture_is_bounded_as_a_whole(ask: Ask, scripted: Start) -> None:
    slow = scripted(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + bytes(9000)))
    around = scripted([0.1, raw(httpx.Response(302, headers={"location": "/a.jpg"}))])
    for server in (slow, around):
        start = time.monotonic()
        with pytest.raises(InvalidPictureError, match=r"127\.0\.0\.1:\d+/a.jpg: "):
            ask("http://127.0.0.1:9", "predict", f"{server.url}/a.jpg?sig=secret", timeout=0.35)
        assert time.monotonic() - start < 1


def test_all_addresses_of_a_name_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, float | None]] = []

    class Swallowing(httpcore.NetworkBackend):
        def connect_tcp(self, host: str, port: int, timeout: Any = None, *_: Any) -> Any:
            tried.append((host, timeout))
            time.sleep(timeout)
            raise httpcore.ConnectTimeout("nothing came back")

    found = [(0, 0, 0, "", (f"10.0.0.{last}", 80)) for last in (1, 2, 3, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    start = time.monotonic()
    with pytest.raises(httpcore.ConnectTimeout), _bounded.until(start + 0.3, None):
        _bounded.Backend(Swallowing()).connect_tcp("name", 80, timeout=5)
    assert [host for host, _ in tried] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert 0.25 < time.monotonic() - start < 0.6


@pytest.mark.parametrize(
    ("client", "transport", "kind", "wrap"),
    [
        (httpx.Client, httpx.MockTransport, httpcore.NetworkBackend, _bounded.Backend),
        (httpx.AsyncClient, httpx.MockTransport, httpcore.AsyncNetworkBackend, _early.Backend),
    ],
)
def test_the_streams_are_under_every_pool_proxies_included(
    client: Any, transport: Any, kind: type, wrap: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notices when httpx moves what _transport.bind looks for."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    real = client()
    assert _transport.bind(real, kind, wrap)
    mounted = [transport for transport in real._mounts.values() if transport is not None]
    assert mounted
    for each in [real._transport, *mounted]:
        assert isinstance(each._pool._network_backend, wrap)
    mock = client(transport=transport(lambda request: httpx.Response(200)))
    assert not _transport.bind(mock, kind, wrap)


def test_requests_go_through_a_proxy(scripted: Start, fake: Any, photo: bytes) -> None:
    proxy = scripted([raw(fake.ok())])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HTTP_PROXY", proxy.url)
        with Client("http://server.test:1234") as client:
            assert client.predict(photo).label == "circle"
    assert proxy.requests[0].startswith(b"POST http://server.test:1234/v1/predict?")


def test_a_closed_client_says_so(photo: bytes) -> None:
    client = Client()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.predict(photo)
    closed = AsyncClient()

    async def main() -> None:
        await closed.close()
        await closed.predict(photo)

    with pytest.raises(RuntimeError, match="this client is closed"):
        asyncio.run(main())
