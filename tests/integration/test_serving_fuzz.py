"""Raw bytes at the real server's port: an answer as documented or a closed connection, no more."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnvgg_serving.errors import all_wire_errors
from support import Server, running
from traffic import ask, connect, png, workers

BODY = png(1)
LINES = [
    b"POST /v1/predict?top_k=2 HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Content-Type: image/png\r\n",
    b"Connection: close\r\n",
    b"Content-Length: %d\r\n" % len(BODY),
]
STATUSES = {kind.status for kind in all_wire_errors().values()} | {200}


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tiny_models, tmp_path_factory.mktemp("bentoml")) as server:
        yield server


def talk(server: Server, data: bytes) -> bytes:
    """Everything that the server answers before it closes, or before nothing more comes."""
    answer = b""
    with connect(server) as connection, contextlib.suppress(OSError):
        connection.sendall(data)
        connection.settimeout(0.5)
        while received := connection.recv(65_536):
            answer += received
    return answer


def check(answer: bytes) -> None:
    if not answer:
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status in STATUSES, answer
    if b"text/plain" in head:  # uvicorn's own: what came was no HTTP
        assert status == 400
    elif status != 200:
        error = json.loads(body.split(b"\r\n", 1)[-1] if b"chunked" in head else body)["error"]
        assert all_wire_errors()[error["code"]].status == status


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.sampled_from(["cut", "repeat", "overwrite", "swap", "insert"]), min_size=1, max_size=3
    ),
    st.randoms(use_true_random=False),
    st.binary(min_size=1, max_size=12),
)
def test_broken_requests_get_a_documented_outcome(
    server: Server, edits: list[str], random: Random, noise: bytes
) -> None:
    lines = list(LINES)
    for edit in edits:
        at = random.randrange(len(lines))
        if edit == "cut":
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
        elif edit == "repeat":
            lines.insert(at, lines[at])
        elif edit == "overwrite":
            lines[at] = noise + lines[at][len(noise) :]
        elif edit == "swap":
            lines.append(lines.pop(at))
        else:
            lines.insert(at, noise + b": " + noise + b"\r\n")
    check(talk(server, b"".join(lines) + b"\r\n" + BODY))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=300))
def test_noise_gets_a_documented_outcome(server: Server, noise: bytes) -> None:
    check(talk(server, noise + b"\r\n\r\n"))


def test_the_same_worker_still_answers(server: Server) -> None:
    before = workers(server)
    assert ask(server, BODY).status_code == 200
    assert workers(server) == before
    assert "Traceback" not in server.log.read_text()
