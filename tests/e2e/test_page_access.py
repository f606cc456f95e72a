"""The page for everybody: by keyboard, with a screen reader, in dark and light, on a phone."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING, Any

import pytest

from node import MODULES, needs_node_modules
from page_driver import CARDS, choose, eventually, newest, pixels, settled, unfold
from support import Server

if TYPE_CHECKING:
    from playwright.sync_api import FileChooser, Page, Route

    from conftest import Visit

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "device_scale_factor": 2}
LONG = "a-very-long-name-of-a-file-without-any-place-to-break-it-" * 3 + ".png"


def empty(page: "Page", pictures: list[Path], notes: Path) -> None:
    pass


def one(page: "Page", pictures: list[Path], notes: Path) -> None:
    choose(page, copy(pictures[0], notes.with_name(LONG)))
    unfold(newest(page))


def several(page: "Page", pictures: list[Path], notes: Path) -> None:
    choose(page, *pictures)
    for card in page.locator(CARDS).all():
        unfold(card)


def failed(page: "Page", pictures: list[Path], notes: Path) -> None:
    page.route("**/readyz", lambda route: route.abort())  # it stays gone
    page.route("**/v1/predict?*", lambda route: route.abort())
    choose(page, pictures[0])
    page.unroute("**/v1/predict?*")
    choose(page, copy(notes, notes.with_name(LONG)))
    assert page.locator("#problem").is_visible()


def key_wanted(page: "Page", pictures: list[Path], notes: Path) -> None:
    page.route("**/v1/*", _unauthorized)
    page.reload()
    page.locator("#key").wait_for()
    choose(page, pictures[0])


def busy(page: "Page", pictures: list[Path], notes: Path) -> None:
    page.route("**/v1/predict?*", lambda route: None)
    page.set_input_files("#file", pictures[0])
    page.locator(f"{CARDS}[data-state=busy] canvas").wait_for()


def _unauthorized(route: "Route") -> None:
    error = {"code": "unauthorized", "message": "this server needs a key", "request_id": "abc123"}
    route.fulfill(status=401, headers={"WWW-Authenticate": "Bearer"}, json={"error": error})


STATES: list[Callable[["Page", list[Path], Path], None]] = [
    empty,
    one,
    several,
    failed,
    key_wanted,
    busy,
]
in_every_state = pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)


@needs_node_modules
@in_every_state
def test_axe_finds_nothing(
    visit: "Visit", served: Server, pictures: list[Path], notes: Path, state: Any
) -> None:
    page = visit(served.url, bypass_csp=True)  # axe asks for more than the page may
    page.wait_for_selector("#model")
    state(page, pictures, notes)
    page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text("utf-8"))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        said = [
            f"{scheme}: {rule['id']}: {rule['help']}: {each['target']} {each['failureSummary']}"
            for rule in found
            for each in rule["nodes"]
        ]
        assert not said, "\n".join(said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_takes_the_colours_that_are_wished_for(
    visit: "Visit", served: Server, scheme: str
) -> None:
    page = visit(served.url, color_scheme=scheme)
    back, text = (
        page.evaluate(
            """(name) => {
                const context = document.createElement("canvas").getContext("2d");
                context.fillStyle = getComputedStyle(document.body)[name];
                context.fillRect(0, 0, 1, 1);
                return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
            }""",
            name,
        )
        for name in ("backgroundColor", "color")
    )
    assert (sum(back) > sum(text)) == (scheme == "light")
    assert abs(sum(back) - sum(text)) > 450


@in_every_state
def test_nothing_hangs_over_on_a_phone(
    visit: "Visit", served: Server, pictures: list[Path], notes: Path, state: Any
) -> None:
    page = visit(served.url, **PHONE)
    page.wait_for_selector("#model")
    state(page, pictures, notes)
    width, over = page.evaluate(
        """() => [document.documentElement.scrollWidth, [...document.querySelectorAll("main *")]
            .filter((one) => one.checkVisibility() && !one.closest("pre, .unseen, .samples"))
            .filter((one) => one.getBoundingClientRect().right > 360.5)
            .map((one) => one.outerHTML.slice(0, 80))]"""
    )
    assert (width, over) == (360, [])
    small = page.locator("button, select, summary, .button").evaluate_all(
        """all => all.filter((one) => one.checkVisibility())
            .filter((one) => Math.min(one.offsetWidth, one.offsetHeight) < 24)
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert small == [], "a finger needs 24 px (WCAG 2.5.8)"


def tab_to(page: "Page", selector: str) -> None:
    """By Tab alone, and what has the focus shows it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            break
    else:
        raise AssertionError(f"Tab never comes to {selector}")
    shown = page.evaluate(
        """() => [document.activeElement, ...document.activeElement.labels ?? []].some((one) => {
            const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(one);
            const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
            return outlined || boxShadow !== "none";
        })"""
    )
    assert shown, f"nothing tells that {selector} has the focus"


def test_all_of_it_goes_by_keyboard(page: "Page", pictures: list[Path]) -> None:
    """From nothing to a picture, another level, a cell's weight, and to nothing again."""
    asked: list[FileChooser] = []
    # Long before the key: to listen takes the browser a moment.
    page.on("filechooser", lambda chooser: asked.append(chooser))
    tab_to(page, "#file")
    page.keyboard.press("Enter")
    eventually(page, lambda: asked != [])
    asked[0].set_files(pictures[0])
    settled(page, 1)
    tab_to(page, "[data-sample]")
    page.keyboard.press("Enter")
    settled(page, 2)
    before = pixels(newest(page))
    tab_to(page, "input[name=level]")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#level input:checked").get_attribute("value") == "conv13"
    assert (pixels(newest(page)) != before).any()
    tab_to(page, "#opacity")
    page.keyboard.press("Home")
    assert page.input_value("#opacity") == "0"
    tab_to(page, "#smooth")
    page.keyboard.press("Space")
    assert not page.is_checked("#smooth")
    tab_to(page, "canvas.look")
    page.keyboard.press("ArrowDown")
    assert "times uniform" in newest(page).locator(".readout").inner_text()
    tab_to(page, "details.code summary")
    page.keyboard.press("Enter")
    tab_to(page, "button[data-copy]")
    page.keyboard.press("Enter")
    assert "curl" in page.evaluate("navigator.clipboard.readText()")
    for left in (1, 0):
        page.locator("body").press("Shift+Tab")
        for _ in range(60):
            if page.evaluate("document.activeElement.matches('[data-remove]')"):
                break
            page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        eventually(page, lambda left=left: page.locator(CARDS).count() == left)
        assert page.evaluate("document.activeElement !== document.body"), "the focus is lost"


def test_a_screen_reader_is_told_once_what_came_of_a_picture(
    page: "Page", pictures: list[Path], notes: Path
) -> None:
    choose(page, pictures[0], notes)
    label = page.locator(f"{CARDS}[data-state=done] h2").inner_text()
    status = page.get_by_role("status").filter(has_text=pictures[0].name)
    assert label in status.inner_text()
    assert f"{notes.name}: This picture cannot be used" in status.inner_text()
    canvas = page.locator("canvas.look")
    described = canvas.get_attribute("aria-label") or ""
    assert pictures[0].name in described
    assert "fused" in described
    canvas.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".readout").first.get_attribute("aria-live") == "polite"


def test_nothing_moves_for_those_who_do_not_want_it(
    visit: "Visit", served: Server, pictures: list[Path], notes: Path
) -> None:
    page = visit(served.url, reduced_motion="reduce")
    page.wait_for_selector("#model")
    busy(page, pictures, notes)
    moving = page.evaluate(
        """() => document.getAnimations().filter((one) => one.playState === "running")
            .map((one) => one.effect.target.outerHTML.slice(0, 80))"""
    )
    assert moving == []
