"""Several models, one without maps, and the page beneath a proxy's path."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from page_driver import CARDS, ask, choose, code, facts, newest, settled
from page_models import BRIGHT, FLAT
from support import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Visit

PREFIX = "/deep/down"


@pytest.fixture
def proxy(served: Server) -> Iterator[str]:
    """The server beneath a path, as an ingress would have it; whatever else is asked is 404."""

    class Forward(BaseHTTPRequestHandler):
        def forward(self) -> None:
            path = self.path.removeprefix(PREFIX)
            if path == self.path or not path.startswith("/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            connection.request(self.command, path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = forward

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{PREFIX}/"
    server.shutdown()
    thread.join()
    server.server_close()


def use(page: "Page", model: str) -> None:
    page.select_option("#model", label=f"{model}, version 1")


def test_the_models_are_offered_and_the_default_is_chosen(page: "Page") -> None:
    offered = page.locator("#model option").all_inner_texts()
    assert sorted(offered) == [f"{name}, version 1" for name in (BRIGHT, FLAT, "tiny")]
    assert page.locator("#model option:checked").inner_text() == "tiny, version 1"


def test_another_model_is_asked_about_all_pictures(
    page: "Page", pictures: list[Path], served: Server
) -> None:
    choose(page, *pictures[:2])
    use(page, BRIGHT)
    settled(page, 2)
    for card, path in zip(page.locator(CARDS).all(), pictures[:2], strict=True):
        answer = ask(served.url, path.read_bytes(), model=BRIGHT)
        assert facts(card)["Model"] == BRIGHT
        assert card.locator("h2").inner_text() == answer.prediction["label"]
    offered = page.locator("#level input").evaluate_all("all => all.map((one) => one.value)")
    assert offered == ["conv1"]
    assert "model=bright" in code(newest(page), "curl")


def test_a_network_without_attention_says_so_and_still_answers(
    page: "Page", pictures: list[Path], served: Server
) -> None:
    use(page, FLAT)
    choose(page, pictures[0])
    card = newest(page)
    expected = ask(served.url, pictures[0].read_bytes(), model=FLAT).prediction
    assert card.get_attribute("data-state") == "done"
    assert facts(card)["Model"] == FLAT
    assert card.locator("h2").inner_text() == expected["label"]
    assert card.locator("canvas").count() == 1, "the picture is shown"
    assert card.locator("canvas.look").count() == 0
    assert page.locator("#level").count() == 0
    page.get_by_text("no attention maps").wait_for()
    use(page, "tiny")
    settled(page, 1)
    assert newest(page).locator("canvas.look").is_visible()
    assert page.get_by_text("no attention maps").count() == 0


def test_a_model_that_was_taken_away_is_told(page: "Page", pictures: list[Path]) -> None:
    error = {"code": "model_not_found", "message": "there is no model tiny", "request_id": "abc"}
    page.route("**/v1/predict?*", lambda route: route.fulfill(status=404, json={"error": error}))
    choose(page, pictures[0])
    assert newest(page).get_attribute("data-state") == "failed"
    assert "model_not_found" in newest(page).locator(".error").inner_text()
    assert newest(page).locator("h2").inner_text() == "The server does not have this model"


def test_it_works_beneath_a_path(visit: "Visit", proxy: str, pictures: list[Path]) -> None:
    """The fixture fails the test if anything is asked of another place."""
    page = visit(proxy)
    page.wait_for_selector("#model")
    choose(page, pictures[0])
    assert newest(page).get_attribute("data-state") == "done"
    page.locator("[data-sample]").first.click()
    settled(page, 2)
    assert newest(page).get_attribute("data-state") == "done"
    for language in ("curl", "python", "typescript"):
        assert proxy.rstrip("/") in code(newest(page), language)
    shown = page.locator("[data-sample] img").evaluate_all(
        "all => all.map((one) => one.naturalWidth)"
    )
    assert all(shown)
    for link in page.locator("footer a").all():
        address = link.evaluate("link => link.href")
        assert page.request.get(address).status == 200, address
