"""The page in a real Chromium, before real servers."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from support import Server, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

    Visit = Callable[..., Page]

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
PERMISSIONS = ["clipboard-read", "clipboard-write"]
# What the browser itself says of a request that came to nothing; the tests say which may.
EXPECTED = "Failed to load resource"


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Of each file one: while it runs, nothing else in the process can use asyncio."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: install the package chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_models_folder(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny, the default, with four maps; bright, that sees the middle; flat, without maps."""
    import page_models  # not where only test_compose.py runs: it needs onnx

    folder = tmp_path_factory.mktemp("page") / "models"
    shutil.copytree(tiny_models, folder)
    page_models.bright(folder / page_models.BRIGHT / "1")
    page_models.flat(folder / page_models.FLAT / "1")
    return folder


@pytest.fixture(scope="session")
def served(page_models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the three models for all tests that do not end it."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: install the package chromium")
    with running(page_models_folder, tmp_path_factory.mktemp("bentoml")) as server:
        yield server


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Visit]":
    """Opens a page; whatever it complains about, or asks of others, fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_page(url: str, **options: Any) -> "Page":
        options = {"viewport": {"width": 1100, "height": 900}, **options}
        context = browser.new_context(permissions=PERMISSIONS, **options)
        contexts.append(context)
        context.expose_function("violated", lambda what: wrong.append(f"policy: {what}"))
        context.add_init_script(
            """addEventListener("securitypolicyviolation",
                (event) => violated(`${event.violatedDirective} ${event.blockedURI}`));"""
        )
        context.on("request", lambda asked: wrong.extend(foreign(asked, url)))
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda said: wrong.extend(complaint(said.type, said.text)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def foreign(request: "Request", url: str) -> list[str]:
    """The address of a request that leaves the page's own folder."""
    folder = url.rsplit("/", 1)[0] if url.count("/") > 2 else url
    return [] if request.url.startswith((f"{folder}/", "blob:")) else [f"asked {request.url}"]


def complaint(kind: str, text: str) -> list[str]:
    return [text] if kind in ("error", "warning") and EXPECTED not in text else []


@pytest.fixture
def page(visit: "Visit", served: Server) -> "Page":
    """The page, opened, with its models known."""
    page = visit(served.url)
    page.wait_for_selector("#model")
    return page


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six pictures of different colours, sizes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(5)
    sizes = [(80, 40), (40, 80), (64, 64), (200, 120), (33, 47), (120, 90)]
    formats = ["png", "jpg", "webp", "png", "jpg", "png"]
    paths = []
    for number, (size, suffix) in enumerate(zip(sizes, formats, strict=True)):
        small = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = folder / f"picture-{number}.{suffix}"
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 x 40 as a viewer shows it, stored turned by 90 degrees; red on the left, blue right."""
    upright = np.zeros((40, 80, 3), np.uint8)
    upright[:, :40, 0] = 255
    upright[:, 40:, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path_factory.mktemp("turned") / "photo.jpg"
    image = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    image.save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """No picture."""
    path = tmp_path / "notes.txt"
    path.write_text("nothing to see here")
    return path
