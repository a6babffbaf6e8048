"""The runs page in a browser: from a point of a curve to its pairs and to the desk, and the notice on every page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from at_desk import at_rest
from playwright.sync_api import Browser, Page, expect
from running import HANG_MS, Studio

from db import run_notes, run_pairs, runs
from db.people import local
from db.session import Database
from tempo_core.settings import Home
from tests import trained
from tests.pages import finished

POINTS = "[class*='st-key-curve_1_{name}'] .scatterlayer .trace:nth-of-type({line}) path.point"


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A server over a home in which run 1 is done and run 2 is at work."""
    home = Home(tmp_path_factory.mktemp("runs") / "home")
    finished.fill(home)
    database = Database.open(home.database)
    trained.add(database)
    database.close()
    running = Studio(home)
    running.start()
    yield running
    running.close()


def ids_of(address: str) -> list[int]:
    asked = re.search(r"[?&]ids=([0-9%C,]+)", address)
    assert asked, address
    return [int(part) for part in asked.group(1).replace("%2C", ",").split(",")]


def shown_pair(page: Page) -> str:
    expect(page.get_by_test_id("pair")).to_be_visible(timeout=HANG_MS)
    return page.get_by_test_id("pair").inner_text()


def test_a_point_of_a_curve_opens_its_pairs_and_from_there_the_desk(page: Page, studio: Studio):
    page.goto(f"{studio.url}/runs?run=1")
    at_rest(page)
    point = page.locator(POINTS.format(name="margin", line=2)).nth(9)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.get_by_text(re.compile(r"pairs? of step 10, level 2 medium"))).to_be_visible(timeout=HANG_MS)
    assert "step=10" in page.url and "level=l2" in page.url
    with studio.database.reading() as session:
        wanted = [pair.id for pair in run_pairs.of_steps(session, 1, 10, 10, 2)]
    page.reload()
    expect(page.get_by_text(re.compile(r"pairs? of step 10, level 2 medium"))).to_be_visible(timeout=HANG_MS)
    if wanted:
        page.get_by_role("link", name=re.compile("Review th")).click()
        shown_pair(page)
        assert ids_of(page.url) == wanted


def test_suspects_are_one_click_from_the_desk_the_worst_first(page: Page, studio: Studio):
    with studio.database.reading() as session:
        worst = [pair.id for pair in run_pairs.suspects(session, 1)]
    page.goto(f"{studio.url}/runs?run=1&view=Suspects")
    page.get_by_role("link", name=f"Review these {len(worst)}").click()
    assert str(worst[0]) in shown_pair(page)
    assert ids_of(page.url) == worst


def test_the_remedy_opens_the_form_with_the_run_and_the_sft_term(page: Page, studio: Studio):
    page.goto(f"{studio.url}/runs?run=2")
    expect(page.get_by_text("Chosen is falling")).to_be_visible(timeout=HANG_MS)
    page.get_by_role("button", name="Clone with the SFT term").click()
    expect(page.get_by_text("A copy of run 2: change what you like.")).to_be_visible(timeout=HANG_MS)
    page.get_by_role("button", name="Settings", exact=True).click()
    expect(page.get_by_label("Weight of the SFT term beside DPO")).to_have_value("1.00")


def test_the_end_of_a_run_is_told_on_another_page_while_it_is_open(page: Page, studio: Studio):
    with studio.database.session() as session:
        run_notes.saw(session, local(session), 1)
    page.goto(f"{studio.url}/library")
    expect(page.get_by_role("heading", name="Library")).to_be_visible(timeout=HANG_MS)
    with studio.database.session() as session:
        runs.set_state(session, 2, "failed", error="Out of memory. Use a smaller micro-batch.")
    notice = page.get_by_test_id("stSidebar")
    expect(notice.get_by_text("Use a smaller micro-batch.")).to_be_visible(timeout=HANG_MS)
    notice.get_by_role("link", name="Look").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible(timeout=HANG_MS)
    expect(notice.get_by_text("Use a smaller micro-batch.")).to_have_count(0, timeout=HANG_MS)


@pytest.mark.parametrize("view", ["Curves", "Suspects", "Compare", "Settings"])
def test_nothing_scrolls_sideways_on_a_tablet(page: Page, studio: Studio, view: str):
    page.set_viewport_size({"width": 820, "height": 1180})
    page.goto(f"{studio.url}/runs?run=1&view={view}")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible(timeout=HANG_MS)
    expect(page.get_by_text("All runs")).to_be_visible(timeout=HANG_MS)
    at_rest(page)
    wide = page.evaluate("[document.documentElement.scrollWidth, document.querySelector('.stMain').scrollWidth]")
    assert max(wide) <= 820
