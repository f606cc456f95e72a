"""What clients send to a gateway in tests: pictures, bad bodies, and requests gone wrong."""

import base64
import io
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support import Server

MEMORY = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="no /proc to read the server's memory from"
)


def png(seed: int, side: int = 40) -> bytes:
    """A small picture, another for each seed."""
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


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in the documented shape."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    return answer.status_code, error["code"]


def numbers(prediction: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Everything numeric in one prediction with maps in f32 and every label, by name."""
    found = {
        name: np.frombuffer(base64.b64decode(map["data"]), "<f4").astype(np.float64)
        for name, map in prediction.get("attention", {}).items()
    }
    ranked = sorted(prediction["top_k"], key=lambda one: int(one["index"]))
    return {"top": np.array([one["probability"] for one in ranked]), **found}


def same(found: dict[str, NDArray[np.float64]], expected: dict[str, NDArray[np.float64]]) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def many_files(count: int, size: int) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x", files=[("f", ("n", bytes(size)))] * count)
    return request.read(), request.headers["content-type"]


def head(length: int, **headers: str) -> bytes:
    """The head of a POST of a PNG with so many bytes."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(
        [
            "POST /v1/predict HTTP/1.1",
            "Host: x",
            "Content-Type: image/png",
            f"Content-Length: {length}",
            *lines,
            "",
            "",
        ]
    ).encode()


def connect(server: Server, timeout: float = 60) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


def read_answer(connection: socket.socket) -> bytes:
    """All until the server closes the connection."""
    with connection.makefile("rb") as stream:
        return stream.read()


def workers(server: Server) -> list[int]:
    """The processes below the supervisor."""
    return children(server.process.pid)


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            child = int(stat.parent.name)
            found += [child, *children(child)]
    return sorted(found)


def peak_mb(server: Server) -> int:
    """The most memory that the workers ever had."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in workers(server)]
    peaks = [re.search(r"VmHWM:\s+(\d+)", status) for status in statuses]
    return sum(int(peak[1]) for peak in peaks if peak) // 1024


def chunks(size: int) -> Iterator[bytes]:
    """Sent without a Content-Length."""
    for _ in range(0, size, 100_000):
        yield bytes(100_000)


BOMB = save(Image.new("1", (20_000, 20_000)), "PNG")
WEBP_BOMB = save(Image.new("L", (16_383, 1600)), "WEBP", lossless=True, quality=0, method=0)
CUT = save(Image.effect_noise((300, 300), 60), "JPEG")[:9000]
_SCANS = save(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
SCANS = _SCANS[:-2] + _SCANS[_SCANS.rfind(b"\xff\xda") : -2] * 1000 + _SCANS[-2:]
BAD = {  # body, media type, and the documented answer
    "text": (b"no picture at all", "image/jpeg", 415, "unsupported_media_type"),
    "empty": (b"", "image/jpeg", 400, "invalid_image"),
    "truncated": (CUT, "image/jpeg", 400, "invalid_image"),
    "header only": (CUT[:20], "image/jpeg", 400, "invalid_image"),
    "1000 scans": (SCANS, "image/jpeg", 400, "invalid_image"),
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
