"""The page in a real browser: pictures go in, labels and maps come out, as the API says."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from page_driver import (
    CARDS,
    Answer,
    ask,
    choose,
    facts,
    level,
    newest,
    pixels,
    plainly,
    settled,
    transfer,
)
from support import Server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LEVELS = ["conv7", "conv10", "conv13", "fused"]


def assert_says(card: "Locator", answer: Answer) -> None:
    """Label, the most probable ones in order, and who answered."""
    expected = answer.prediction
    assert card.get_attribute("data-state") == "done"
    assert card.locator("h2").inner_text() == expected["label"]
    top = card.locator(".top li").all_inner_texts()
    assert len(top) == len(expected["top_k"]) == 3
    for line, one in zip(top, expected["top_k"], strict=True):
        assert one["label"] in line
        assert f"{100 * one['probability']:.1f} %" in line


def assert_shows(page: "Page", card: "Locator", answer: Answer, name: str) -> None:
    """The map itself: in grey from its least to its greatest cell, without the picture."""
    plainly(page)
    level(page, name)
    rows, columns = answer.maps[name].shape
    view = pixels(card)
    height, width = view.shape[:2]
    middle = view[
        ((np.arange(rows) + 0.5) * height / rows).astype(int)[:, None],
        ((np.arange(columns) + 0.5) * width / columns).astype(int),
    ]
    assert (middle[..., 0] == middle[..., 1]).all(), "grey"
    shades = middle[..., 0].ravel().astype(int)
    cells = answer.maps[name].ravel()
    assert (np.diff(shades[np.argsort(cells)]) >= 0).all()
    assert (shades.argmin(), shades.max()) == (cells.argmin(), shades[cells.argmax()])
    assert shades.max() - shades.min() > 200


@pytest.mark.parametrize("way", ["chosen", "dropped", "pasted"])
def test_a_picture_gets_what_the_api_says(
    page: "Page", pictures: list[Path], served: Server, way: str
) -> None:
    path = pictures[0]
    if way == "chosen":
        choose(page, path)
    else:
        event = {"dropped": "drop", "pasted": "paste"}[way]
        transfer(page, event, [(path.name, "image/png", path.read_bytes())])
        settled(page, 1)
    answer = ask(served.url, path.read_bytes())
    assert_says(newest(page), answer)
    for name in ("conv13", "fused"):
        assert_shows(page, newest(page), answer, name)


def test_it_says_who_answered_and_how_long_that_took(
    page: "Page", pictures: list[Path], served: Server
) -> None:
    choose(page, pictures[3])
    card = newest(page)
    said = facts(card)
    model = ask(served.url, pictures[3].read_bytes()).record["model"]
    assert (said["Model"], said["Version"], said["Provider"]) == ("tiny", "1", "cpu")
    assert model["sha256"].startswith(said["Weights"])
    assert len(said["Weights"]) >= 12
    assert "200 \u00d7 120" in said["Picture"]
    timings = card.locator(".timings").inner_text()
    for stage in ("decode", "queue", "inference", "total"):
        assert stage in timings
    assert f"request_id={said['Request']} " in served.log.read_text()


def test_every_level_can_be_chosen_and_is_another_map(page: "Page", pictures: list[Path]) -> None:
    choose(page, pictures[0])
    offered = page.locator("#level input").evaluate_all("all => all.map((one) => one.value)")
    assert offered == LEVELS
    assert page.locator("#level input:checked").get_attribute("value") == "fused"
    views = []
    for name in LEVELS:
        level(page, name)
        assert newest(page).locator(".readout").inner_text().startswith(name)
        views.append(pixels(newest(page)))
    for number, view in enumerate(views[1:]):
        assert (view != views[number]).any()


@pytest.mark.parametrize("count", [2, 6])
def test_several_stand_side_by_side_the_newest_first(
    page: "Page", pictures: list[Path], served: Server, count: int
) -> None:
    choose(page, *pictures[:count])
    cards = page.locator(CARDS)
    boxes = [card.bounding_box() for card in cards.all()]
    tops = sorted(box["y"] for box in boxes if box)
    assert tops[0] == pytest.approx(tops[1], abs=2), "the first two are in one row"
    for card, path in zip(cards.all(), pictures[:count], strict=True):
        assert path.name in card.inner_text()
        assert_says(card, ask(served.url, path.read_bytes()))
    choose(page, pictures[5])
    assert pictures[5].name in newest(page).inner_text()


def test_one_bar_rules_all_of_them(page: "Page", pictures: list[Path]) -> None:
    choose(page, *pictures[:2])
    cards = page.locator(CARDS).all()
    before = [pixels(card) for card in cards]
    level(page, "conv7")
    assert all((pixels(card) != view).any() for card, view in zip(cards, before, strict=True))


def test_a_broken_file_is_told_beside_good_ones(
    page: "Page", pictures: list[Path], notes: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(pictures[3].read_bytes()[:200])
    choose(page, pictures[0], notes, cut, pictures[1])
    states = page.locator(CARDS).evaluate_all("all => all.map((one) => one.dataset.state)")
    assert states == ["done", "failed", "failed", "done"]
    for name, code in ((notes.name, "unsupported_media_type"), (cut.name, "invalid_image")):
        card = page.locator(CARDS).filter(has_text=name)
        error = card.locator(".error").inner_text()
        assert code in error
        assert card.locator("h2").inner_text() == "This picture cannot be used"
        assert card.locator("button[data-retry]").count() == 0, "asking again cannot help"
    request = page.locator(CARDS).filter(has_text=cut.name).locator(".error").inner_text()
    assert "request " in request
    assert not page.locator("#problem").is_visible(), "the server is well"


def test_the_samples_can_be_taken(page: "Page") -> None:
    samples = page.locator("[data-sample]")
    assert 4 <= samples.count() <= 6
    for number in range(samples.count()):
        samples.nth(number).click()
        settled(page, number + 1)
        assert newest(page).get_attribute("data-state") == "done"


def test_pictures_can_be_removed_one_by_one_and_all_at_once(
    page: "Page", pictures: list[Path]
) -> None:
    choose(page, *pictures[:3])
    page.locator(CARDS).nth(1).locator("button[data-remove]").click()
    assert page.locator(CARDS).count() == 2
    assert pictures[1].name not in page.locator("#results").inner_text()
    page.click("#clear")
    assert page.locator(CARDS).count() == 0
    assert not page.locator("#clear").is_visible()
    choose(page, pictures[1])


def test_more_than_fit_are_left_out_and_counted(page: "Page", pictures: list[Path]) -> None:
    small = pictures[4]
    files = [(f"{number}.jpg", "image/jpeg", small.read_bytes()) for number in range(34)]
    transfer(page, "drop", files)
    settled(page, 32)
    page.get_by_text("2 pictures were left out").wait_for()
    assert page.locator(f"{CARDS}[data-state=done]").count() == 32
    page.click("#clear")
    assert page.get_by_text("left out").count() == 0
