"""Maps over pictures: where they are, what the colours mean."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import Client, Input, InvalidArgumentError, InvalidPictureError, Prediction
from attnvgg_client import _colors as colors
from attnvgg_client import _overlay as overlay
from attnvgg_client._pictures import Source

GRID = (8, 8)
Predicted = Callable[..., Prediction]
PLAIN = overlay.Options(alpha=1.0, colormap="grey", scale="uniform")


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


DEUTERANOPE = [  # of linear RGB; Machado, Oliveira and Fernandes 2009, severity 1
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]


@pytest.mark.parametrize("name", list(colors.ANCHORS))
def test_who_sees_no_green_sees_the_same_order(name: str) -> None:
    scaled = colors.table(name) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    seen = colors._gamma((linear @ np.transpose(DEUTERANOPE)).clip(0, 1))
    assert (np.diff(lightness(255 * seen)[::8]) > 0.01).all()


@pytest.mark.parametrize("name", ["ember", "tide"])
def test_colours_change_smoothly_and_are_colours(name: str) -> None:
    table = colors.table(name).astype(int)
    assert np.abs(np.diff(table, axis=0)).max() <= 8
    assert np.ptp(table, axis=1)[40:220].min() > 40


def test_the_overlay_lies_over_the_box_and_nowhere_else(predicted: Predicted) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    drawn = np.asarray(predicted(image, (20, 0, 80, 60), {"conv10": peak(2, 5)}).overlay())
    assert drawn.shape == image.shape
    np.testing.assert_array_equal(drawn[:, :20], image[:, :20])
    np.testing.assert_array_equal(drawn[:, 80:], image[:, 80:])
    assert (drawn[:, 20:80] != image[:, 20:80]).any(axis=2).mean() > 0.95


@pytest.mark.parametrize("box", [(0.1, 0, 0.4, 60), (99.6, 59.7, 100, 60), (99.2, 0, 99.4, 60)])
def test_a_box_thinner_than_a_pixel_is_one_pixel_of_the_picture(
    predicted: Predicted, box: tuple[float, float, float, float]
) -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    drawn = np.asarray(predicted(image, box, {"conv10": peak(2, 5)}).overlay())
    columns = np.flatnonzero(drawn.any(axis=(0, 2)))
    assert columns.tolist() == [min(round(box[0]), 99)]


def test_the_lightest_place_is_where_the_peak_is() -> None:
    image = np.zeros((80, 160, 3), np.uint8)
    drawn = overlay.draw(
        Image.fromarray(image), peak(2, 5).astype("f4"), Input(160, 80, (40, 0, 120, 80)), PLAIN
    )
    light = np.asarray(drawn.convert("L")).astype(int)[:, 40:120]
    y, x = np.argwhere(light == light.max()).mean(axis=0)
    assert (int(y) // 10, int(x) // 10) == (2, 5)


def test_uniform_attention_has_one_colour_and_no_attention_the_last_one() -> None:
    for n in (4, 16):
        uniform = np.full((n, n), 1 / n**2, np.float32)
        np.testing.assert_allclose(overlay.strengths(uniform, "uniform"), 0.2, rtol=1e-6)
    times = np.array([[0, 1, 4, 16, 60, 256]], np.float32)
    places = overlay.place(times)[0]
    np.testing.assert_allclose(places[:4], [0, 0.2, 0.5, 0.8], rtol=1e-6)
    assert (np.diff(places) > 0.02).all()  # five colours of 256 apart: nothing saturates
    assert places[-1] < 1


@pytest.mark.parametrize("total", [1.0, 0.999, 30.0])
def test_the_same_spread_has_the_same_colours_whatever_the_sum(total: float) -> None:
    """Sigmoids sum to anything, f16 and u8 to nearly 1."""
    a = peak(2, 2).astype("f4")
    expected = overlay.strengths(a, "uniform")
    np.testing.assert_allclose(overlay.strengths(a * np.float32(total), "uniform"), expected, 1e-5)
    np.testing.assert_allclose(overlay.times_uniform(a), 64 * a, rtol=1e-5)


def test_sparse_one_hot_and_empty_maps_have_a_place_for_every_cell() -> None:
    one_hot = np.zeros(GRID, np.float32)
    np.testing.assert_array_equal(overlay.strengths(one_hot, "uniform"), 0)
    one_hot[3, 3] = 1
    strengths = overlay.strengths(one_hot, "uniform")
    assert strengths[3, 3] == pytest.approx(64 / 68)
    assert (strengths == 0).sum() == 63


def test_where_there_is_less_attention_the_picture_shows_better(predicted: Predicted) -> None:
    image = np.full((64, 64, 3), 255, np.uint8)
    one_hot = np.zeros(GRID)
    one_hot[4, 4] = 1
    prediction = predicted(image, maps={"conv10": one_hot})
    colours = np.asarray(prediction.overlay(alpha=1.0)).astype(float)
    drawn = np.asarray(prediction.overlay(alpha=0.6)).astype(float)
    cover = (255 - drawn[..., 2]) / (255 - colours[..., 2])
    assert cover[2, 2] == pytest.approx(0.6**3, abs=0.01)
    assert cover[36, 36] == pytest.approx(0.6 ** (3 - 2 * 64 / 68), abs=0.02)
    np.testing.assert_array_equal(np.asarray(prediction.overlay(alpha=0)), image)
    table = {tuple(colour) for colour in colors.table("ember").tolist()}
    assert set(map(tuple, colours.reshape(-1, 3).astype(int).tolist())) <= table


def test_minmax_stretches_and_survives_a_flat_map(predicted: Predicted) -> None:
    stretched = overlay.strengths(peak(1, 1).astype("f4"), "minmax")
    assert (stretched.min(), stretched.max()) == (0, 1)
    flat = np.full(GRID, 1 / 64, np.float32)
    np.testing.assert_array_equal(overlay.strengths(flat, "minmax"), 0.5)
    image = np.zeros((9, 9, 3), np.uint8)
    assert predicted(image, maps={"conv10": flat}).overlay(scale="minmax").size == (9, 9)


def test_enlarging_invents_no_values() -> None:
    a = peak(3, 3).astype("f4")
    drawn = np.asarray(
        overlay.draw(Image.new("RGB", (64, 64)), a, Input(64, 64, (0, 0, 64, 64)), PLAIN)
    )
    low = colors.table("grey")[round(float(overlay.strengths(a, "uniform").min()) * 255)]
    assert drawn.min() >= low.min()


def test_the_default_level_is_fused_or_the_last(predicted: Predicted) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    maps = {"conv7": peak(0, 0), "fused": peak(7, 7), "conv13": peak(3, 3)}
    prediction = predicted(image, maps=maps)
    assert prediction.overlay() == prediction.overlay("fused")
    del prediction.attention["fused"]  # type: ignore[union-attr]
    assert prediction.overlay() == prediction.overlay("conv13")


def test_the_picture_is_upright_and_remembered(
    tmp_path: Path, make_jpeg: Callable[..., bytes], predicted: Predicted
) -> None:
    path = tmp_path / "turned.jpg"
    path.write_bytes(make_jpeg((40, 30), orientation=6))
    prediction = predicted(path, (0, 5, 30, 35), {"conv10": peak(2, 2)})
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
        ({"level": -1}, "level is -1; this prediction has conv10"),
        ({"level": np.zeros((4, 4, 3))}, "level is a ndarray; .* given as image=..."),
        ({"alpha": 1.5}, "alpha is 1.5; it must be from 0 to 1"),
        ({"scale": "max"}, "scale is 'max'; it must be 'uniform' or 'minmax'"),
        ({"colormap": "jet"}, "colormap is 'jet'; it must be one of 'ember', 'tide', 'grey'"),
        ({"colormap": np.zeros((4, 3))}, "colormap is"),
        ({"image": np.zeros((3, 4, 3), np.uint8)}, "is 4 x 3 pixels, .* for one of 16 x 16"),
        ({"image": "http://p/x.jpg"}, "is a URL"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], message: str, predicted: Predicted
) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    prediction = predicted(image, maps={"conv10": peak(2, 2)})
    with pytest.raises(InvalidArgumentError, match=message):
        prediction.overlay(**arguments)


def test_without_maps_or_picture_the_reason_is_given(
    fake: Any, photo: bytes, predicted: Predicted
) -> None:
    import httpx

    with Client(transport=httpx.MockTransport(fake)) as client:
        with pytest.raises(InvalidArgumentError, match="ask with return_attention=True"):
            client.predict(photo).overlay()
        assert client.predict(photo, return_attention=True).overlay("conv10").size == (40, 30)
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(InvalidArgumentError, match="'tiny' has no attention levels"):
        predicted(image, maps={}).overlay()


def test_own_colours_and_transparency(predicted: Predicted) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    prediction = predicted(image, maps={"conv10": peak(2, 2)})
    table = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    drawn = np.asarray(prediction.overlay(colormap=table, alpha=1.0))
    assert set(map(tuple, drawn.reshape(-1, 3))) == {(255, 0, 0), (0, 255, 0)}
    stream = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(stream, "PNG")
    assert Source(stream.getvalue()).open().getpixel((0, 0)) == (255, 255, 255)
