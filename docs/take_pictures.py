"""Take the pictures of every page, light and dark, from a studio that is running.

python docs/take_pictures.py http://127.0.0.1:8501 [page ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import which

from playwright.sync_api import Browser, Page, sync_playwright

PAGES = {
    "overview": "",
    "library": "library?view=Rules",
    "pairs": "pairs",
    "review": "review",
    "sampling": "sampling",
    "curriculum": "curriculum",
    "datasets": "datasets",
    "runs": "runs?run=2",
    "evaluate": "evaluate",
    "team": "team",
    "exchange": "exchange",
    "settings": "settings",
    "doctor": "doctor",
}
HERE = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 1440, 900
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def take(page: Page, address: str, file: Path) -> None:
    """One page as a visitor sees it first, once it stands still."""
    page.goto(address)
    page.wait_for_selector(SETTLED, timeout=60_000)
    page.wait_for_timeout(4_000)
    page.screenshot(path=file)


def both(browser: Browser, address: str, names: list[str]) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
        for name in names:
            take(context.new_page(), f"{address}/{PAGES[name]}", HERE / f"{name}_{scheme}.png")
        context.close()


def main(address: str, *names: str) -> None:
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        both(browser, address.rstrip("/"), list(names or PAGES))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
