"""Take the pictures of the product for the README: the changed sample's result, at two widths, in both themes.

``python -m benchmarks.screenshots``; needs Chromium and what the tests need. Written to ``static/img/``.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.server import Server

FOLDER = Path(__file__).resolve().parent.parent / "static" / "img"
HEIGHTS = {1280: 1500, 390: 1500}  # as much of the page as says what it is
PASSWORD = "correct-horse-battery-staple"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        server.start()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            shoot(browser, server.url)
        finally:
            browser.close()
            server.stop()


def shoot(browser: Browser, url: str) -> None:
    context = browser.new_context(base_url=url)
    page = context.new_page()
    analyse(page)
    for width, height in HEIGHTS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.reload()
            page.wait_for_load_state("networkidle")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.thumbnail((960, 1200))
            picture.save(FOLDER / f"result-{width}-{scheme}.jpg", quality=72, optimize=True, progressive=True)


def analyse(page: Page) -> None:
    page.goto("/accounts/signup/")
    page.locator("input[type=email]").fill("reader@example.org")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("button", name="Check the changed video").click()
    page.wait_for_url(re.compile("/analyses/"))
    page.locator("#verdict").wait_for(timeout=300_000)


if __name__ == "__main__":
    main()
