"""The process: bad input at small cost, isolation, overload, SIGTERM, and when not to start."""

import base64
import io
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from support import Server, running

GROWTH_MB = 150
READ_MEMORY = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="no /proc to read the server's memory from"
)


def peak_mb(server: Server) -> int:
    """The most memory that the workers ever had."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in _children(server.process.pid)]
    peaks = [re.search(r"VmHWM:\s+(\d+)", status) for status in statuses]
    return sum(int(peak[1]) for peak in peaks if peak) // 1024


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tiny_models, tmp_path_factory.mktemp("bentoml")) as server:
        assert ask(server, png(0)).status_code == 200
        yield server


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found += [child, *_children(child)]
    return found


def png(seed: int, side: int = 40) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return save(Image.fromarray(pixels), "PNG")


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def ask(server: Server, body: Any, kind: str = "image/png", **query: Any) -> httpx.Response:
    headers = {"Content-Type": kind}
    url = f"{server.url}/v1/predict"
    return httpx.post(url, content=body, headers=headers, params=query, timeout=60)


def chunks(size: int) -> Iterator[bytes]:
    """Sent without a Content-Length."""
    for _ in range(0, size, 100_000):
        yield bytes(100_000)


def many_files(count: int, size: int) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x", files=[("f", ("n", bytes(size)))] * count)
    return request.read(), request.headers["content-type"]


BOMB = save(Image.new("1", (20_000, 20_000)), "PNG")
WEBP_BOMB = save(Image.new("L", (16_383, 1600)), "WEBP", lossless=True, quality=0, method=0)
CUT = save(Image.effect_noise((300, 300), 60), "JPEG")[:9000]
BAD = {
    "text": (b"no picture at all", "image/jpeg", 415, "unsupported_media_type"),
    "empty": (b"", "image/jpeg", 400, "invalid_image"),
    "truncated": (CUT, "image/jpeg", 400, "invalid_image"),
    "header only": (CUT[:20], "image/jpeg", 400, "invalid_image"),
    "20000 x 20000": (BOMB, "image/png", 413, "image_too_large"),
    "webp bomb": (WEBP_BOMB, "image/webp", 413, "image_too_large"),
    "gif": (save(Image.new("P", (9, 9)), "GIF"), "image/png", 415, "unsupported_media_type"),
    "60 MB": (bytes(60_000_000), "image/jpeg", 413, "body_too_large"),
    "60 MB of files": (*many_files(6, 10_000_000), 413, "body_too_large"),
    "wrong type": (png(1), "text/plain", 415, "unsupported_media_type"),
    "pickle": (b"\x80\x04.", "application/vnd.bentoml+pickle", 415, "unsupported_media_type"),
    "65 files": (*many_files(65, 10), 400, "too_many_images"),
    "json of text": (b'{"images": ["****"]}', "application/json", 400, "invalid_image"),
    "json of urls": (b'{"images": "http://x/"}', "application/json", 400, "invalid_request"),
    "cut json": (b'{"images": [', "application/json", 400, "invalid_request"),
    "deep json": (b"[" * 1_000_000, "application/json", 400, "invalid_request"),
}


def test_the_bombs_are_small() -> None:
    assert len(BOMB) < 60_000
    assert len(WEBP_BOMB) < 60_000


@READ_MEMORY
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_at_small_cost(server: Server, name: str) -> None:
    body, kind, status, code = BAD[name]
    before = peak_mb(server)
    answer = ask(server, body, kind)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert set(error) == {"code", "message", "request_id"}
    assert peak_mb(server) - before < GROWTH_MB
    assert ask(server, png(2)).status_code == 200


@READ_MEMORY
def test_an_endless_body_is_cut_off(server: Server) -> None:
    before = peak_mb(server)
    answer = ask(server, chunks(200_000_000), "image/jpeg")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert peak_mb(server) - before < GROWTH_MB


def test_every_good_request_among_bad_ones_gets_the_answer_it_gets_alone(server: Server) -> None:
    alone = {seed: _maps(ask(server, png(seed), **_query(seed))) for seed in range(8)}
    random = np.random.default_rng(11)
    bad = [one for name, one in BAD.items() if "60 MB" not in name]

    def visit(number: int) -> None:
        if number % 3 == 0:
            body, kind, status, code = bad[int(random.integers(len(bad)))]
            answer = ask(server, body, kind)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            return
        found = _maps(ask(server, png(number % 8), **_query(number % 8)))
        assert found.keys() == alone[number % 8].keys()
        for name, values in found.items():
            np.testing.assert_allclose(values, alone[number % 8][name], atol=1e-5)

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(visit, range(120)))


def _query(seed: int) -> dict[str, Any]:
    return {"return_attention": seed % 2 == 0, "attention_format": "f32", "top_k": 3}


def _maps(answer: httpx.Response) -> dict[str, Any]:
    """Everything numeric in a lone picture's answer, by name."""
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    found = {
        name: np.frombuffer(base64.b64decode(map["data"]), "<f4")
        for name, map in prediction.get("attention", {}).items()
    }
    ranked = sorted(prediction["top_k"], key=lambda one: one["index"])
    return {"top": np.array([one["probability"] for one in ranked]), **found}


def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    slow = save(Image.new("RGB", (4900, 4900)), "PNG")
    for _ in range(5):
        with pytest.raises(httpx.TimeoutException):
            httpx.post(
                f"{server.url}/v1/predict",
                content=slow,
                headers={"Content-Type": "image/png"},
                timeout=0.02,
            )
    assert ask(server, png(3)).status_code == 200


def test_overload_is_refused_with_a_time_to_come_back(tiny_models: Path, tmp_path: Path) -> None:
    few = {"ATTNVGG_MAX_QUEUE": "2", "ATTNVGG_MAX_IMAGES": "2", "ATTNVGG_DECODE_THREADS": "1"}
    slow = save(Image.new("RGB", (4000, 4000)), "PNG")
    with running(tiny_models, tmp_path, **few) as server:
        with ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda _: ask(server, slow), range(12)))
        assert {answer.status_code for answer in answers} == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "overloaded"
                assert int(answer.headers["retry-after"]) >= 1
        assert ask(server, png(4)).status_code == 200


def test_sigterm_lets_requests_in_flight_finish(tiny_models: Path, tmp_path: Path) -> None:
    body = png(5, side=200)
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    server = Server(tiny_models, tmp_path)
    try:
        server.wait()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as upload:
            upload.sendall(head + body[:1000])
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.process.poll() is None
            _assert_no_longer_served(server)
            upload.sendall(body[1000:])
            answer = upload.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"predictions"' in answer
        server.process.wait(20)
    finally:
        server.process.kill()
        server.process.wait(30)


def _assert_no_longer_served(server: Server) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/livez", timeout=1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ATTNVGG_MODELS": "/nowhere"}, "ATTNVGG_MODELS is '/nowhere', which is no folder"),
        ({"ATTNVGG_PROVIDER": "cuda"}, "ATTNVGG_PROVIDER is 'cuda' but"),
        ({"ATTNVGG_ENGINE": "triton"}, "ATTNVGG_ENGINE is 'triton': input should be"),
        ({"ATTNVGG_DEFAULT_MODEL": "vgg"}, "ATTNVGG_DEFAULT_MODEL names 'vgg'; there is tiny"),
    ],
)
def test_what_cannot_work_does_not_start(
    tiny_models: Path, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    _assert_refuses(Server(tiny_models, tmp_path, **settings), says)


def test_a_broken_bundle_does_not_start(tiny_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny" / "1"
    folder.mkdir(parents=True)
    for file in (tiny_models / "tiny" / "1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.onnx").write_bytes(b"cut off")
    _assert_refuses(Server(tmp_path / "models", tmp_path), "model.onnx has sha256")


def _assert_refuses(server: Server, says: str) -> None:
    try:
        code = server.process.wait(60)
    finally:
        server.process.kill()
        server.process.wait(30)
    log = server.log.read_text().strip()
    assert code == 1
    assert log.startswith("attnvgg: cannot start: ")
    assert says in log
    assert "\n" not in log
