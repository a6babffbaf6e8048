"""Every page in a browser, light and dark, wide and narrow: readable, nothing cut off, nothing from elsewhere."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, Page, expect
from running import HANG_MS, Studio

HEADINGS = {
    "": "TEMPO Studio",
    "library": "Library",
    "pairs": "Pairs",
    "sampling": "Sampling",
    "curriculum": "Curriculum",
    "datasets": "Datasets",
    "runs": "Runs",
    "evaluate": "Evaluate",
    "team": "Team",
    "exchange": "Exchange",
    "settings": "Settings",
    "doctor": "Health",
}
CONTRASTS = """() => {
  const light = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  return [...document.querySelectorAll('button[kind^="primary"]:not(:disabled)')].map((button) => {
    const word = button.querySelector('p') || button;
    const both = [getComputedStyle(word).color, getComputedStyle(button).backgroundColor];
    const [dark, bright] = both.map(light).sort((a, b) => a - b);
    return [button.textContent, (bright + 0.05) / (dark + 0.05)];
  });
}"""
CUT_OFF = """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
  .filter((e) => e.scrollWidth > e.clientWidth).map((e) => [e.tagName, e.scrollWidth, e.clientWidth])"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 820)])
def test_every_page_is_readable_whole_and_from_here_only(browser: Browser, looked_at: Studio, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(HANG_MS)
    elsewhere, faults, buttons = [], [], {}
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: elsewhere.append(request.url) if _is_foreign(request.url, looked_at) else None)
    for path, heading in HEADINGS.items():
        page.goto(f"{looked_at.url}/{path}")
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=HANG_MS)
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=HANG_MS)
        assert page.evaluate(CUT_OFF) == [], path
        buttons |= _settled_contrasts(page)
    context.close()
    assert {"Make pairs", "Scan"} <= set(buttons) and min(buttons.values()) >= 4.5, buttons
    assert not faults and not elsewhere, (faults, elsewhere)


def _settled_contrasts(page: Page) -> dict[str, float]:
    """Contrast of each primary button's word, once the studio's rules have arrived and colours no longer fade."""
    deadline = time.monotonic() + HANG_MS / 1000
    while min((found := dict(page.evaluate(CONTRASTS))).values(), default=21.0) < 4.5 and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    return found


def _is_foreign(url: str, studio: Studio) -> bool:
    return not url.startswith((studio.url, studio.url.replace("http", "ws", 1), "data:", "blob:"))
