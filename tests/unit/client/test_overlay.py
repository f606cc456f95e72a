"""Maps over pictures: where they are, what the colours mean."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import Client, InvalidArgumentError, InvalidPictureError, Prediction
from attnvgg_client import _colors as colors
from attnvgg_client import _overlay as overlay
from attnvgg_client._pictures import Source, load
from attnvgg_client._prediction import Input, Model

GRID = (8, 8)
PLAIN = overlay.Options(alpha=1.0, colormap="grey", scale="uniform")


def predicted(image: Any, box: tuple[float, float, float, float], **maps: np.ndarray) -> Prediction:
    source = load(image).source
    width, height = source.open().size
    return Prediction(
        label="x",
        index=0,
        probability=1.0,
        top_k=(),
        attention={name: a.astype(np.float32) for name, a in maps.items()},
        model=Model("tiny", "1", "ab", "cpu"),
        timings_ms={},
        input=Input(width, height, box),
        request_id="r",
        _source=source,
    )


def peak(row: int, column: int) -> np.ndarray:
    a = np.full(GRID, 0.1)
    a[row, column] = 10
    return a / a.sum()


def lightness(rgb: np.ndarray) -> np.ndarray:
    """sRGB uint8 [..., 3] -> OKLab lightness, by the inverse of the matrices."""
    linear = rgb / 255.0
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(linear @ np.linalg.inv(np.array(colors.LMS_TO_LINEAR_RGB)).T)
    return (lms @ np.linalg.inv(np.array(colors.OKLAB_TO_LMS)).T)[..., 0]


@pytest.mark.parametrize("name", list(colors.ANCHORS))
def test_colours_rise_in_even_steps_of_lightness(name: str) -> None:
    light = lightness(colors.table(name))
    steps = np.diff(light)
    assert (np.diff(light[::4]) > 0).all()
    assert steps.min() > -0.002  # 8 bits a channel cannot be more even
    np.testing.assert_allclose(light, np.linspace(colors.DARK, colors.LIGHT, 256), atol=0.004)


@pytest.mark.parametrize("name", ["ember", "tide"])
def test_colours_change_smoothly_and_are_colours(name: str) -> None:
    table = colors.table(name).astype(int)
    assert np.abs(np.diff(table, axis=0)).max() <= 8
    assert np.ptp(table, axis=1)[40:220].min() > 40


def test_the_overlay_lies_over_the_box_and_nowhere_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    drawn = np.asarray(predicted(image, (20, 0, 80, 60), conv10=peak(2, 5)).overlay("conv10"))
    assert drawn.shape == image.shape
    np.testing.assert_array_equal(drawn[:, :20], image[:, :20])
    np.testing.assert_array_equal(drawn[:, 80:], image[:, 80:])
    assert (drawn[:, 20:80] != image[:, 20:80]).any(axis=2).mean() > 0.95


def test_the_lightest_place_is_where_the_peak_is() -> None:
    image = np.zeros((80, 160, 3), np.uint8)
    drawn = overlay.draw(
        Image.fromarray(image), peak(2, 5).astype("f4"), Input(160, 80, (40, 0, 120, 80)), PLAIN
    )
    light = np.asarray(drawn.convert("L")).astype(int)[:, 40:120]
    y, x = np.argwhere(light == light.max()).mean(axis=0)
    assert (int(y) // 10, int(x) // 10) == (2, 5)


def test_uniform_attention_looks_the_same_on_every_grid_and_more_than_4_like_4() -> None:
    for n in (4, 16):
        uniform = np.full((n, n), 1 / n**2, np.float32)
        np.testing.assert_allclose(overlay.strengths(uniform, "uniform"), 0.25, rtol=1e-6)
    assert overlay.strengths(peak(0, 0).astype("f4"), "uniform").max() == 1


def test_minmax_stretches_and_survives_a_flat_map() -> None:
    stretched = overlay.strengths(peak(1, 1).astype("f4"), "minmax")
    assert (stretched.min(), stretched.max()) == (0, 1)
    flat = np.full(GRID, 1 / 64, np.float32)
    np.testing.assert_array_equal(overlay.strengths(flat, "minmax"), 0.5)
    image = np.zeros((9, 9, 3), np.uint8)
    assert predicted(image, (0, 0, 9, 9), conv10=flat).overlay(scale="minmax").size == (9, 9)


def test_enlarging_invents_no_values() -> None:
    a = peak(3, 3).astype("f4")
    drawn = np.asarray(
        overlay.draw(Image.new("RGB", (64, 64)), a, Input(64, 64, (0, 0, 64, 64)), PLAIN)
    )
    low = colors.table("grey")[round(float(overlay.strengths(a, "uniform").min()) * 255)]
    assert drawn.min() >= low.min()


def test_the_default_level_is_fused_or_the_last() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    maps = {"conv7": peak(0, 0), "fused": peak(7, 7), "conv13": peak(3, 3)}
    prediction = predicted(image, (0, 0, 16, 16), **maps)
    assert prediction.overlay() == prediction.overlay("fused")
    del prediction.attention["fused"]  # type: ignore[union-attr]
    assert prediction.overlay() == prediction.overlay("conv13")


def test_the_picture_is_upright_and_remembered(
    tmp_path: Path, make_jpeg: Callable[..., bytes]
) -> None:
    path = tmp_path / "turned.jpg"
    path.write_bytes(make_jpeg((40, 30), orientation=6))
    prediction = predicted(path, (0, 5, 30, 35), conv10=peak(2, 2))
    drawn = prediction.overlay()
    assert drawn.size == (30, 40)
    assert prediction.overlay(image=path.read_bytes()) == drawn
    path.unlink()
    with pytest.raises(InvalidPictureError, match=r"turned\.jpg' cannot be read"):
        prediction.overlay()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "conv9"}, "level is 'conv9'; this prediction has conv10"),
        ({"alpha": 1.5}, "alpha is 1.5; it must be from 0 to 1"),
        ({"scale": "max"}, "scale is 'max'; it must be 'uniform' or 'minmax'"),
        ({"colormap": "jet"}, "colormap is 'jet'; it must be one of 'ember', 'tide', 'grey'"),
        ({"colormap": np.zeros((4, 3))}, "colormap is"),
        ({"image": np.zeros((3, 4, 3), np.uint8)}, "is 4 x 3 pixels, .* for one of 16 x 16"),
        ({"image": "http://p/x.jpg"}, "is a URL of a kind not fetched"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    prediction = predicted(image, (0, 0, 16, 16), conv10=peak(2, 2))
    with pytest.raises(InvalidArgumentError, match=message):
        prediction.overlay(**arguments)


def test_without_maps_or_picture_the_reason_is_given(fake: Any, photo: bytes) -> None:
    import httpx

    with Client(transport=httpx.MockTransport(fake)) as client:
        with pytest.raises(InvalidArgumentError, match="ask with return_attention=True"):
            client.predict(photo).overlay()
        assert client.predict(photo, return_attention=True).overlay("conv10").size == (40, 30)
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(InvalidArgumentError, match="'tiny' has no attention levels"):
        predicted(image, (0, 0, 16, 16)).overlay()


def test_own_colours_and_transparency() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    prediction = predicted(image, (0, 0, 16, 16), conv10=peak(2, 2))
    table = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    drawn = np.asarray(prediction.overlay(colormap=table, alpha=1.0))
    assert set(map(tuple, drawn.reshape(-1, 3))) == {(255, 0, 0), (0, 255, 0)}
    stream = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(stream, "PNG")
    assert Source(stream.getvalue()).open().getpixel((0, 0)) == (255, 255, 255)
