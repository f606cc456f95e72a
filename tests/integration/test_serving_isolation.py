"""What some clients do is not noticed by the others: a seeded mixture, and the slow ones."""

import base64
import contextlib
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from support import Server, running
from traffic import BAD, ask, connect, head, numbers, png, read_answer, refusal, same

SEEDS = range(6)
QUERY = {"return_attention": "true", "attention_format": "f32", "top_k": "3"}
CONNECTIONS = 64
Numbers = dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    few = {"ATTNVGG_MAX_CONNECTIONS": str(CONNECTIONS)}
    with running(tiny_models, tmp_path_factory.mktemp("bentoml"), **few) as server:
        yield server


def raw(server: Server, seed: int) -> list[Numbers]:
    return [_one(ask(server, png(seed), **(QUERY if seed % 2 else {"top_k": "3"})))]


def files(server: Server, seed: int) -> list[Numbers]:
    parts = [("f", ("a", png(seed))), ("f", ("b", b"text")), ("f", ("c", png(seed + 1)))]
    answer = httpx.post(f"{server.url}/v1/predict", files=parts, params=QUERY, timeout=60)
    assert answer.status_code == 200, answer.text
    first, bad, second = answer.json()["predictions"]
    assert bad["error"]["code"] == "unsupported_media_type"
    return [numbers(first), numbers(second)]


def as_json(server: Server, seed: int) -> list[Numbers]:
    body = {"images": [base64.b64encode(png(seed)).decode()]}
    answer = httpx.post(f"{server.url}/v1/predict", json=body, params=QUERY, timeout=60)
    return [_one(answer)]


def tensors(server: Server, seed: int) -> list[Numbers]:
    pixels = np.random.default_rng(seed).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape}
    body = {"inputs": [{**tensor, "data": pixels.ravel().tolist()}]}
    answer = httpx.post(f"{server.url}/v2/models/tiny/infer", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return [{one["name"]: np.array(one["data"]) for one in answer.json()["outputs"]}]


def dripped(server: Server, seed: int) -> list[Numbers]:
    """A good request of a client that is slow."""
    body = png(seed)
    with connect(server) as slow:
        slow.sendall(head(len(body), Connection="close").replace(b"predict", b"predict?top_k=3"))
        for start in range(0, len(body), 1000):
            slow.sendall(body[start : start + 1000])
            time.sleep(0.05)
        answer = read_answer(slow)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return [numbers(json.loads(answer.split(b"\r\n\r\n", 1)[1])["predictions"][0])]


def _one(answer: httpx.Response) -> Numbers:
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    return numbers(prediction)


def bad(server: Server, seed: int) -> None:
    name = sorted(name for name in BAD if "60 MB" not in name)[seed % (len(BAD) - 2)]
    body, kind, status, code = BAD[name]
    assert refusal(ask(server, body, kind)) == (status, code)


def huge(server: Server, seed: int) -> None:
    """Refused by its Content-Length, while its body is still coming."""
    with connect(server) as upload:
        upload.sendall(head(60_000_000, Connection="close"))
        with contextlib.suppress(ConnectionError):
            upload.sendall(bytes(1_000_000))
            assert read_answer(upload).startswith(b"HTTP/1.1 413")


def late(server: Server, seed: int) -> None:
    answer = httpx.post(
        f"{server.url}/v1/predict",
        content=png(seed, side=1500),
        headers={"Content-Type": "image/png", "X-Timeout-Ms": "2"},
        timeout=60,
    )
    assert refusal(answer) == (504, "deadline_exceeded")


def gone_in_its_body(server: Server, seed: int) -> None:
    with connect(server) as leaving:
        leaving.sendall(head(50_000) + bytes(10_000))


def gone_while_it_waits(server: Server, seed: int) -> None:
    body = png(seed, side=1000)
    with connect(server) as leaving:
        leaving.sendall(head(len(body)) + body)


def no_http(server: Server, seed: int) -> None:
    with connect(server) as strange, contextlib.suppress(ConnectionError):
        strange.sendall(random.Random(seed).randbytes(300) + b"\r\n\r\n")
        read_answer(strange)


GOOD: list[Callable[[Server, int], list[Numbers]]] = [raw, files, as_json, tensors, dripped]
NOISE = [bad, huge, late, gone_in_its_body, gone_while_it_waits, no_http]


def test_every_good_request_in_a_mixture_gets_the_answer_it_gets_alone(server: Server) -> None:
    alone = {(visit, seed): visit(server, seed) for visit in GOOD for seed in SEEDS}
    order = random.Random(11)
    visits: list[Any] = [(visit, seed) for visit in GOOD for seed in SEEDS for _ in range(4)]
    visits += [(order.choice(NOISE), order.randrange(1000)) for _ in visits]
    order.shuffle(visits)

    def pay(one: Any) -> None:
        visit, seed = one
        found = visit(server, seed)
        for mine, expected in zip(found or [], alone.get(one, []), strict=True):
            same(mine, expected)

    with ThreadPoolExecutor(24) as clients:
        list(clients.map(pay, visits))


def test_idle_and_dripping_connections_give_way_to_those_that_ask(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(server)) for _ in range(4 * CONNECTIONS)]
        for one in crowd[::2]:
            with contextlib.suppress(ConnectionError):
                one.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(partial(ask, server), map(png, range(40))))
        assert {answer.status_code for answer in answers} == {200}
        assert sum(map(_is_open, crowd)) <= CONNECTIONS


def _is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_when_every_connection_is_busy_one_more_is_refused_in_the_documented_way(
    server: Server,
) -> None:
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(connect(server)) for _ in range(CONNECTIONS)]
        for one in busy:
            one.sendall(head(1000) + b"x")
        time.sleep(1)
        answer = httpx.get(f"{server.url}/v1/models")
    assert refusal(answer) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def drip(connection: socket.socket, seconds: float) -> bytes:
    """Sends a byte now and then until the server closes or the time is over; its answer."""
    connection.settimeout(0.2)
    answer, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection.sendall(b"x")
            received = connection.recv(65_536)
            if not received:
                return answer
            answer += received
        except TimeoutError:
            pass
        except ConnectionError:
            return answer
    raise AssertionError(f"still open after {seconds} s")


def test_who_drips_is_cut_off(server: Server) -> None:
    starts = {
        "head": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "body": head(1_000_000, X_Timeout_Ms="1000"),
        "body of a refused request": head(60_000_000),
    }
    with ThreadPoolExecutor(3) as clients, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(server)) for _ in starts]
        for connection, start in zip(slow, starts.values(), strict=True):
            connection.sendall(start)
        answers = dict(zip(starts, clients.map(lambda one: drip(one, 40), slow), strict=True))
    assert answers["head"] == b""
    assert b'"deadline_exceeded"' in answers["body"]
    assert b'"body_too_large"' in answers["body of a refused request"]


@pytest.mark.parametrize("line", [b"X-A: 1\r\n", b"X-Long: " + b"x" * 1_000_000])
def test_a_head_without_end_is_cut_off(server: Server, line: bytes) -> None:
    with connect(server) as connection, pytest.raises(ConnectionError):
        _send_lines(connection, line, 20_000_000 // len(line))
    assert ask(server, png(1)).status_code == 200


def _send_lines(connection: socket.socket, line: bytes, count: int) -> None:
    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n")
    for _ in range(count):
        connection.sendall(line)
        time.sleep(0)
