"""The SDK against the real Triton, over both protocols, beside the gateway with the same bundle."""

import asyncio
import io
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_bundle import manifest
from attnvgg_client import (
    AsyncClient,
    Client,
    DeadlineError,
    InvalidArgumentError,
    ItemError,
    NotFoundError,
    OverloadedError,
    Prediction,
)
from attnvgg_export import golden
from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
from plain_bundle import plain_bundle
from triton_server import Triton

pytestmark = pytest.mark.network

PHOTOS = Path(golden.__file__).with_name("photos")
LABELS = ("päté 🐱", 'a "quoted" one', "back\\slash {}")


@pytest.fixture(scope="module")
def triton(
    triton_environment: Path, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Triton]:
    """tiny: a network; plain: another size, odd labels; narrow: a slow queue with one place."""
    home = tmp_path_factory.mktemp("triton")
    shutil.copytree(tiny_models / "tiny", home / "models" / "tiny")
    plain_bundle(home / "models" / "plain" / "1", labels=LABELS)
    write(home / "models", home / "repository", Options("python", max_batch=8, decoders=1))
    plain_bundle(home / "slow" / "narrow" / "1")
    slow = Options("python", queue_delay_us=500_000, max_queue=1, decoders=1)
    write(home / "slow", home / "narrow", slow)
    flags = (f"--model-repository={home / 'narrow'}", "--model-control-mode=poll")
    flags += ("--repository-poll-secs=1",)
    server = Triton(triton_environment, home, home / "repository", *flags)
    try:
        server.wait()
        yield server
    finally:
        server.end()


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, triton: Triton) -> str:
    if request.param == "http":
        return f"triton+{triton.url}"
    return f"grpc://{triton.grpc}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as found:
        yield found


def photo(name: str = "cat") -> bytes:
    return (PHOTOS / f"{name}.jpg").read_bytes()


def png(pixels: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(pixels(40, 90), exif=exif)


PICTURES = {
    "a photo": photo,
    "a turned picture": turned,
    "pixels of another size": lambda: pixels(50, 70),
    "pixels of the right size": lambda: pixels(32, 32),
    "grey of the right size": lambda: pixels(32, 32)[:, :, 1],
    "a transparent image": lambda: Image.fromarray(
        np.dstack([pixels(32, 32), pixels(32, 32)[:, :, 0]])
    ),
}


@pytest.mark.parametrize("kind", list(PICTURES))
def test_the_gateway_and_triton_say_the_same(client: Client, gateway: str, kind: str) -> None:
    given = PICTURES[kind]()
    with Client(gateway) as there:
        expected = there.predict(given, return_attention=True, attention_format="f32", top_k=2)
    found = client.predict(given, return_attention=True, model="tiny", top_k=2)
    assert (found.label, found.index) == (expected.label, expected.index)
    assert [score.label for score in found.top_k] == [score.label for score in expected.top_k]
    for score, other in zip(found.top_k, expected.top_k, strict=True):
        assert score.probability == pytest.approx(other.probability, abs=1e-5)
    assert found.attention is not None
    assert expected.attention is not None
    assert list(found.attention) == list(expected.attention)
    for name, a in found.attention.items():
        right = expected.attention[name]
        assert a.dtype == np.float32
        assert np.allclose(a * a.size, right * right.size, atol=1e-4), name
    assert (found.input.width, found.input.height) == (expected.input.width, expected.input.height)
    assert found.input.box == expected.input.box
    assert (found.model.name, found.model.version) == ("tiny", "1")
    assert found.model.sha256 == expected.model.sha256
    assert found.model.provider == "triton:python:cpu"
    assert np.array_equal(np.asarray(found.overlay()).shape, np.asarray(expected.overlay()).shape)


def test_the_gateway_and_triton_list_the_same(client: Client, gateway: str) -> None:
    with Client(gateway) as there:
        (expected,) = there.models()
    found = {model.name: model for model in client.models()}
    assert set(found) == {"tiny", "plain", "narrow"}
    for name in ("version", "sha256", "labels", "levels"):
        assert getattr(found["tiny"], name) == getattr(expected, name)
    assert found["plain"].labels == LABELS
    assert not any(model.default for model in found.values())
    assert client.health().ready
    client.wait_until_ready(5)


def test_a_batch_with_everything_in_it(client: Client) -> None:
    """More files and more pixels than the model takes at once, and two that are broken."""
    images: list[Any] = [png(pixels(24 + i, 32)) for i in range(12)]
    images += [pixels(24, 32)] * 10
    images[3], images[17] = photo()[:500], b"GIF89a"
    found = client.predict_batch(images, model="plain", return_attention=True)
    assert [i for i, each in enumerate(found) if isinstance(each, ItemError)] == [3, 17]
    codes = [each.code for each in found if isinstance(each, ItemError)]
    assert codes == ["invalid_image", "unsupported_media_type"]
    for image, each in zip(images, found, strict=True):
        if isinstance(each, Prediction):
            alone = client.predict(image, model="plain", return_attention=True)
            assert each.probability == pytest.approx(alone.probability, abs=1e-6)
            assert each.attention is not None
            assert alone.attention is not None
            assert np.allclose(each.attention["conv1"], alone.attention["conv1"], atol=1e-7)
    many = list(client.predict_many(images, model="plain"))
    assert [getattr(each, "label", None) for each in many] == [
        getattr(each, "label", None) for each in found
    ]


def test_names_and_versions(client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match=r"model must be given: .* narrow, plain, tiny"):
        client.predict(pixels(32, 32))
    for given in ({"model": "none"}, {"model": "tiny", "version": "9"}):
        for picture in (pixels(32, 32), photo()):
            with pytest.raises(NotFoundError) as missing:
                client.predict(picture, **given)  # type: ignore[arg-type]
            assert (missing.value.status, missing.value.code) == (404, "model_not_found")
    assert client.predict(pixels(32, 32), model="tiny", version="1").model.version == "1"


def test_a_queue_has_a_length_and_a_longest_wait(url: str) -> None:
    with Client(url, max_retries=0) as client, ThreadPoolExecutor(2) as pool:
        client.models()
        start = threading.Barrier(2)

        def ask() -> Any:
            start.wait()
            try:
                return client.predict(pixels(24, 32), model="narrow")
            except OverloadedError as error:
                return error

        found = list(pool.map(lambda _: ask(), range(2)))
        assert {type(each) for each in found} == {Prediction, OverloadedError}
        refused = next(each for each in found if isinstance(each, OverloadedError))
        assert (refused.status, refused.code) == (503, "overloaded")
    with Client(url, max_retries=9) as insistent, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(insistent.predict, pixels(24, 32), model="narrow") for _ in range(2)]
        assert {each.result().model.name for each in asked} == {"narrow"}


def test_who_has_less_time_than_the_queue_takes_is_told(client: Client) -> None:
    """It waits 500 ms for company; Triton and the client know the deadline, and either may say."""
    client.predict(pixels(24, 32), model="narrow")
    with pytest.raises(DeadlineError):
        client.predict(pixels(24, 32), model="narrow", timeout=0.2)
    with pytest.raises(DeadlineError):
        client.predict(pixels(24, 32), model="narrow", timeout=0.0001)


def test_asyncio(url: str) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(url) as client:
            await client.wait_until_ready(10)
            pictures = [photo("cat"), photo("bus"), pixels(32, 32)] * 5
            together = [client.predict(each, model="tiny") for each in pictures]
            batch = client.predict_batch(pictures, model="tiny")
            return [await asyncio.gather(*together), await batch]

    apart, batch = asyncio.run(ask())
    assert [each.label for each in apart] == [each.label for each in batch]


def test_a_new_version_needs_no_new_client(triton: Triton, url: str) -> None:
    """Asked again and again while it appears: every answer names the graph that gave it."""
    home = triton.log.parent
    name = f"rolling-{url.partition(':')[0].replace('+', '-')}"
    options = Options("python", max_batch=8, decoders=1)
    plain_bundle(home / name / name / "1")
    write(home / name, home / "repository", options)
    triton.wait(f"/v2/models/{name}-encoded/ready")
    hashes, seen = {}, []
    with Client(url) as client:
        for version, gain in (("1", 1.0), ("2", 2.0)):
            if version == "2":
                plain_bundle(home / name / name / version, gain=gain)
                write(home / name, home / "repository", options)
            folder = home / name / name / version
            hashes[version] = manifest.read(folder).files["model.onnx"].sha256
            end = time.monotonic() + 30
            while time.monotonic() < end:
                found = [
                    client.predict(each, model=name).model for each in (photo(), pixels(24, 32))
                ]
                seen += found
                if {model.version for model in found} == {version} and all(m.sha256 for m in found):
                    break
                time.sleep(0.05)
        assert client.predict(pixels(24, 32), model=name, version="1").model.sha256 == hashes["1"]
    assert [seen[0].version, seen[-1].version] == ["1", "2"]
    for model in seen:
        # Between two looks of Triton NAME may have a version of which NAME-encoded says nothing.
        assert model.sha256 in (hashes[model.version], "")
    assert seen[-1].sha256 == seen[-2].sha256 == hashes["2"]
