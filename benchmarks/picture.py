"""`python -m benchmarks.picture`: README's picture of reports/results.html, by Chromium."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGE = Path("reports/results.html")
PICTURE = Path("docs/pictures/page.png")
SIZE = {"width": 1150, "height": 1500}

if __name__ == "__main__":
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(PAGE.resolve().as_uri())
        page.screenshot(path=PICTURE)
        browser.close()
