"""Makes docs/page.jpg, the README's picture, from the page of a running server.

Usage, with the default model served on ATTNVGG_URL and Chromium there:
python docs/make_page.py
"""

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
SAMPLES = ("bus", "dogs", "cat")  # the newest stands first


def main() -> None:
    url = os.environ.get("ATTNVGG_URL", "http://127.0.0.1:3000")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme="light")
        page.goto(url)
        for count, sample in enumerate(SAMPLES, start=1):
            page.click(f"[data-sample^={sample}]")
            page.wait_for_selector(f"article[data-state=done]:nth-of-type({count})")
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)  # fades end
        page.screenshot(path=ROOT / "docs" / "page.jpg", full_page=True, type="jpeg", quality=88)
        browser.close()


if __name__ == "__main__":
    main()
