"""The SDK and its command against the real gateway process."""

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Callable
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
    Prediction,
)

LEVELS = {"conv7": (16, 16), "conv10": (8, 8), "conv13": (4, 4), "fused": (16, 16)}
PIXELS = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


def path(folder: Path) -> Path:
    file = folder / "picture.png"
    file.write_bytes(png())
    return file


KINDS: dict[str, Callable[[Path], Any]] = {
    "str": lambda folder: str(path(folder)),
    "path": path,
    "bytes": lambda folder: png(),
    "bytearray": lambda folder: bytearray(png()),
    "memoryview": lambda folder: memoryview(png()),
    "file": lambda folder: io.BytesIO(png()),
    "pil": lambda folder: Image.fromarray(PIXELS),
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


def test_a_batch_with_a_broken_picture_in_the_middle(gateway: str) -> None:
    images = [png(), png()[:80], PIXELS]
    with Client(gateway) as client:
        first, broken, last = client.predict_batch(images, return_attention=True)
    assert isinstance(first, Prediction)
    assert isinstance(last, Prediction)
    assert isinstance(broken, ItemError)
    assert (broken.code, broken.index) == ("invalid_image", 1)
    assert first.label == last.label


def test_a_batch_of_nothing_but_broken_pictures(gateway: str) -> None:
    with Client(gateway) as client:
        results = client.predict_batch([png()[:80]] * 3)
    assert [result.code for result in results if isinstance(result, ItemError)] == (
        ["invalid_image"] * 3
    )


def test_errors_have_their_classes(gateway: str) -> None:
    with Client(gateway) as client:
        with pytest.raises(PictureRejectedError) as rejected:
            client.predict(png()[:80])
        with pytest.raises(NotFoundError) as missing:
            client.predict(png(), model="none")
    assert rejected.value.code == "invalid_image"
    assert missing.value.code == "model_not_found"
    assert rejected.value.request_id


def test_the_other_verbs_and_the_async_client(gateway: str) -> None:
    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(gateway) as client:
            await client.wait_until_ready(10)
            return await asyncio.gather(client.predict(png()), client.models(), client.health())

    prediction, models, health = asyncio.run(ask())
    assert prediction.label in ("circle", "square", "triangle")
    assert prediction.attention is None
    assert [score.probability for score in prediction.top_k] == sorted(
        (score.probability for score in prediction.top_k), reverse=True
    )
    assert [(model.name, model.default, model.levels) for model in models] == [
        ("tiny", True, tuple(LEVELS))
    ]
    assert health.ready


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
