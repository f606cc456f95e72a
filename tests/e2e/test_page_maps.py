"""The map over the picture: its pixels, the part that it covers, and the weight at a position."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import _colors, _overlay
from page_driver import (
    Pixels,
    ask,
    choose,
    eventually,
    level,
    newest,
    pixels,
    plainly,
    set_opacity,
    settled,
)
from page_models import BRIGHT, FULL_MAP
from support import Server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def use(page: "Page", model: str) -> None:
    page.select_option("#model", label=f"{model}, version 1")


def table(colormap: str) -> Pixels:
    return _colors.table(colormap)


def test_the_slider_uncovers_the_picture(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    covered = pixels(newest(page))
    set_opacity(page, 35)
    half = pixels(newest(page))
    set_opacity(page, 0)
    bare = pixels(newest(page)).astype(int)
    with Image.open(pictures[0]) as image:
        size = (bare.shape[1], bare.shape[0])
        expected = np.asarray(image.convert("RGB").resize(size, Image.Resampling.NEAREST))
    assert np.abs(bare - expected).mean() < 4
    distances = [np.abs(view - bare).mean() for view in (half, covered)]
    assert 1 < distances[0] < distances[1]


@pytest.mark.parametrize("scale", ["uniform", "minmax"])
@pytest.mark.parametrize("colormap", ["ember", "tide", "grey"])
def test_colours_are_those_of_the_python_client(
    page: "Page", pictures: list[Path], served: Server, colormap: str, scale: _overlay.Scale
) -> None:
    """Each cell of conv13, of 4 x 4, in the colour that `Prediction.overlay` gives it."""
    choose(page, pictures[0])
    plainly(page, colormap, scale)
    level(page, "conv13")
    view = pixels(newest(page))
    height, width = view.shape[:2]
    middle = view[height // 8 :: height // 4, width // 8 :: width // 4][:4, :4].astype(int)
    cells = ask(served.url, pictures[0].read_bytes()).maps["conv13"]
    places = np.round(_overlay.strengths(cells, scale) * 255).astype(int)
    np.testing.assert_allclose(middle, table(colormap)[places], atol=4)


def test_scale_colours_and_smoothness_are_seen(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    views = [pixels(newest(page))]
    page.select_option("#scale", "minmax")
    views.append(pixels(newest(page)))
    page.select_option("#colormap", "tide")
    views.append(pixels(newest(page)))
    page.uncheck("#smooth")
    views.append(pixels(newest(page)))
    for number, view in enumerate(views[1:]):
        assert np.abs(view.astype(int) - views[number]).mean() > 0.5, number


def assert_covers(page: "Page", box: list[float], size: tuple[int, int]) -> None:
    """Between opacity 0 and 100 every pixel in the box changes, and none outside of it."""
    page.select_option("#colormap", "tide")
    page.uncheck("#smooth")
    set_opacity(page, 0)
    bare = pixels(newest(page)).astype(int)
    set_opacity(page, 100)
    changed = np.abs(pixels(newest(page)) - bare).max(axis=-1) > 8
    height, width = changed.shape
    assert width / height == pytest.approx(size[0] / size[1], rel=0.02)
    across, down = width / size[0], height / size[1]
    edges = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    x0, y0, x1, y1 = (round(edge) for edge in edges)
    inside = changed[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1]
    assert inside.size > 1000
    assert inside.mean() > 0.999
    outside = changed.copy()
    outside[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = False
    assert not outside.any()


@pytest.mark.parametrize("size", [(120, 40), (40, 120), (64, 48), (31, 31)])
def test_the_map_covers_what_the_network_saw(
    page: "Page", served: Server, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", size, (200, 30, 30)).save(path)
    use(page, BRIGHT)
    choose(page, path)
    seen = ask(served.url, path.read_bytes(), model=BRIGHT).prediction["input"]
    assert (seen["width"], seen["height"]) == size
    x0, y0, x1, y1 = seen["box"]
    assert (x1 - x0) / (y1 - y0) == pytest.approx(4 / 3)
    assert_covers(page, seen["box"], size)


def test_a_turned_photo_lies_beneath_its_map_as_a_viewer_shows_it(
    page: "Page", turned: Path, served: Server
) -> None:
    use(page, BRIGHT)
    choose(page, turned)
    seen = ask(served.url, turned.read_bytes(), model=BRIGHT).prediction["input"]
    assert (seen["width"], seen["height"]) == (80, 40)
    set_opacity(page, 0)
    bare = pixels(newest(page)).astype(int)
    width = bare.shape[1]
    inside = bare[:, width // 3 : 2 * width // 3]
    left, right = inside[:, : width // 12].mean((0, 1)), inside[:, -width // 12 :].mean((0, 1))
    assert (left[0] > 150, left[2] < 60, right[0] < 60, right[2] > 150) == (True,) * 4
    assert_covers(page, seen["box"], (80, 40))


def test_the_map_lies_the_right_way_up(page: "Page", served: Server, tmp_path: Path) -> None:
    """bright's map is the picture's brightness: one white corner is one light corner."""
    image = Image.new("RGB", (64, 48), (20, 20, 20))
    image.paste((255, 255, 255), (48, 0, 64, 12))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    path = tmp_path / "corner.png"
    path.write_bytes(stream.getvalue())
    use(page, BRIGHT)
    choose(page, path)
    plainly(page)
    view = pixels(newest(page))[..., 0].astype(int)
    height, width = view.shape
    corner = view[: height // 5, -width // 5 :]
    assert corner.min() > 200
    assert view[height // 3 :].max() < 80
    assert view[:, : 2 * width // 3].max() < 80


def weight(card: "Locator") -> tuple[str, int, int, float]:
    """Level, row, column (from 1) and times uniform, as the read-out says it."""
    text = card.locator(".readout").inner_text()
    found = re.fullmatch(r"(\w+), row (\d+) of \d+, column (\d+) of \d+: ([\d.]+) times .*", text)
    assert found, text
    return found[1], int(found[2]), int(found[3]), float(found[4])


def assert_weight(
    card: "Locator", maps: dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]
) -> tuple[int, int]:
    name, row, column, times = weight(card)
    cells = maps[name]
    expected = float(cells[row - 1, column - 1] / cells.mean())
    assert times == pytest.approx(expected, abs=0.051 if expected > 1 else 0.0051), (row, column)
    return row, column


def test_hovering_tells_the_weight_there(
    page: "Page", pictures: list[Path], served: Server
) -> None:
    choose(page, pictures[0])
    level(page, "conv10")
    card = newest(page)
    canvas = card.locator("canvas.look")
    maps = ask(served.url, pictures[0].read_bytes()).maps
    box = canvas.bounding_box()
    assert box
    for row, column in ((1, 1), (8, 8), (3, 5)):
        at = {"x": box["width"] * (column - 0.5) / 8, "y": box["height"] * (row - 0.5) / 8}
        canvas.hover(position={"x": at["x"], "y": at["y"]})
        assert assert_weight(card, maps) == (row, column)
    page.mouse.move(1, 1)
    assert "peak" in card.locator(".readout").inner_text()


def test_arrow_keys_go_from_cell_to_cell(
    page: "Page", pictures: list[Path], served: Server
) -> None:
    choose(page, pictures[0])
    level(page, "conv13")
    card = newest(page)
    maps = ask(served.url, pictures[0].read_bytes()).maps
    canvas = card.locator("canvas.look")
    canvas.focus()
    page.keyboard.press("Home")
    peak = np.unravel_index(maps["conv13"].argmax(), (4, 4))
    assert assert_weight(card, maps) == (peak[0] + 1, peak[1] + 1)
    for _ in range(4):
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
    assert assert_weight(card, maps) == (1, 1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert assert_weight(card, maps) == (2, 2)
    for _ in range(4):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    assert assert_weight(card, maps) == (4, 4), "it stops at the edge"


def test_where_the_network_did_not_look_there_is_no_weight(page: "Page", tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGB", (120, 40), (200, 30, 30)).save(path)
    use(page, BRIGHT)
    choose(page, path)
    canvas = newest(page).locator("canvas.look")
    canvas.hover(position={"x": 3, "y": 10})
    assert "did not see" in newest(page).locator(".readout").inner_text()


def test_the_map_fits_a_window_that_changes(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[3])
    before = pixels(newest(page)).shape
    page.set_viewport_size({"width": 400, "height": 800})
    eventually(page, lambda: pixels(newest(page)).shape != before)
    height, width = pixels(newest(page)).shape[:2]
    assert width / height == pytest.approx(200 / 120, rel=0.02)


def test_a_grid_as_fine_as_the_picture_is_painted_cell_by_cell(
    page: "Page", served: Server, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    path = tmp_path / "fine.png"
    Image.fromarray(image).save(path)
    use(page, BRIGHT)
    choose(page, path)
    settled(page, 1)
    plainly(page)
    view = pixels(newest(page))[..., 0].astype(int)
    rows, columns = FULL_MAP
    height, width = view.shape
    down = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    across = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    cells = ask(served.url, path.read_bytes(), model=BRIGHT).maps["conv1"]
    places = np.round(_overlay.strengths(cells, "minmax") * 255).astype(int)
    np.testing.assert_allclose(view[down[:, None], across], table("grey")[places][..., 0], atol=4)
