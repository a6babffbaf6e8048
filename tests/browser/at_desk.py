"""What tests do at the desk: open it, read what it holds, wait until everything is saved or a page stands still."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.running import HANG_MS, Studio

DESK = """() => {
  const host = [...document.querySelectorAll('*')].find((e) => e.shadowRoot && e.shadowRoot.querySelector('.desk'));
  return host.shadowRoot.querySelector('.mount').desk;
}"""


def open_desk(page: Page, studio: Studio, query: str = "") -> None:
    page.goto(studio.review_url + query)
    expect(page.get_by_test_id("pair")).to_be_visible(timeout=HANG_MS)


def at_rest(page: Page) -> Page:
    """The page once its script has run, after which nothing on it moves any more."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=HANG_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=HANG_MS)
    return page


def pair_shown(page: Page) -> str:
    return page.get_by_test_id("pair").inner_text()


def number_shown(page: Page) -> int:
    return int(pair_shown(page).removeprefix("Pair "))


def saved(page: Page) -> None:
    expect(page.get_by_test_id("save")).to_have_text("saved", timeout=HANG_MS)


def of_desk(page: Page, expression: str) -> Any:
    """A value of the desk object, e.g. `desk.players.lock`."""
    return page.evaluate(f"() => {{ const desk = ({DESK})(); return {expression}; }}")


def until(page: Page, expression: str) -> None:
    """Wait until an expression about the desk object holds."""
    page.wait_for_function(f"() => {{ const desk = ({DESK})(); return {expression}; }}", timeout=HANG_MS)


def focused(page: Page) -> str:
    """What has the focus: its act, its class or its label."""
    told: str = page.evaluate(
        """() => { let e = document.activeElement; while (e && e.shadowRoot) e = e.shadowRoot.activeElement;
        return e ? e.dataset.act || e.getAttribute('aria-label') || e.className || e.tagName : ''; }"""
    )
    return told
