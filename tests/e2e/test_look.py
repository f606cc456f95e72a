"""One picture with its map, for fingers, keys, ears, and browsers that cannot show it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from page_driver import ask, choose, eventually, level, newest, pixels, plainly
from page_models import BRIGHT
from support import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    Visit = Callable[..., Page]

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "device_scale_factor": 2}
UNDECODED = "void (window.createImageBitmap = () => Promise.reject(new DOMException('no')))"


def reads(card: "Locator") -> str:
    return card.locator(".readout").inner_text()


def live(card: "Locator") -> str | None:
    return card.locator(".readout").get_attribute("aria-live")


def test_a_tap_tells_the_weight_there_and_stays(
    visit: "Visit", served: Server, pictures: list[Path]
) -> None:
    page = visit(served.url, **PHONE)
    choose(page, pictures[0])
    level(page, "conv13")
    card = newest(page)
    box = card.locator("canvas.look").bounding_box()
    assert box
    at = {"x": box["width"] * 0.6, "y": box["height"] * 0.1}
    card.locator("canvas.look").tap(position={"x": at["x"], "y": at["y"]})
    assert reads(card).startswith("conv13, row 1 of 4, column 3 of 4: ")
    assert live(card) == "polite"
    card.locator("h2").tap()
    eventually(page, lambda: "peak" in reads(card))


def test_a_mouse_floods_nobody(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    card = newest(page)
    canvas = card.locator("canvas.look")
    canvas.hover(position={"x": 30, "y": 30})
    assert ("peak" in reads(card), live(card)) == (False, "off")
    page.mouse.move(1, 1)
    assert ("peak" in reads(card), live(card)) == (True, "off")
    canvas.focus()
    assert live(card) == "polite", "before the text changes, or the first cell is not read out"
    page.keyboard.press("ArrowUp")
    assert ("peak" in reads(card), live(card)) == (False, "polite")


def test_escape_leaves_the_cells_and_the_level_too(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    card = newest(page)
    bare = pixels(card)
    card.locator("canvas.look").focus()
    page.keyboard.press("Home")
    outlined = pixels(card)
    assert (outlined != bare).any()
    page.keyboard.press("Control+ArrowLeft")
    assert (pixels(card) == outlined).all(), "the browser's own keys stay the browser's"
    page.keyboard.press("Escape")
    assert "peak" in reads(card)
    assert (pixels(card) == bare).all()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    assert "peak" in reads(card)
    assert (pixels(card) == bare).all()


def test_the_outline_is_around_the_cell(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    plainly(page)
    level(page, "conv13")
    card = newest(page)
    bare = pixels(card).astype(int)
    height, width = bare.shape[:2]
    at = {"x": 0.4, "y": 0.6}  # row 3, column 2 of 4
    size = card.locator("canvas.look").bounding_box()
    assert size
    place = {"x": at["x"] * size["width"], "y": at["y"] * size["height"]}
    card.locator("canvas.look").hover(position={"x": place["x"], "y": place["y"]})
    changed = np.abs(pixels(card).astype(int) - bare).max(axis=-1) > 0
    rows, columns = np.nonzero(changed)
    edges = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    expected = (height / 2, 3 * height / 4, width / 4, width / 2)
    np.testing.assert_allclose(edges, expected, atol=3)
    assert not changed[height // 2 + 4 : 3 * height // 4 - 4, width // 4 + 4 : width // 2 - 4].any()


@pytest.mark.parametrize(
    ("corner", "said"), [((48, 0), "in the upper right"), ((0, 36), "in the lower left")]
)
def test_its_name_tells_where_the_network_looked(
    page: "Page", tmp_path: Path, corner: tuple[int, int], said: str
) -> None:
    """bright's map is the picture's brightness."""
    image = Image.new("RGB", (64, 48))
    image.paste((255, 255, 255), (*corner, corner[0] + 16, corner[1] + 12))
    path = tmp_path / "corner.png"
    image.save(path)
    page.select_option("#model", label=f"{BRIGHT}, version 1")
    choose(page, path)
    canvas = newest(page).locator("canvas.look")
    name = canvas.get_attribute("aria-label")
    assert name
    pattern = r"corner.png with the map conv1 over it; the peak, [\d.]+ times uniform, is (.*)"
    found = re.fullmatch(pattern, name)
    assert found, name
    assert found[1] == said


def test_a_sharp_screen_gets_sharp_pixels(
    visit: "Visit", served: Server, pictures: list[Path]
) -> None:
    page = visit(served.url, **PHONE)
    choose(page, pictures[3])
    canvas = newest(page).locator("canvas.look")
    shown = canvas.evaluate("canvas => [canvas.clientWidth, canvas.width]")
    assert shown[1] == pytest.approx(2 * shown[0], abs=1)


def test_it_is_drawn_anew_where_it_gets_less_room(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    before = pixels(newest(page)).shape
    choose(page, pictures[1])
    canvas = page.locator("canvas.look").last
    fits = "canvas => Math.abs(canvas.width - canvas.clientWidth) <= 1"
    eventually(page, lambda: bool(canvas.evaluate(fits)))
    assert pixels(page.locator("#results article").last).shape < before


def test_what_the_browser_cannot_show_has_its_map_all_the_same(
    visit: "Visit", served: Server, pictures: list[Path]
) -> None:
    page = visit(served.url)
    page.evaluate(UNDECODED)
    choose(page, pictures[0])
    card = newest(page)
    assert f"This browser cannot show {pictures[0].name}" in card.inner_text()
    plainly(page)
    level(page, "conv13")
    view = pixels(card)[..., 0].astype(float)
    height, width = view.shape
    cells = view[height // 8 :: height // 4, width // 8 :: width // 4][:4, :4]
    there = ask(served.url, pictures[0].read_bytes()).maps["conv13"]
    assert np.unravel_index(cells.argmax(), (4, 4)) == np.unravel_index(there.argmax(), (4, 4))
