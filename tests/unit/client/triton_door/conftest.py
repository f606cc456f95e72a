"""A stand-in for Triton that speaks both of its protocols, and calls of both clients to it."""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

LABELS = ("ant", "bee", "cat", "päté 🐱")
HEIGHT, WIDTH = 6, 8
STATUS = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503, "INTERNAL": 500}
MAPS = {"attention_conv1": (2, 3), "attention_fused": (4, 4)}


class Refused(Exception):
    """(code, text) as Triton refuses."""


@dataclass
class Asked:
    """One request for an inference, as it came."""

    model: str
    version: str
    name: str
    datatype: str
    shape: list[int]
    data: bytes
    outputs: list[str]
    id: str
    timeout: int
    headers: dict[str, str]

    def pictures(self) -> list[Any]:
        """The files or the pixels."""
        if self.datatype == "UINT8":
            return list(np.frombuffer(self.data, np.uint8).reshape(self.shape))
        found, rest = [], self.data
        while rest:
            size = int.from_bytes(rest[:4], "little")
            found.append(rest[4 : 4 + size])
            rest = rest[4 + size :]
        return found


@dataclass
class FakeTriton:
    """Pictures of brightness v show LABELS[v // 64]. `troubles`: (code, text) for the next ones."""

    names: tuple[str, ...] = ("tiny",)
    versions: tuple[str, ...] = ("1",)
    hashes: dict[str, str] = field(default_factory=lambda: {"1": "a" * 64})
    max_batch: int = 8
    ready: bool = True
    written: dict[str, Any] | None = field(default_factory=dict)
    troubles: list[tuple[str, str]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    spoil: Callable[[dict[str, np.ndarray]], Any] = lambda outputs: None

    def index(self) -> list[tuple[str, str]]:
        models = [(name, version) for name in self.names for version in self.versions]
        parts = [(f"{n}{part}", "1") for n in self.names for part in ("-decode", "-encoded")]
        return [*models, *parts, ("somebody-elses", "1"), ("odd-encoded", "3")]

    def config(self, model: str) -> dict[str, Any]:
        self.described.append(model)
        if model.removesuffix("-encoded") not in self.names or not model.endswith("-encoded"):
            raise Refused("NOT_FOUND", f"Request for unknown model: '{model}' is not found")
        outputs = [{"name": name} for name in ("probabilities", *MAPS, "descriptor")]
        values: dict[str, Any] = {"max_batch_size": self.max_batch, "output": outputs}
        if self.written is not None:
            text = json.dumps(self._description() | self.written)
            values["parameters"] = {"attnvgg": {"string_value": text}}
        return values

    def _description(self) -> dict[str, Any]:
        size = {"height": HEIGHT, "width": WIDTH, "geometry": "center-crop"}
        there = {"provider": "triton:python:cpu", "sha256": self.hashes}
        return {"labels": LABELS, "from_the_future": 1} | size | there

    def infer(self, asked: Asked) -> tuple[str, dict[str, np.ndarray]]:
        self.asked.append(asked)
        if self.troubles:
            raise Refused(*self.troubles.pop(0))
        if asked.version and asked.version not in self.versions:
            text = (
                f"Request for unknown model: '{asked.model}' version {asked.version} is not found"
            )
            raise Refused("NOT_FOUND", text)
        pictures = asked.pictures()
        if len(pictures) > self.max_batch:
            raise Refused("INVALID_ARGUMENT", "inference request batch-size must be <= 8")
        values = [brightness(each, i, len(pictures)) for i, each in enumerate(pictures)]
        outputs = {name: OUTPUTS[name](values) for name in asked.outputs}
        self.spoil(outputs)
        return asked.version or self.versions[-1], outputs

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Over HTTP."""
        try:
            return self._http(request)
        except Refused as refused:
            code, text = refused.args
            return httpx.Response(STATUS[code], json={"error": text})

    def _http(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v2/health/ready":
            return httpx.Response(200 if self.ready else 400)
        if path == "/v2/repository/index":
            assert json.loads(request.content) == {"ready": True}
            found = [{"name": n, "version": v, "state": "READY"} for n, v in self.index()]
            return httpx.Response(200, json=found)
        model, *rest = path.removeprefix("/v2/models/").split("/")
        if rest == ["config"]:
            return httpx.Response(200, json=self.config(model))
        length = int(request.headers["Inference-Header-Content-Length"])
        head, data = json.loads(request.content[:length]), request.content[length:]
        (tensor,) = head["inputs"]
        assert tensor["parameters"]["binary_data_size"] == len(data)
        assert all(each["parameters"] == {"binary_data": True} for each in head["outputs"])
        asked = Asked(
            model,
            rest[1] if rest[0] == "versions" else "",
            tensor["name"],
            tensor["datatype"],
            tensor["shape"],
            data,
            [each["name"] for each in head["outputs"]],
            head["id"],
            head["parameters"]["timeout"],
            dict(request.headers),
        )
        return answer(*self.infer(asked))


def answer(version: str, outputs: dict[str, np.ndarray]) -> httpx.Response:
    said = [
        {
            "name": name,
            "datatype": "FP32" if values.dtype == np.float32 else "FP64",
            "shape": list(values.shape),
            "parameters": {"binary_data_size": values.nbytes},
        }
        for name, values in outputs.items()
    ]
    head = json.dumps({"model_version": version, "outputs": said}).encode()
    tail = b"".join(values.tobytes() for values in outputs.values())
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return httpx.Response(200, headers=headers, content=head + tail)


def brightness(picture: Any, place: int, count: int) -> int:
    if not isinstance(picture, bytes):
        return int(picture[0, 0, 0])
    if picture.endswith(b"damaged"):
        where = f"picture {place + 1} of {count}: " if count > 1 else ""
        text = f"in ensemble 'tiny-encoded', invalid_image: {where}it is damaged"
        raise Refused("INVALID_ARGUMENT", text)
    with Image.open(io.BytesIO(picture)) as image:
        return int(np.asarray(image.convert("RGB"))[0, 0, 0])


def probabilities(values: list[int]) -> np.ndarray:
    found = np.full((len(values), len(LABELS)), 0.1, np.float32)
    for row, value in zip(found, values, strict=True):
        row[value // 64] = 0.7
    return found


def maps(shape: tuple[int, int]) -> Callable[[list[int]], np.ndarray]:
    return lambda values: np.stack([np.full(shape, v / 255, np.float32) for v in values])


OUTPUTS: dict[str, Callable[[list[int]], np.ndarray]] = {
    "probabilities": probabilities,
    **{name: maps(shape) for name, shape in MAPS.items()},
}


@contextmanager
def grpc_server(fake: Any, credentials: Any = None, **changes: Any) -> Iterator[str]:
    """The fake over gRPC on loopback; `changes`: methods to use in place of its own."""
    grpc = pytest.importorskip("grpc")
    pb = pytest.importorskip("tritonclient.grpc.service_pb2")
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc import model_config_pb2, service_pb2_grpc

    def refusing(context: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Refused as refused:
            code, text = refused.args
            context.abort(getattr(grpc.StatusCode, code), text)

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ServerReady(self, request: Any, context: Any) -> Any:
            return pb.ServerReadyResponse(ready=fake.ready)

        def RepositoryIndex(self, request: Any, context: Any) -> Any:
            assert request.ready
            model = pb.RepositoryIndexResponse.ModelIndex
            found = [model(name=n, version=v, state="READY") for n, v in fake.index()]
            return pb.RepositoryIndexResponse(models=found)

        def ModelConfig(self, request: Any, context: Any) -> Any:
            values = refusing(context, fake.config, request.name)
            return pb.ModelConfigResponse(config=ParseDict(values, model_config_pb2.ModelConfig()))

        def ModelInfer(self, request: Any, context: Any) -> Any:
            (tensor,), (data,) = request.inputs, request.raw_input_contents
            asked = Asked(
                request.model_name,
                request.model_version,
                tensor.name,
                tensor.datatype,
                list(tensor.shape),
                data,
                [each.name for each in request.outputs],
                request.id,
                request.parameters["timeout"].int64_param,
                dict(context.invocation_metadata()),
            )
            version, outputs = refusing(context, fake.infer, asked)
            kind = pb.ModelInferResponse.InferOutputTensor
            said = [
                kind(
                    name=name,
                    datatype="FP32" if values.dtype == np.float32 else "FP64",
                    shape=values.shape,
                )
                for name, values in outputs.items()
            ]
            raw = [values.tobytes() for values in outputs.values()]
            return pb.ModelInferResponse(
                model_version=version, outputs=said, raw_output_contents=raw
            )

    service = Service()
    for name, method in changes.items():
        setattr(service, name, method)
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    if credentials is None:
        url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        url = f"grpcs://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield url
    finally:
        server.stop(0).wait(10)
        pool.shutdown()


@pytest.fixture
def triton() -> FakeTriton:
    return FakeTriton()


@pytest.fixture
def over_grpc() -> Any:
    """over_grpc(fake, Method=...) -> a context with its URL."""
    return grpc_server


@pytest.fixture(params=["http", "grpc"])
def call(request: pytest.FixtureRequest, triton: FakeTriton, ask: Any) -> Iterator[Any]:
    """Calls one verb of a fresh client of either kind over either protocol."""

    def over_http(verb: str, *args: Any, client: Any = None, **kwargs: Any) -> Any:
        given = {"url": "triton+http://server", **(client or {})}
        return ask(triton, verb, *args, client=given, **kwargs)

    if request.param == "http":
        yield over_http
        return
    with grpc_server(triton) as url:
        yield lambda verb, *args, **kwargs: ask(url, verb, *args, **kwargs)


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, triton: FakeTriton) -> Iterator[Any]:
    """One blocking client for several calls."""
    from attnvgg_client import Client

    if request.param == "http":
        with Client("triton+http://server", transport=httpx.MockTransport(triton)) as found:
            yield found
        return
    with grpc_server(triton) as url, Client(url) as found:
        yield found


@pytest.fixture
def draw() -> Any:
    """Pictures of one brightness: draw.pixels(v), draw.png(v, (w, h)), draw.damaged()."""

    def pixels(value: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
        return np.full((size[1], size[0], 3), value, np.uint8)

    def png(value: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels(value, size)).save(stream, "PNG")
        return stream.getvalue()

    return SimpleNamespace(pixels=pixels, png=png, damaged=lambda: png(0) + b"damaged")
