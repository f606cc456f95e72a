"""The page in a real browser: what somebody sees who chooses a picture."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_client import _overlay

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium on this machine: install the package chromium"
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, gateway: str) -> Iterator[Any]:
    """The page, opened; whatever it complains about or asks of others fails the test."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda said: wrong.append(said.text) if "Security" in said.text else None)
    page.on("request", lambda asked: wrong.append(asked.url) if foreign(asked.url) else None)

    def foreign(url: str) -> bool:
        return not url.startswith((gateway, "blob:"))

    page.goto(gateway)
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """80 x 40 as a viewer shows it, stored turned by 90 degrees."""
    pixels = np.random.default_rng(5).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    upright = Image.fromarray(pixels).resize((80, 40), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    return path


def look(page: Any, path: Path) -> None:
    page.set_input_files("#file", path)
    page.wait_for_selector("body:not(.busy) #result:not([hidden])")


def shown(page: Any) -> np.ndarray[Any, Any]:
    """The canvas as an array [h, w, 4]."""
    width, height, data = page.evaluate(
        """() => {
            const {width, height} = document.getElementById("picture");
            const context = document.getElementById("picture").getContext("2d");
            return [width, height, Array.from(context.getImageData(0, 0, width, height).data)];
        }"""
    )
    return np.array(data, dtype=np.uint8).reshape(height, width, 4)


def slide(page: Any, percent: int) -> None:
    page.evaluate(
        """(percent) => {
            const slider = document.getElementById("opacity");
            slider.value = percent;
            slider.dispatchEvent(new Event("input"));
        }""",
        percent,
    )


def test_a_picture_gets_its_labels_and_who_gave_them(page: Any, photo: Path, gateway: str) -> None:
    look(page, photo)
    headers = {"Content-Type": "image/jpeg"}
    answer = httpx.post(f"{gateway}/v1/predict", content=photo.read_bytes(), headers=headers).json()
    (expected,) = answer["predictions"]
    assert page.inner_text("#label") == expected["label"]
    bars = page.locator("#top li").all_inner_texts()
    assert len(bars) == 3
    for bar, one in zip(bars, expected["top_k"], strict=True):
        assert one["label"] in bar
        assert f"{100 * one['probability']:.1f} %" in bar
    facts = page.inner_text("#facts")
    for fact in ("tiny, version 1", "cpu", "80 \u00d7 40", answer["model"]["sha256"][:16]):
        assert fact in facts


def test_every_level_can_be_laid_over_the_picture(page: Any, photo: Path) -> None:
    look(page, photo)
    names = page.locator("#maps button").evaluate_all("all => all.map(one => one.dataset.name)")
    assert names == ["conv7", "conv10", "conv13", "fused"]
    assert page.get_attribute("#maps button[aria-checked=true]", "data-name") == "fused"
    views = []
    for name in names:
        page.click(f"#maps button[data-name={name}]")
        assert name in page.inner_text("#meaning")
        views.append(shown(page))
    assert all((views[0] != other).any() for other in views[1:])


def test_the_picture_is_upright_and_the_slider_uncovers_it(page: Any, photo: Path) -> None:
    look(page, photo)
    covered = shown(page)
    assert covered.shape[1] == 2 * covered.shape[0]
    slide(page, 0)
    bare = shown(page)[..., :3]
    assert (bare != covered[..., :3]).any()
    with Image.open(photo) as stored:
        upright = stored.transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(upright.resize((bare.shape[1], bare.shape[0])), dtype=float)
    assert np.abs(bare - expected).mean() < 12


def test_the_brightest_cell_is_where_the_map_says(page: Any, photo: Path, gateway: str) -> None:
    look(page, photo)
    page.uncheck("#smooth")
    page.click("#maps button[data-name=conv13]")
    slide(page, 100)
    view = shown(page)
    cells = view.reshape(4, view.shape[0] // 4, 4, view.shape[1] // 4, 4).mean(axis=(1, 3))
    brightness = cells[..., :3].sum(axis=-1)
    query = {"return_attention": "true", "attention_format": "f32"}
    headers = {"Content-Type": "image/jpeg", "Accept": "application/octet-stream"}
    url = f"{gateway}/v1/predict"
    answer = httpx.post(url, content=photo.read_bytes(), params=query, headers=headers)
    at = int(answer.headers["inference-header-content-length"]) + 4 * (16 * 16 + 8 * 8)
    conv13 = np.frombuffer(answer.content[at : at + 64], "<f4")
    assert brightness.argmax() == conv13.argmax()
    assert (np.argsort(brightness.ravel())[-3:] == np.argsort(conv13)[-3:]).all()


def test_the_scale_is_that_of_the_python_clients_overlays(page: Any) -> None:
    times = [0, 1, 4, 16, 64]
    script = "async (times) => times.map((await import('/web/maps.js')).place)"
    expected = _overlay.place(np.array(times, np.float32))
    np.testing.assert_allclose(page.evaluate(script, times), expected, rtol=1e-6)
    marks = page.locator("#marks span").evaluate_all(
        "all => all.map(one => [Number(one.textContent), parseFloat(one.style.left)])"
    )
    np.testing.assert_allclose(marks, np.stack([times, 100 * expected], axis=1), rtol=1e-4)


def test_what_is_no_picture_is_said_in_words(page: Any, tmp_path: Path, photo: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing to see here")
    page.set_input_files("#file", text)
    page.wait_for_selector("#problem:not([hidden])")
    said = page.inner_text("#problem")
    assert "no JPEG, PNG or WebP picture" in said
    assert "unsupported_media_type, request " in said
    look(page, photo)
    assert page.is_hidden("#problem")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_can_be_read(browser: Any, gateway: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(gateway)
    back, text = page.evaluate(
        """() => {
            const style = getComputedStyle(document.body);
            return [style.backgroundColor, style.color];
        }"""
    )
    brightness = [sum(map(int, colour[4:-1].split(","))) for colour in (back, text)]
    assert (brightness[0] > brightness[1]) == (scheme == "light")
    assert abs(brightness[0] - brightness[1]) > 450
    context.close()


def test_a_picture_as_it_comes_from_the_clipboard(page: Any) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(stream, "PNG")
    page.evaluate(
        """(bytes) => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "image.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: files}));
        }""",
        list(stream.getvalue()),
    )
    page.wait_for_selector("#result:not([hidden])")
    assert "30 \u00d7 20" in page.inner_text("#facts")
