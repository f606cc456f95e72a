"""More than a server can do: refused in the documented way, in bounded memory, in fair order."""

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_serving.decoding import BYTES_PER_PIXEL, SMALL_PIXELS
from support import Server, running
from traffic import MEMORY, ask, connect, head, peak_mb, png, refusal, save, workers

CLIENTS = 200
LIMITS = {
    "ATTNVGG_MAX_QUEUE": 24,
    "ATTNVGG_MAX_IMAGES": 4,
    "ATTNVGG_MAX_BODY_BYTES": 2_000_000,
    "ATTNVGG_MAX_UPLOAD_BYTES": 24_000_000,
    "ATTNVGG_MAX_PIXELS": 6_000_000,
    "ATTNVGG_DECODE_THREADS": 2,
}
# What an operator can count on, from the settings: the bodies, again as what was unpacked from
# them; the pictures in the two lanes' threads; what a connection buffers.
BOUND_MB = (
    2 * LIMITS["ATTNVGG_MAX_UPLOAD_BYTES"]
    + BYTES_PER_PIXEL * (2 * SMALL_PIXELS + 1 * LIMITS["ATTNVGG_MAX_PIXELS"])
    + CLIENTS * 400_000
) / 1e6


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("bentoml")
    (home / "tmp").mkdir()
    settings = {name: str(value) for name, value in LIMITS.items()}
    with running(tiny_models, home, TMPDIR=str(home / "tmp"), **settings) as server:
        assert ask(server, png(0)).status_code == 200
        yield server


def largest(format: str) -> bytes:
    """A picture of all the pixels and about the bytes that the limits allow."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 1000, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((3000, 2000), Image.Resampling.BICUBIC)
    data = save(image, format, quality=40)
    assert 500_000 < len(data) < 2_000_000
    return data


@MEMORY
def test_under_any_load_memory_is_bounded_and_refusals_are_documented(server: Server) -> None:
    bodies = [(largest("WEBP"), "image/webp"), (largest("JPEG"), "image/jpeg")]
    before = peak_mb(server)

    def visit(number: int) -> httpx.Response:
        return ask(server, *bodies[number % 2])

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(visit, range(2 * CLIENTS)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < len(answers)
    assert {refusal(answer) for answer in refused} == {(503, "overloaded")}
    assert all(1 <= int(answer.headers["retry-after"]) <= 30 for answer in refused)
    assert peak_mb(server) - before < BOUND_MB
    assert ask(server, png(4)).status_code == 200


def test_a_full_queue_refuses_pictures_of_few_bytes_too(server: Server) -> None:
    flat = save(Image.new("RGB", (3000, 2000)), "PNG")
    with ThreadPoolExecutor(60) as clients:
        answers = list(clients.map(lambda _: ask(server, flat), range(60)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {refusal(answer) for answer in refused} == {(503, "overloaded")}
    assert "at most 24 may" in refused[0].json()["error"]["message"]


def test_what_has_expired_costs_no_engine_time(server: Server) -> None:
    flat = save(Image.new("RGB", (3000, 2000)), "PNG")
    before = _pictures_run(server)

    def visit(milliseconds: int) -> httpx.Response:
        headers = {"Content-Type": "image/png", "X-Timeout-Ms": str(milliseconds)}
        url = f"{server.url}/v1/predict"
        return httpx.post(url, content=flat, headers=headers, timeout=60)

    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(visit, [60_000] * 5 + [30] * 15))
    expired = [answer for answer in answers if answer.status_code != 200]
    assert {refusal(answer) for answer in expired} == {(504, "deadline_exceeded")}
    assert len(expired) >= 10
    assert _pictures_run(server) - before == len(answers) - len(expired)


def _pictures_run(server: Server) -> float:
    """How many pictures the engine has seen."""
    metrics = httpx.get(f"{server.url}/metrics").text
    return sum(map(float, re.findall(r"^attnvgg_batch_pictures_sum\S* (\S+)$", metrics, re.M)))


def test_nothing_of_a_request_is_written_to_disk(server: Server) -> None:
    kind = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f.png"\r\n\r\n'
    before = _open_files(server)
    with connect(server) as upload:
        start = head(1_900_000).replace(b"image/png", kind.encode())
        upload.sendall(start + part + bytes(1_800_000))
        time.sleep(0.5)
        assert _open_files(server) == before


def _open_files(server: Server) -> set[str]:
    """Those of the worker in the folder for temporary files, deleted ones too."""
    (worker,) = workers(server)
    files = {
        os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir() if path.is_symlink()
    }
    return {name for name in files if name.startswith(str(server.log.parent / "tmp"))}


def test_a_flood_of_large_pictures_does_not_stop_small_ones(
    tiny_models: Path, tmp_path: Path
) -> None:
    large = save(Image.new("RGB", (5000, 5000)), "PNG")
    with (
        running(tiny_models, tmp_path, ATTNVGG_DECODE_THREADS="2") as server,
        ThreadPoolExecutor(16) as clients,
    ):
        flood = [clients.submit(ask, server, large) for _ in range(16)]
        time.sleep(1)
        for seed in range(10):
            assert ask(server, png(seed)).status_code == 200
        waiting = [one for one in flood if not one.done()]
        assert {one.result().status_code for one in flood} == {200}
    assert waiting
