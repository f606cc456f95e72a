"""A server that says what it is told to: as an httpx transport, and on a socket."""

import asyncio
import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_client import AsyncClient, Client, Input, Model, Prediction, Score, _retry
from attnvgg_client._pictures import load

LEVELS = {"conv7": 16, "conv10": 8, "conv13": 4, "fused": 16}
SCALE = 0.0005


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATTNVGG_URL", "ATTNVGG_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_retry, "FIRST_WAIT", 0.01)


def maps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    drawn = {name: random.random((n, n), dtype=np.float32) for name, n in LEVELS.items()}
    return {name: a / a.sum() for name, a in drawn.items()}


def encode(a: np.ndarray, format: str) -> tuple[dict[str, Any], bytes]:
    if format == "u8":
        entry = {"datatype": "UINT8", "scale": SCALE}
        return entry | {"shape": list(a.shape)}, np.round(a / SCALE).astype("u1").tobytes()
    datatype, dtype = {"f16": ("FP16", "<f2"), "f32": ("FP32", "<f4")}[format]
    return {"datatype": datatype, "shape": list(a.shape)}, a.astype(dtype).tobytes()


@dataclass
class Gateway:
    """The wire contract's answers, made by hand."""

    size: tuple[int, int] = (40, 30)
    binary: bool = True
    extra: dict[str, Any] = field(default_factory=dict)

    def prediction(self, format: str | None, binary: bool) -> tuple[dict[str, Any], bytes]:
        tail = b""
        w, h = self.size
        item: dict[str, Any] = {
            "label": "circle",
            "index": 0,
            "probability": 0.75,
            "top_k": [
                {"label": "circle", "index": 0, "probability": 0.75},
                {"label": "square", "index": 1, "probability": 0.25},
            ],
            "input": {"width": w, "height": h, "box": [(w - h) / 2, 0, (w + h) / 2, h]},
            "something_new": {"from": "the future"},
        }
        if format is not None:
            item["attention"] = {}
            for name, a in maps().items():
                entry, data = encode(a, format)
                if binary:
                    entry["parameters"] = {"binary_data_size": len(data)}
                    tail += data
                else:
                    entry["data"] = base64.b64encode(data).decode()
                item["attention"][name] = entry
        return item, tail

    def body(self, format: str | None = "f16", count: int = 1, bad: Sequence[int] = ()) -> Any:
        """(json, tail) of an answer for so many pictures."""
        items, tail = [], b""
        for place in range(count):
            if place in bad:
                items.append({"error": {"code": "invalid_image", "message": "damaged"}})
                continue
            item, data = self.prediction(format, self.binary)
            items.append(item)
            tail += data
        answer = {
            "model": {"name": "tiny", "version": "1", "sha256": "ab" * 32, "provider": "cpu"},
            "request_id": "r-1",
            "timings_ms": {"decode": 1.0, "queue": 0.5, "inference": 2, "total": 4},
            "predictions": items,
        }
        return answer | self.extra, tail

    def ok(
        self, format: str | None = "f16", count: int = 1, bad: Sequence[int] = ()
    ) -> httpx.Response:
        answer, tail = self.body(format, count, bad)
        if not self.binary:
            return httpx.Response(200, json=answer)
        head = json.dumps(answer).encode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        }
        return httpx.Response(200, headers=headers, content=head + tail)

    def error(self, status: int, code: str, **headers: str) -> httpx.Response:
        problem = {"code": code, "message": f"about {code}", "request_id": "r-2"}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(status, headers=names, json={"error": problem})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answers as the real gateway would; pictures of zeros are damaged."""
        path = request.url.path
        if path == "/readyz":
            return httpx.Response(200, json={"status": "ready"})
        if path == "/v1/models":
            return httpx.Response(200, json=MODELS)
        if path != "/v1/predict":
            return self.error(404, "not_found")
        params = parse_qs(request.url.query.decode())
        asked = params["return_attention"] == ["true"]
        format = params["attention_format"][0] if asked else None
        files = parts(request)
        bad = [place for place, file in enumerate(files) if file.endswith(b"damaged")]
        if len(bad) == len(files):
            return self.error(400, "invalid_image")
        self.size = Image.open(io.BytesIO(files[0])).size
        return self.ok(format, len(files), bad)


MODELS = {
    "models": [
        {
            "name": "tiny",
            "version": "1",
            "sha256": "ab" * 32,
            "provider": "cpu",
            "default": True,
            "labels": ["circle", "square", "triangle"],
            "levels": [{"name": "conv10", "grid": [8, 8], "normalisation": "softmax"}],
            "attention": list(LEVELS),
        }
    ]
}


def parts(request: httpx.Request) -> list[bytes]:
    """The pictures in a request's body."""
    content_type = request.headers["content-type"]
    if not content_type.startswith("multipart/form-data"):
        return [request.content]
    boundary = content_type.split("boundary=")[1].encode()
    pieces = request.content.split(b"--" + boundary)[1:-1]
    return [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces]


@pytest.fixture
def fake() -> Gateway:
    return Gateway()


def transport(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    """httpx ties a response to the first client that reads it, so each gets a copy."""

    def copied(request: httpx.Request) -> httpx.Response:
        answer = handler(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return httpx.MockTransport(copied)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls one verb of a fresh client of either kind: ask(handler, verb, ..., client={...})."""

    def call(handler: Any, verb: str, *args: Any, client: Any = None, **kwargs: Any) -> Any:
        given = dict(client or {})
        if callable(handler):
            given["transport"] = transport(handler)
        else:
            given["url"] = handler

        async def awaited() -> Any:
            async with AsyncClient(**given) as asynchronous:
                return await getattr(asynchronous, verb)(*args, **kwargs)

        if request.param == "async":
            return asyncio.run(awaited())
        with Client(**given) as blocking:
            return getattr(blocking, verb)(*args, **kwargs)

    return call


def jpeg(size: tuple[int, int] = (40, 30), orientation: int | None = None) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


@pytest.fixture
def photo() -> bytes:
    return jpeg()


@pytest.fixture
def photo_path(tmp_path: Path, photo: bytes) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    return path


@pytest.fixture
def make_jpeg() -> Callable[..., bytes]:
    return jpeg


@contextmanager
def _serving(respond: Callable[[httpx.Request], httpx.Response]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            url = f"http://127.0.0.1{self.path}"
            body = self.rfile.read(length)
            answer = respond(
                httpx.Request(self.command, url, headers=dict(self.headers), content=body)
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[str]]:
    """serving(respond) -> a context with the URL of a server that answers so."""
    return _serving


@pytest.fixture
def fake_url(fake: Gateway) -> Iterator[str]:
    """The fake on a socket, for what starts a process or takes no transport."""
    with _serving(fake) as url:
        yield url


@pytest.fixture
def query() -> Callable[[httpx.Request], dict[str, str]]:
    return lambda request: {
        name: values[0] for name, values in parse_qs(urlsplit(str(request.url)).query).items()
    }


@pytest.fixture
def expected_maps() -> dict[str, np.ndarray]:
    return maps()


@pytest.fixture
def pictures_in() -> Callable[[httpx.Request], list[bytes]]:
    return parts


@pytest.fixture
def predicted() -> Callable[..., Prediction]:
    """A prediction of a picture, as it would come from the server: predicted(image, box, maps)."""

    def make(
        image: Any,
        box: tuple[float, float, float, float] | None = None,
        maps: dict[str, np.ndarray] | None = None,
        **fields: Any,
    ) -> Prediction:
        source = load(image).source
        width, height = source.open().size
        given: dict[str, Any] = {
            "label": "circle",
            "index": 0,
            "probability": 0.75,
            "top_k": (Score("circle", 0, 0.75), Score("square", 1, 0.25)),
            "attention": maps and {name: a.astype(np.float32) for name, a in maps.items()},
            "model": Model("tiny", "1", "ab" * 32, "cpu"),
            "timings_ms": {"decode": 1.0, "total": 4.0},
            "input": Input(width, height, box or (0, 0, width, height)),
            "request_id": "r-1",
            "_source": source,
        }
        return Prediction(**given | fields)

    return make
