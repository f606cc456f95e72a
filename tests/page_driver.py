"""What somebody does who looks at the page, and what they see."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CARDS = "#results article"
Pixels = NDArray[np.uint8]
Maps = dict[str, NDArray[np.float32]]
"""Exact, [h, w], by level."""


@dataclass(frozen=True)
class Answer:
    """What the API says of a picture."""

    record: dict[str, Any]
    maps: Maps

    @property
    def prediction(self) -> dict[str, Any]:
        found: dict[str, Any] = self.record["predictions"][0]
        return found


def ask(url: str, content: bytes, **query: str) -> Answer:
    """Asks the API itself."""
    query = {"return_attention": "true", "attention_format": "f32", **query}
    headers = {"Content-Type": "image/png"}
    answer = httpx.post(f"{url}/v1/predict", content=content, params=query, headers=headers)
    record = answer.raise_for_status().json()
    maps = {
        level: np.frombuffer(base64.b64decode(one["data"]), "<f4").reshape(one["shape"])
        for level, one in (record["predictions"][0].get("attention") or {}).items()
    }
    return Answer(record, maps)


def choose(page: "Page", *paths: Path) -> None:
    """Chooses files, and waits for what becomes of them."""
    before = page.locator(CARDS).count()
    page.set_input_files("#file", list(paths))
    settled(page, before + len(paths))


def settled(page: "Page", count: int) -> None:
    """Waits until there are so many pictures, and none is asked about any more."""
    page.wait_for_selector(f"{CARDS}:nth-of-type({count})")
    page.wait_for_selector(f"body:not([data-busy]):not(:has({CARDS}[data-state=busy]))")
    assert page.locator(CARDS).count() == count


def newest(page: "Page") -> "Locator":
    return page.locator(CARDS).first


def pixels(card: "Locator") -> Pixels:
    """What a card's canvas shows, [h, w, 3]."""
    canvas = card.locator("canvas.look")
    data = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def set_opacity(page: "Page", percent: int) -> None:
    page.locator("#opacity").fill(str(percent))


def level(page: "Page", name: str) -> None:
    page.locator(f"#level input[value={name}]").check(force=True)


def plainly(page: "Page", colormap: str = "grey", scale: str = "minmax") -> None:
    """Only the map, a pixel of which is a colour of the table: cells have edges."""
    page.select_option("#colormap", colormap)
    page.select_option("#scale", scale)
    page.uncheck("#smooth")
    set_opacity(page, 100)


def transfer(page: "Page", event: str, files: Sequence[tuple[str, str, bytes]]) -> None:
    """Drops or pastes files (name, type, content) as the browser itself tells of it."""
    page.evaluate(
        """([event, files]) => {
            const data = new DataTransfer();
            for (const [name, type, content] of files) {
                const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
                data.items.add(new File([bytes], name, {type}));
            }
            const options = {bubbles: true, cancelable: true};
            if (event === "paste") {
                const pasted = new ClipboardEvent("paste", {...options, clipboardData: data});
                document.body.dispatchEvent(pasted);
                return;
            }
            const target = document.querySelector("#drop");
            for (const kind of ["dragenter", "dragover", "drop"]) {
                const dragged = new DragEvent(kind, {...options, dataTransfer: data});
                if (target.dispatchEvent(dragged) && kind !== "dragenter")
                    throw Error(`the browser would open the file: ${kind} was not taken`);
            }
        }""",
        [event, [(name, kind, base64.b64encode(data).decode()) for name, kind, data in files]],
    )


def facts(card: "Locator") -> dict[str, str]:
    """The description list of a card, by term; opens what hides it."""
    unfold(card)
    script = """list => JSON.stringify(Object.fromEntries([...list.querySelectorAll("dt")].map(
        (term) => [term.textContent, term.nextElementSibling.textContent])))"""
    found: dict[str, str] = json.loads(card.locator(".facts").evaluate(script))
    return found


def unfold(card: "Locator") -> None:
    card.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true })")


def code(card: "Locator", language: str) -> str:
    """A snippet, as its button puts it on the clipboard."""
    unfold(card)
    card.locator(f"button[data-copy={language}]").click()
    card.locator(f"figure:has(button[data-copy={language}])").get_by_text("Copied").wait_for()
    copied: str = card.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == card.locator(f"pre[data-lang={language}]").inner_text().strip()
    return copied


def eventually(page: "Page", holds: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for what no selector can tell of."""
    for _ in range(int(10 * seconds)):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"not within {seconds} s")
