"""A prediction as a value: how it prints, travels, is shown in a notebook, becomes plain data."""

import base64
import copy
import io
import json
import multiprocessing
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_client import Client, InvalidArgumentError, Model, Prediction, Score
from attnvgg_client._plain import plain

Predicted = Callable[..., Prediction]
IMAGE = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def uniform(n: int) -> np.ndarray:
    return np.full((n, n), 1 / n**2)


LEVELS = {"conv7": uniform(16), "conv10": uniform(8), "fused": uniform(16)}


def test_it_prints_its_label_its_maps_and_its_model(predicted: Predicted) -> None:
    assert repr(predicted(IMAGE)) == "Prediction('circle', 75.0%, model='tiny/1')"
    with_maps = repr(predicted(IMAGE, maps=LEVELS))
    assert "attention=[conv7 16x16, conv10 8x8, fused 16x16]" in with_maps
    five = {f"stage{n}": uniform(8) for n in range(5)}
    assert "attention=[stage0, stage1, stage2, stage3, stage4]" in repr(predicted(IMAGE, maps=five))


@pytest.mark.parametrize("label", ["x" * 500, "\u8239" * 300, "\x1b[31m\n\r" * 40, "\u202e" * 60])
@pytest.mark.parametrize("levels", [0, 3, 60])
def test_it_fits_into_a_line_and_cannot_drive_the_terminal(
    predicted: Predicted, label: str, levels: int
) -> None:
    maps = {f"conv{n}\x07": uniform(8) for n in range(levels)}
    model = Model("\x1b]0;m\x07" * 50, "1" * 90, "", "")
    shown = repr(predicted(IMAGE, maps=maps, label=label, model=model, probability=1e300))
    assert sum(2 if c == "\u8239" else 1 for c in shown) <= 100
    assert shown.isprintable()
    assert shown.startswith("Prediction('")
    probable = repr(predicted(IMAGE, maps=maps, label=label, model=model))
    assert "75.0%" in probable
    assert probable.endswith("')")
    assert f"{levels} maps" in probable or levels < 60


def test_it_travels_to_other_processes_with_what_it_remembers(
    predicted: Predicted, photo_path: Path
) -> None:
    for image in (IMAGE, photo_path):
        prediction = predicted(image, maps=LEVELS)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            (again,) = pool.map(copy.copy, [prediction])
        for other in (again, copy.deepcopy(prediction), pickle.loads(pickle.dumps(prediction))):
            assert other.to_dict() == prediction.to_dict()
            assert other.overlay() == prediction.overlay()


def test_it_is_equal_to_itself_only(predicted: Predicted) -> None:
    prediction = predicted(IMAGE, maps=LEVELS)
    other = copy.deepcopy(prediction)
    assert {prediction: 1}[prediction] == 1
    assert prediction not in (other, None)
    assert prediction.to_dict() == other.to_dict()


@pytest.mark.parametrize("format", ["f16", "f32", "u8"])
def test_its_maps_are_its_own(fake: Any, photo: bytes, format: Any) -> None:
    with Client(transport=httpx.MockTransport(fake)) as client:
        first, second = client.predict_batch(
            [photo, photo], return_attention=True, attention_format=format
        )
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert first.attention
    assert second.attention
    expected = second.attention["conv10"].copy()
    assert all(a.flags.owndata and a.flags.writeable for a in first.attention.values())
    before = first.overlay("conv10")
    first.attention["conv10"][:] = 0
    np.testing.assert_array_equal(second.attention["conv10"], expected)
    assert first.overlay("conv10") != before


def test_without_its_picture_it_is_small(predicted: Predicted) -> None:
    prediction = predicted(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))
    light = prediction.without_picture()
    assert len(pickle.dumps(prediction)) > 250_000
    assert len(pickle.dumps(light)) < 2_000
    assert light.to_dict() == prediction.to_dict()
    with pytest.raises(InvalidArgumentError, match=r"must be given: .* remembers no picture"):
        predicted(IMAGE, maps=LEVELS).without_picture().overlay()
    again = predicted(IMAGE, maps=LEVELS)
    assert again.without_picture().overlay(image=IMAGE) == again.overlay()


def test_plain_data_for_json_even_with_numpys_numbers_in_it(predicted: Predicted) -> None:
    prediction = predicted(
        IMAGE,
        maps={"conv10": np.array([[0.25, np.nan], [np.inf, 0.5]])},
        index=np.int64(3),
        probability=np.float32(0.5),
        top_k=(Score("a", 0, np.float64(np.nan)),),  # type: ignore[arg-type]
    )
    found = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert found["attention"] == {"conv10": [[0.25, None], [None, 0.5]]}
    assert (found["index"], found["probability"]) == (3, 0.5)
    assert found["top_k"] == [{"label": "a", "index": 0, "probability": None}]
    assert found["input"] == {"width": 40, "height": 30, "box": [0, 0, 40, 30]}
    assert found["timings_ms"] == {"decode": 1.0, "total": 4.0}
    assert predicted(IMAGE).to_dict()["attention"] is None
    assert predicted(IMAGE, maps={}).to_dict()["attention"] == {}
    assert [type(n) for n in plain((np.float32(1), np.bool_(True)))] == [float, bool]


def test_a_notebook_shows_the_overlay_and_the_line(predicted: Predicted) -> None:
    prediction = predicted(IMAGE, maps=LEVELS, label="<b>&")
    found = prediction._repr_mimebundle_(include=None, exclude=None)
    assert found["text/plain"] == repr(prediction)
    assert "&lt;b&gt;&amp;" in found["text/html"]
    assert "<b>" not in found["text/html"]
    jpeg = base64.b64decode(re.findall(r"base64,([^\"]+)", found["text/html"])[0])
    png = base64.b64decode(found["image/png"])
    assert png == prediction._repr_png_()
    for data in (png, jpeg):
        assert Image.open(io.BytesIO(data)).size == (480, 360)
    bare = predicted(IMAGE)._repr_png_()
    assert bare is not None
    pixels = np.asarray(Image.open(io.BytesIO(bare)))
    np.testing.assert_array_equal(pixels, IMAGE.repeat(12, axis=0).repeat(12, axis=1))


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((2000, 500), (480, 120)),
        ((32, 32), (480, 480)),
        ((9000, 2), (480, 1)),
        ((300, 4), (300, 4)),
    ],
)
def test_a_notebook_gets_pictures_of_a_sane_size(
    predicted: Predicted, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    image = Image.new("RGB", size)
    box = (size[0] / 2, 0, size[0], size[1])
    data = predicted(image, box, LEVELS)._repr_png_()
    assert data is not None
    drawn = Image.open(io.BytesIO(data))
    assert drawn.size == shown
    left, right = (drawn.getpixel((x, 0)) for x in (shown[0] // 4, 3 * shown[0] // 4))
    assert left == (0, 0, 0) != right


def test_a_notebook_never_fails(predicted: Predicted, photo_path: Path) -> None:
    predictions = [predicted(photo_path, maps=LEVELS), predicted(IMAGE).without_picture()]
    photo_path.write_bytes(b"no picture any more")
    for prediction in predictions:
        assert prediction._repr_mimebundle_() == {"text/plain": repr(prediction)}
        assert prediction._repr_png_() is None
    photo_path.unlink()
    assert predictions[0]._repr_png_() is None
