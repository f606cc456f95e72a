"""All levels side by side, with matplotlib and without."""

import io
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attnvgg_client import InvalidArgumentError, InvalidPictureError, Prediction

matplotlib = pytest.importorskip("matplotlib")
Predicted = Callable[..., Prediction]
IMAGE = np.random.default_rng(1).integers(0, 256, (30, 60, 3), dtype=np.uint8)


def uniform(n: int) -> np.ndarray:
    return np.full((n, n), 1 / n**2)


def maps(count: int) -> dict[str, np.ndarray]:
    made = {f"conv{n}": uniform(2 + n) for n in range(count)}
    made["conv0"][0, 0] = 3 / 4  # times uniform: 3 / 4 of 1.5 a map's sum, of 4 cells
    return made


def drawn(figure: Any) -> np.ndarray:
    stream = io.BytesIO()
    figure.savefig(stream, format="rgba", dpi=30)
    width, height = (round(side * 30) for side in figure.get_size_inches())
    return np.frombuffer(stream.getvalue(), np.uint8).reshape(height, width, 4)


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def titles(figure: Any) -> list[str]:
    return [axes.get_title() for axes in panels(figure)]


def test_the_picture_with_its_box_and_every_level(predicted: Predicted) -> None:
    prediction = predicted(IMAGE, (15, 0, 45, 30), maps(3))
    figure = prediction.figure()
    assert titles(figure)[0] == "circle 75.0%\ndashed: what was seen"
    assert titles(figure)[1] == "conv0, 2 x 2\nat most 2 times uniform"
    assert titles(figure)[3] == "conv2, 4 x 4\nat most 1 times uniform"
    shown = [np.asarray(axes.images[0].get_array()) for axes in panels(figure)]
    times = 600 // 60  # 30 x 60 is shown enlarged by a whole number
    np.testing.assert_array_equal(shown[0], IMAGE.repeat(times, axis=0).repeat(times, axis=1))
    for other in shown[1:]:
        changed = (other != shown[0]).any(axis=(0, 2))
        assert not changed[: 15 * times].any()
        assert changed[15 * times : 45 * times].mean() > 0.99
        assert not changed[45 * times :].any()
    box = panels(figure)[0].patches[-1]
    assert (box.get_x(), box.get_width()) == (15 * times - 0.5, 30 * times)


def test_one_colour_bar_in_times_uniform_attention(predicted: Predicted) -> None:
    figure = predicted(IMAGE, maps=maps(3)).figure()
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel()]
    assert bar.get_ylabel() == "times uniform attention"
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "1", "4", "16", "64"]
    np.testing.assert_allclose(bar.get_yticks(), [0, 0.2, 0.5, 0.8, 64 / 68])
    figure = predicted(IMAGE, maps=maps(3)).figure(scale="minmax")
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel()]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["least", "most"]


@pytest.mark.parametrize(
    ("count", "rows", "shape"),
    [
        (1, 1, (30, 60, 3)),
        (4, 1, (300, 20, 3)),
        (5, 2, (2, 700, 3)),
        (1, 1, (1, 1, 3)),
        (12, 3, (40, 40, 3)),
    ],
)
def test_any_number_of_levels_and_any_shape_can_be_drawn(
    predicted: Predicted, count: int, rows: int, shape: tuple[int, ...]
) -> None:
    figure = predicted(np.zeros(shape, np.uint8), maps=maps(count)).figure()
    assert len(panels(figure)) == count + 1
    assert len({axes.get_subplotspec().rowspan.start for axes in panels(figure)}) == rows
    pixels = drawn(figure)
    assert np.ptp(pixels[..., :3]) > 100
    assert max(figure.get_size_inches()) < 30


def test_levels_are_chosen_and_ordered(predicted: Predicted) -> None:
    prediction = predicted(IMAGE, maps=maps(3))
    assert [title.split(",")[0] for title in titles(prediction.figure(["conv2", "conv0"]))[1:]] == [
        "conv2",
        "conv0",
    ]
    assert len(titles(prediction.figure("conv1"))) == 2
    assert len(titles(prediction.figure(name for name in ("conv1", "conv2")))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": ["conv0", "conv9"]}, "level is 'conv9'; this prediction has conv0, conv1"),
        ({"levels": []}, "levels is empty; this prediction has conv0"),
        ({"levels": 1}, "levels is 1; it must be a list of conv0"),
        ({"levels": [1]}, "level is 1; this prediction has conv0"),
        ({"alpha": 2}, "alpha is 2"),
        ({"image": IMAGE[:10]}, "is 60 x 10 pixels"),
    ],
)
def test_bad_arguments_are_named(
    predicted: Predicted, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        predicted(IMAGE, maps=maps(2)).figure(**arguments)


def test_without_maps_or_picture_the_reason_is_given(predicted: Predicted, photo_path: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="ask with return_attention=True"):
        predicted(IMAGE).figure()
    with pytest.raises(InvalidArgumentError, match="'tiny' has no attention levels"):
        predicted(IMAGE, maps={}).figure()
    prediction = predicted(photo_path, maps=maps(1))
    photo_path.unlink()
    with pytest.raises(InvalidPictureError, match="cannot be read"):
        prediction.figure()


@pytest.mark.parametrize("label", ["$\\frac{$ and 5", "n\x1b[31m\n" * 9, "a long label " * 20, "_"])
def test_any_label_can_be_a_title(predicted: Predicted, label: str) -> None:
    figure = predicted(IMAGE, maps=maps(2), label=label).figure()
    drawn(figure)
    lines = titles(figure)[0].splitlines()
    assert all(line.isprintable() and len(line) <= 40 for line in lines)
    assert len(lines) <= 4


SCRIPT = """
import sys
import numpy as np
from attnvgg_client import Input, Model, Prediction
maps, seen = {"a": np.eye(4, dtype="f4") / 4}, Input(4, 4, (0, 0, 4, 4))
prediction = Prediction("x", 0, 1.0, (), maps, Model("m", "1", "", "cpu"), {}, seen, "")
image = np.zeros((4, 4, 3), "u1")
"""


def run(script: str) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", SCRIPT + textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_notebook_shows_it_and_nobody_elses_matplotlib_is_touched() -> None:
    script = """
        import matplotlib
        before = matplotlib.rcParams.copy()
        print(prediction.figure(image=image)._repr_png_()[:4])
        print("matplotlib.pyplot" in sys.modules, matplotlib.rcParams.copy() == before)
    """
    assert run(script) == ["b'\\x89PNG'", "False True"]


def test_without_matplotlib_it_says_what_to_install() -> None:
    script = """
        sys.modules["matplotlib"] = None
        try:
            prediction.figure(image=image)
        except ValueError as error:
            print(type(error).__name__, error)
        print(prediction.overlay(image=image).size)
    """
    said, size = run(script)
    assert said.startswith("InvalidArgumentError figure needs matplotlib")
    assert said.endswith("pip install 'attnvgg-client[plot]'")
    assert size == "(4, 4)"
