"""Several people at one server: sessions over Streamlit's own WebSocket, and two browsers on one pair."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from at_desk import saved
from playwright.sync_api import Browser, Page, expect
from running import HANG_MS, Studio

from benchmarks.trust import databases, f05_sessions, running_run, serving, visitor
from db import bulk, metrics, pairs, people, reviews
from db.pair_filters import PairFilter
from tempo_core.settings import Home

ADA, BEN = serving.named(2)
T = TypeVar("T")


@pytest.fixture(scope="module")
def door(filled_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    home = Home(tmp_path_factory.mktemp("door") / "home")
    shutil.copytree(filled_home.root, home.root)
    with serving.serving(home, [ADA, BEN]) as studio:
        yield studio


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread: the browser of these tests has an event loop at work in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_sessions_at_once_see_no_error_and_lose_no_decision(door: Studio):
    before = databases.tokens(door.home.database)
    seen, _ = apart(f05_sessions.working(door, 2, rounds=1))
    assert seen.failed == [] and len(seen.took_s) == 2 * f05_sessions.A_ROUND
    assert len(seen.tokens) == 4 and set(seen.tokens) == databases.tokens(door.home.database) - before
    assert databases.faults(door.home.database) == []


def test_the_page_of_a_run_draws_what_arrives_while_it_is_looked_at(door: Studio):
    with door.database.session() as session:
        bulk.decide(session, people.local(session), PairFilter(kinds=("drop",)), "accepted", token="drop")
    run_id = running_run.start(door.database, n_steps=5)

    async def watch() -> list[int]:
        n_curves = []
        async with visitor.visiting(door.url, serving.headers(ADA)) as one:
            await one.open("runs")
            (fragment,) = [name for name, every_s in one.fragments.items() if every_s < 10]
            for step in (1, 2):
                n_curves.append(sum(element.DESCRIPTOR.name == "PlotlyChart" for element in one.elements.values()))
                with door.database.session() as session:
                    metrics.record(session, run_id, running_run.values(step))
                await one.poll(fragment)
                assert fragment in one.fragments
        return n_curves

    assert apart(watch()) == [0, len(running_run.NAMES)]


def test_who_comes_second_to_a_pair_reads_whose_decision_stands(browser: Browser, door: Studio):
    with door.database.reading() as session:
        pair_id = pairs.page(session, PairFilter(status="pending"))[-1].id
    first, second = (_at_desk(browser, door, name, pair_id) for name in (ADA, BEN))
    first.keyboard.press("a")
    saved(first)
    second.keyboard.press("r")
    expect(second.get_by_text(f"{ADA} accepted pair {pair_id}")).to_be_visible(timeout=HANG_MS)
    saved(second)
    with door.database.reading() as session:
        assert pairs.get(session, pair_id).status == "accepted"
        assert [line.by for line in reviews.history(session, pair_id)] == [ADA]
    for page in (first, second):
        page.context.close()


def _at_desk(browser: Browser, door: Studio, name: str, pair_id: int) -> Page:
    """The desk of this person with this pair."""
    page = browser.new_context(extra_http_headers=serving.headers(name)).new_page()
    page.set_default_timeout(HANG_MS)
    page.goto(f"{door.review_url}?pair={pair_id}")
    expect(page.get_by_test_id("pair")).to_have_text(f"Pair {pair_id}", timeout=HANG_MS)
    return page
