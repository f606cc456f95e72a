"""The SDK and its command against the real gateway process."""

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attnvgg_client import (
    AsyncClient,
    Client,
    ItemError,
    NotFoundError,
    PictureRejectedError,
)

LEVELS = {"conv7": (16, 16), "conv10": (8, 8), "conv13": (4, 4), "fused": (16, 16)}
PIXELS = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def png(width: int | None = None) -> bytes:
    """The picture; or one so wide that its prediction can be told from the others' by `input`."""
    stream = io.BytesIO()
    image = Image.fromarray(PIXELS) if width is None else Image.new("RGB", (width, 20), "teal")
    image.save(stream, "PNG")
    return stream.getvalue()


def path(folder: Path) -> Path:
    file = folder / "picture.png"
    file.write_bytes(png())
    return file


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the picture on another server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    folder = path(tmp_path_factory.mktemp("elsewhere")).parent
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/picture.png?signature=secret"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, gateway: str) -> Callable[..., Any]:
    """ask(verb, ...) of a client of either kind; an iterator is given as a list."""

    async def awaited(verb: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncClient(gateway) as client:
            answer = getattr(client, verb)(*args, **kwargs)
            if isinstance(answer, AsyncIterator):
                return [each async for each in answer]
            return await answer

    def call(verb: str, *args: Any, **kwargs: Any) -> Any:
        if request.param == "async":
            return asyncio.run(awaited(verb, *args, **kwargs))
        with Client(gateway) as client:
            answer = getattr(client, verb)(*args, **kwargs)
            return list(answer) if isinstance(answer, Iterator) else answer

    return call


KINDS: dict[str, Callable[[Path], Any]] = {
    "str": lambda folder: str(path(folder)),
    "path": path,
    "bytes": lambda folder: png(),
    "bytearray": lambda folder: bytearray(png()),
    "memoryview": lambda folder: memoryview(png()),
    "file": lambda folder: io.BytesIO(png()),
    "pil": lambda folder: Image.fromarray(PIXELS),
    "opened": lambda folder: Image.open(path(folder)),
    "array": lambda folder: PIXELS,
    "tensor": lambda folder: torch.from_numpy(PIXELS).permute(2, 0, 1),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_picture_gives_the_same_prediction(
    kind: str, gateway: str, tmp_path: Path
) -> None:
    with Client(gateway) as client:
        expected = client.predict(png(), return_attention=True, attention_format="f32")
        found = client.predict(KINDS[kind](tmp_path), return_attention=True, attention_format="f32")
    assert (found.label, found.model.name) == (expected.label, "tiny")
    assert found.probability == pytest.approx(expected.probability, rel=1e-5)
    assert found.attention is not None
    assert expected.attention is not None
    assert {name: a.shape for name, a in found.attention.items()} == LEVELS
    for name, a in found.attention.items():
        np.testing.assert_allclose(a, expected.attention[name], rtol=1e-4, atol=1e-6)
    assert found.attention["conv10"].sum() == pytest.approx(1, abs=1e-5)
    assert found.overlay("conv10").size == (90, 60)


@pytest.mark.parametrize(("format", "tolerance"), [("f32", 1e-5), ("f16", 1e-3), ("u8", 0.2)])
def test_maps_in_every_format_sum_to_1(format: Any, tolerance: float, gateway: str) -> None:
    with Client(gateway) as client:
        found = client.predict(png(), return_attention=True, attention_format=format)
    assert found.attention is not None
    for a in found.attention.values():
        assert a.sum() == pytest.approx(1, abs=tolerance)


def test_a_url_is_fetched_by_the_client(ask: Callable[..., Any], elsewhere: str) -> None:
    found, missing = ask("predict_batch", [elsewhere, elsewhere.replace("picture", "nothing")])
    assert (found.input.width, found.input.height) == (90, 60)
    assert (missing.code, missing.index) == ("unreadable", 1)
    assert "404" in missing.message
    assert "secret" not in missing.message


def test_one_picture(ask: Callable[..., Any]) -> None:
    prediction = ask("predict", png())
    assert prediction.label in ("circle", "square", "triangle")
    assert prediction.attention is None
    scores = [score.probability for score in prediction.top_k]
    assert scores == sorted(scores, reverse=True)


def test_a_batch_with_a_broken_picture_in_the_middle(ask: Callable[..., Any]) -> None:
    images = (each for each in [png(), png()[:80], PIXELS, "no such file", 5])
    first, broken, last, *unsent = ask("predict_batch", images, return_attention=True)
    assert isinstance(broken, ItemError)
    assert (broken.code, broken.index) == ("invalid_image", 1)
    assert (first.label, list(first.attention)) == (last.label, list(LEVELS))
    assert [(each.code, each.index) for each in unsent] == [
        ("unreadable", 3),
        ("invalid_argument", 4),
    ]


def test_a_batch_of_nothing_but_broken_pictures(ask: Callable[..., Any]) -> None:
    results = ask("predict_batch", [png()[:80]] * 3)
    assert [result.code for result in results] == ["invalid_image"] * 3


def test_many_pictures_come_back_in_order_and_the_bad_ones_in_their_place(
    ask: Callable[..., Any],
) -> None:
    bad = {0: b"no picture", 17: png(90)[:60], 18: png(91)[:60], 120: "no such file", 199: None}
    seen: list[tuple[int, int | None]] = []
    results = ask(
        "predict_many",
        [bad[place] if place in bad else png(20 + place) for place in range(200)],
        concurrency=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(results) == 200
    for place, result in enumerate(results):
        assert isinstance(result, ItemError) == (place in bad), (place, result)
        if place in bad:
            assert result.index == place
        else:
            assert result.input.width == 20 + place
    assert [result.code for result in results if isinstance(result, ItemError)] == [
        "unsupported_media_type",
        "invalid_image",
        "invalid_image",
        "unreadable",
        "invalid_argument",
    ]
    assert seen[-1] == (200, 200)


def test_errors_have_their_classes(ask: Callable[..., Any]) -> None:
    with pytest.raises(PictureRejectedError) as rejected:
        ask("predict", png()[:80])
    with pytest.raises(NotFoundError) as missing:
        ask("predict_batch", [png()], model="none")
    assert rejected.value.code == "invalid_image"
    assert missing.value.code == "model_not_found"
    assert rejected.value.request_id


def test_the_other_verbs(ask: Callable[..., Any]) -> None:
    assert ask("wait_until_ready", 10) is None
    assert ask("health").ready
    assert [(model.name, model.default, model.levels) for model in ask("models")] == [
        ("tiny", True, tuple(LEVELS))
    ]


def test_many_threads_share_one_client(gateway: str) -> None:
    widths = range(20, 84)
    with Client(gateway) as client, ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda width: client.predict(png(width)).input.width, widths)
        assert list(found) == list(widths)


def test_the_command(gateway: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from attnvgg_client._cli import main; exit(main())"]
    arguments = ["predict", str(path(tmp_path)), "--overlay", "out.png", "--json", "--url", gateway]
    run = subprocess.run(
        [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout)["model"]["name"] == "tiny"
    with Image.open(tmp_path / "out.png") as overlay:
        assert overlay.size == (90, 60)
