"""A server that is gone, busy, or wants a key is told from a bad picture, and from one another."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from page_driver import CARDS, choose, code, newest, settled, unfold
from page_models import BRIGHT, bright
from support import Server, end, run, running

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

    from conftest import Visit

KEY = "correct-horse"
GONE = "The server cannot be reached"
KEPT = """() => [document.cookie, location.href, ...[localStorage, sessionStorage].flatMap(
    (kept) => Array.from(kept, (_, at) => kept.getItem(kept.key(at))))]"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model: nothing to choose."""
    folder = tmp_path_factory.mktemp("one") / "models"
    bright(folder / BRIGHT / "1")
    (folder / "default").write_text(f"{BRIGHT}\n")
    return folder


@pytest.fixture(scope="module")
def keyed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It wants a key of everybody."""
    home = tmp_path_factory.mktemp("bentoml")
    keys = home / "keys"
    keys.write_text(f"me sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    settings = {"ATTNVGG_API_KEYS": str(keys), "ATTNVGG_TRUST_LOOPBACK": "false"}
    with running(models, home, **settings) as server:
        yield server


def python(card: "Locator") -> list[str]:
    return [sys.executable, "-c", code(card, "python")]


def refusing(page: "Page", status: int, code: str, after: str = "0") -> None:
    """Every prediction is refused from now on, as the server would refuse it."""

    def refuse(route: "Route") -> None:
        error = {"code": code, "message": "as many as it may be", "request_id": "abc123"}
        headers = {"Retry-After": after, "X-Request-ID": "abc123"}
        route.fulfill(status=status, headers=headers, json={"error": error})

    page.route("**/v1/predict?*", refuse)


@pytest.mark.timeout(300)
def test_a_server_that_stops_and_starts_again(
    visit: "Visit", models: Path, pictures: list[Path], notes: Path, tmp_path: Path
) -> None:
    with running(models, tmp_path) as server:
        page = visit(server.url)
        choose(page, pictures[0], notes)
        end(server.process)
        choose(page, pictures[1])
        assert GONE in newest(page).locator("h2").inner_text()
        problem = page.locator("#problem")
        assert GONE in problem.inner_text()
        assert problem.get_attribute("role") == "alert"
        states = page.locator(CARDS).evaluate_all("all => all.map((one) => one.dataset.state)")
        assert states == ["failed", "done", "failed"], "what was answered stays"
        server.process = server.start()
        server.wait()
        newest(page).locator(".top").wait_for()
        settled(page, 3)
        assert problem.is_hidden()
        bad = page.locator(CARDS).filter(has_text=notes.name)
        assert bad.get_attribute("data-state") == "failed", "that was not the server's fault"
        choose(page, pictures[2])
        assert newest(page).get_attribute("data-state") == "done"


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "overloaded"), (429, "rate_limited"), (503, "engine_unavailable")]
)
def test_a_busy_server_can_be_asked_again(
    page: "Page", pictures: list[Path], status: int, reason: str
) -> None:
    refusing(page, status, reason)
    choose(page, pictures[0])
    card = newest(page)
    assert card.get_attribute("data-state") == "failed"
    assert "busy" in card.locator("h2").inner_text()
    error = card.locator(".error").inner_text()
    assert reason in error
    assert "abc123" in error
    assert GONE not in page.locator("body").inner_text()
    page.unroute("**/v1/predict?*")
    card.locator("button[data-retry]").click()
    settled(page, 1)
    assert newest(page).get_attribute("data-state") == "done"
    assert newest(page).locator(".error").count() == 0


def test_a_server_that_is_busy_for_a_moment_is_waited_for(
    page: "Page", pictures: list[Path]
) -> None:
    refusing(page, 503, "overloaded", after="2")
    page.set_input_files("#file", pictures[0])
    newest(page).get_by_role("heading", name="busy").wait_for()
    assert newest(page).get_attribute("data-state") == "busy"
    page.unroute("**/v1/predict?*")
    settled(page, 1)
    assert newest(page).get_attribute("data-state") == "done"


def test_a_failure_of_the_server_is_no_fault_of_the_picture(
    page: "Page", pictures: list[Path]
) -> None:
    refusing(page, 500, "internal")
    choose(page, pictures[0])
    card = newest(page)
    assert card.locator("h2").inner_text() == "The server failed"
    assert "internal, request abc123" in card.locator(".error").inner_text()
    assert card.locator("button[data-retry]").count() == 1


def test_an_answer_of_something_else_is_told(page: "Page", pictures: list[Path]) -> None:
    """A proxy's own page, as a hotel's network shows it."""
    page.route("**/v1/predict?*", lambda route: route.fulfill(status=200, body="<p>Welcome!</p>"))
    choose(page, pictures[0])
    card = newest(page)
    assert card.get_attribute("data-state") == "failed"
    assert card.locator("h2").inner_text() == "The answer cannot be understood"
    assert "Welcome" not in page.locator("h2").all_inner_texts()


def test_what_is_removed_while_it_is_asked_about_is_gone(
    page: "Page", pictures: list[Path]
) -> None:
    refusing(page, 503, "overloaded", after="3")
    page.set_input_files("#file", pictures[:2])
    page.locator(CARDS).nth(1).wait_for()
    page.locator("button[data-remove]").first.click()
    page.unroute("**/v1/predict?*")
    asked = []
    page.on("request", lambda one: asked.append(one) if "/v1/predict" in one.url else None)
    settled(page, 1)
    assert newest(page).get_attribute("data-state") == "done"
    page.wait_for_timeout(2000)
    assert len(asked) == 1, "what was removed is not asked about any more"


def test_a_key_is_asked_for_and_shown_to_nobody(
    visit: "Visit", keyed: Server, pictures: list[Path]
) -> None:
    page = visit(keyed.url)
    field = page.locator("#key")
    field.wait_for()
    assert field.get_attribute("type") == "password"
    assert "API key" in page.locator("#problem").inner_text()
    page.set_input_files("#file", pictures[0])
    settled(page, 1)
    assert newest(page).get_attribute("data-state") == "failed"
    assert "key" in newest(page).locator("h2").inner_text()

    field.fill("wrong-horse")
    field.press("Enter")
    page.get_by_text("does not know this key").wait_for()
    assert field.is_visible()
    assert newest(page).get_attribute("data-state") == "failed"

    field.fill(KEY)
    field.press("Enter")
    field.wait_for(state="detached")
    settled(page, 1)
    assert newest(page).get_attribute("data-state") == "done", "it was asked again"
    assert page.locator("#problem").is_hidden()
    unfold(newest(page))
    assert KEY not in page.content()
    assert KEY not in page.locator("body").inner_text()
    for language in ("curl", "python", "typescript"):
        assert KEY not in code(newest(page), language)
        assert "ATTNVGG_API_KEY" in code(newest(page), language)
    assert KEY not in str(page.evaluate(KEPT))
    assert KEY not in keyed.log.read_text()
    shown = newest(page).locator("h2").inner_text()
    for command in (["bash", "-euc", code(newest(page), "curl")], python(newest(page))):
        assert shown in run(command, pictures[0].parent, ATTNVGG_API_KEY=KEY)


def test_without_keys_or_models_to_choose_neither_is_offered(
    visit: "Visit", models: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    with running(models, tmp_path) as server:
        page = visit(server.url)
        choose(page, pictures[0])
        assert page.locator("#key").count() == 0
        assert page.locator("#model").count() == 0
        assert page.locator("#problem").is_hidden()
