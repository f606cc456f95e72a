"""One set of requests, three servers: the gateway with each of its engines, and Triton itself.

Through the protocol that all three speak, answers must be equal in names, shapes, types and
values, refusals in the class of their status and in our code where our code answers. Through /v1
the two gateways must not be told apart but by what they say of their provider and their times.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_bundle import manifest
from attnvgg_export import golden
from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
from support import OUTPUTS, running
from triton_server import Answer, Triton, infer

pytestmark = pytest.mark.network

PHOTOS = Path(golden.__file__).with_name("photos")
CAT = (PHOTOS / "cat.jpg").read_bytes()
NAMES = ("onnxruntime", "triton", "direct")


@dataclass(frozen=True)
class Servers:
    """Clients of the three, by name; `bundle` is the one that they serve."""

    clients: dict[str, httpx.Client]
    bundle: manifest.Manifest

    def v2(self, *arguments: Any, **options: Any) -> dict[str, Answer]:
        return {name: infer(self.clients[name], *arguments, **options) for name in NAMES}

    def v1(self, body: bytes, type: str, **params: str) -> list[httpx.Response]:
        headers = {"Content-Type": type, "X-Request-ID": "same"}
        path = "/v1/predict"
        return [
            self.clients[name].post(path, content=body, headers=headers, params=params)
            for name in NAMES[:2]
        ]


@pytest.fixture(scope="module")
def servers(
    triton_environment: Path, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    home = tmp_path_factory.mktemp("triton")
    write(tiny_models, home / "repository", Options("python", decoders=1, threads=1))
    triton = Triton(triton_environment, home, home / "repository")
    local, remote = (tmp_path_factory.mktemp(name) for name in ("local", "remote"))
    settings = {"ATTNVGG_ENGINE": "triton", "ATTNVGG_TRITON_URL": triton.grpc}
    try:
        with running(tiny_models, local) as one, running(tiny_models, remote, **settings) as two:
            urls = dict(zip(NAMES, (one.url, two.url, triton.url), strict=True))
            clients = {name: httpx.Client(base_url=url, timeout=60) for name, url in urls.items()}
            yield Servers(clients, manifest.read(tiny_models / "tiny" / "1"))
            for client in clients.values():
                client.close()
    finally:
        triton.end()


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pictures() -> dict[str, bytes]:
    """Files of every kind that is accepted."""
    photo = Image.open(io.BytesIO(CAT))
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    return {
        "jpeg": CAT,
        "png": encode(photo, "PNG"),
        "webp": encode(photo, "WEBP", lossless=True),
        "turned": encode(photo, "JPEG", exif=turned),
        "grey": encode(photo.convert("L"), "PNG"),
        "transparent": encode(clear, "PNG"),
        "palette": encode(photo.convert("P"), "PNG"),
        "one pixel": encode(photo.resize((1, 1)), "PNG"),
        "cmyk": encode(photo.convert("CMYK"), "JPEG"),
    }


def refused() -> dict[str, bytes]:
    """Files that no server can use."""
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    return {
        "cut off": CAT[:2000],
        "text": b"no picture at all",
        "empty": b"",
        "gif": encode(Image.open(io.BytesIO(CAT)), "GIF"),
        "bomb": bomb,
    }


def assert_equal(found: dict[str, Answer]) -> None:
    """Three answers of equal names, shapes, types, and values: maps as h * w * a."""
    reference = found["direct"]
    assert reference.status == 200, reference.error
    assert reference.outputs["probabilities"].sum() == pytest.approx(
        len(reference.outputs["probabilities"]), abs=1e-4
    )
    for name in NAMES[:2]:
        answer = found[name]
        assert (answer.status, answer.version) == (200, reference.version), answer.error
        # By name: Triton gives an ensemble's outputs in an order of its own.
        assert set(answer.outputs) == set(reference.outputs)
        for output, right in reference.outputs.items():
            got = answer.outputs[output]
            assert (got.shape, got.dtype) == (right.shape, right.dtype)
            times = right[0].size if output.startswith("attention_") else 1
            np.testing.assert_allclose(got * times, right * times, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", list(pictures()))
def test_a_file_gives_equal_answers(servers: Servers, kind: str) -> None:
    found = servers.v2("tiny-encoded", "encoded", [pictures()[kind]])
    assert list(found["triton"].outputs) == OUTPUTS
    assert_equal(found)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_pixels_give_equal_answers(servers: Servers, batch: int) -> None:
    random = np.random.default_rng(batch)
    pixels = random.integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8)
    assert_equal(servers.v2("tiny", "image", pixels, version="1"))


def test_only_what_is_asked_for_comes(servers: Servers) -> None:
    wanted = ["attention_fused", "probabilities"]
    found = servers.v2("tiny-encoded", "encoded", [CAT], outputs=wanted)
    assert set(found["direct"].outputs) == set(wanted)
    for answer in found.values():
        assert set(answer.outputs) == set(wanted)


def test_labels_are_equal(servers: Servers) -> None:
    found = servers.v2(
        "tiny", "image", np.zeros((1, 32, 32, 3), np.uint8), ["probabilities"], classes=3
    )
    tops = {
        name: [text.split(":")[2] for text in answer.outputs["probabilities"].ravel()]
        for name, answer in found.items()
    }
    assert tops["onnxruntime"] == tops["triton"] == tops["direct"]
    assert sorted(tops["direct"]) == sorted(servers.bundle.labels)


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/v2/models/tiny-encoded"])
def test_models_are_described_alike(servers: Servers, path: str) -> None:
    said = {name: servers.clients[name].get(path).json() for name in NAMES}
    for name in NAMES[:2]:
        for part in ("name", "versions", "inputs", "outputs"):
            assert said[name][part] == said["direct"][part]


def test_the_same_models_are_listed_as_ready(servers: Servers) -> None:
    def listed(name: str) -> set[tuple[str, str]]:
        entries = servers.clients[name].post("/v2/repository/index", json={"ready": True}).json()
        return {(e["name"], e["version"]) for e in entries if not e["name"].endswith("-decode")}

    assert listed("onnxruntime") == listed("triton") == listed("direct")


BAD_CALLS: dict[str, tuple[Any, ...]] = {
    "no such model": ("nobody", "image", np.zeros((1, 32, 32, 3), np.uint8)),
    "no such input": ("tiny", "picture", np.zeros((1, 32, 32, 3), np.uint8)),
    "wrong sides": ("tiny", "image", np.zeros((1, 33, 32, 3), np.uint8)),
    "two axes": ("tiny", "image", np.zeros((32, 32), np.uint8)),
    "four channels": ("tiny", "image", np.zeros((1, 32, 32, 4), np.uint8)),
    "no such output": ("tiny", "image", np.zeros((1, 32, 32, 3), np.uint8), ["heat"]),
    "too many": ("tiny", "image", np.zeros((65, 32, 32, 3), np.uint8)),
    **{name: ("tiny-encoded", "encoded", [data]) for name, data in refused().items()},
    "one of three": ("tiny-encoded", "encoded", [CAT, CAT[:2000], CAT]),
}


@pytest.mark.parametrize("call", list(BAD_CALLS))
def test_refusals_are_of_one_class(servers: Servers, call: str) -> None:
    found = servers.v2(*BAD_CALLS[call])
    classes = {name: answer.status // 100 for name, answer in found.items()}
    assert classes == dict.fromkeys(NAMES, 4), found
    assert found["onnxruntime"] == found["triton"]
    # Where our code refuses a picture inside Triton, it says so in the same words.
    if call in refused() or call == "one of three":
        ours, theirs = (found[name].error or "" for name in ("triton", "direct"))
        assert ours.split(":")[0] in theirs


@pytest.mark.parametrize("kind", [*pictures(), *refused()])
def test_v1_is_the_same_with_both_engines(servers: Servers, kind: str) -> None:
    data = (pictures() | refused())[kind]
    type = {"png": "image/png", "webp": "image/webp"}.get(kind, "image/jpeg")
    params = {"return_attention": "true", "attention_format": "f32", "top_k": "3"}
    local, remote = servers.v1(data, type, **params)
    assert local.status_code == remote.status_code
    one, two = local.json(), remote.json()
    if kind in refused():
        assert one == two
        return
    assert two["model"].pop("provider") == "triton:python:cpu"
    assert one["model"].pop("provider") == "cpu"
    assert one["model"] == two["model"]
    assert_same_predictions(one["predictions"], two["predictions"])


def assert_same_predictions(one: list[Any], two: list[Any]) -> None:
    for left, right in zip(one, two, strict=True):
        maps = left.pop("attention"), right.pop("attention")
        assert list(maps[0]) == list(maps[1])
        for level in maps[0]:
            values = [np.frombuffer(decoded(m[level]), "<f4") for m in maps]
            np.testing.assert_allclose(*(v * v.size for v in values), rtol=1e-3, atol=1e-4)
        tops = left.pop("top_k"), right.pop("top_k")
        assert [score["label"] for score in tops[0]] == [score["label"] for score in tops[1]]
        assert left.pop("probability") == pytest.approx(right.pop("probability"), abs=1e-5)
        assert left == right


def decoded(entry: dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(entry["data"])
