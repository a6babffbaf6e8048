"""The parts of the measurement. Each starts what it needs, over a studio with nothing decided, and gives rows."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page

from benchmarks.desk import home as homes
from benchmarks.desk import playing, tabs
from benchmarks.desk.tabs import key_of, next_pair, opened, press_at_pace
from tempo_core.settings import Home
from tests.browser.running import Studio, wait_for

Figures = dict[str, Any]
PACE_S = 1.2127
"""Between two keys. At 1.2 s, 36 pictures, each key would fall on the same moment between two pictures."""
DECIDES = tuple(key_of(act) for act in ("accept", "reject", "accept", "swap"))
BURST = (
    ("accept", None), ("reject", None), ("reason", "2"), ("swap", None), ("flag", None), ("accept", None),
    ("undo", None), ("accept", None), ("reject", None), ("reason", "5"), ("accept", None), ("swap", None),
)  # fmt: skip
"""Every one of these keys leaves a row, or the key was lost."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every part is given. `quick` scales the counts down, to see that it all works."""

    browser: Browser
    home: Home
    scratch: Path
    quick: bool = False

    @contextmanager
    def serving(self, name: str) -> Iterator[Studio]:
        with tabs.serving(homes.copy_of(self.home, self.scratch / name)) as studio:
            yield studio

    def n(self, whole: int, quick: int) -> int:
        return quick if self.quick else whole

    @property
    def videos(self) -> Path:
        return self.home.root.parent / "videos"


def latency(bench: Bench) -> Figures:
    """From the key to the next pair, at about one pair per 1.2 s; every pair about another file."""
    n = bench.n(60, 6)
    with bench.serving("latency") as studio:
        page = opened(tabs.fresh(bench.browser), studio.review_url)
        tabs.measured(page, DECIDES, PACE_S)  # the first keys warm the page up
        rows = tabs.measured(page, _cycled(DECIDES, n), PACE_S)
        page.context.close()
    return {
        **_spread("key_to_pair", rows, "visible"),
        **_spread("key_to_moving", rows, "moving"),
        **_spread("ack_1", rows, "saved"),
    }


def plain(bench: Bench) -> Figures:
    """The same in plain Streamlit."""
    with tabs.plain_server(bench.videos, homes.story(range(10))) as url:
        page = opened(tabs.fresh(bench.browser), url)
        tabs.measured(page, ["n"] * 4, PACE_S)
        rows = tabs.measured(page, ["n"] * bench.n(40, 6), PACE_S)
        page.context.close()
    return _spread("st_video", rows, "visible")


def first(bench: Bench) -> Figures:
    """From the address to the first pair with both frames: a profile with nothing cached, a server that is warm."""
    with bench.serving("first") as studio:
        times = []
        for _ in range(bench.n(6, 3)):
            page = opened(tabs.fresh(bench.browser), studio.review_url)
            times.append(page.evaluate("() => probe.first") / 1000)
            page.context.close()
    return {"first_pair_s": statistics.median(times[1:]), "first_pair_max_s": max(times[1:]), "first_visit_s": times[0]}


# ---- nothing is lost ------------------------------------------------------------------------------------------------
def burst(bench: Bench) -> Figures:
    """60 keys in 12 s, mixed: every one must become one row, in the order of the keys."""
    n = bench.n(60, 12)
    acts = [act for act, _ in itertools.islice(itertools.cycle(BURST), n)]
    keys = [key or key_of(act) for act, key in itertools.islice(itertools.cycle(BURST), n)]
    with bench.serving("burst") as studio:
        page = opened(tabs.fresh(bench.browser), studio.review_url)
        press_at_pace(page, keys, 0.2)
        stored = _stored(page, studio)
        page.context.close()
    return {
        "burst_stored": _in_common(acts, stored),
        "burst_keys": n,
        "burst_in_order": acts == stored,
        "burst_twice": len(stored) - min(len(stored), n),
    }


def restart(bench: Bench) -> Figures:
    """Four reviews while the server is dead; a page left while saving; four more, and the tab closed in the outage."""
    with bench.serving("restart") as studio:
        context = tabs.fresh(bench.browser)
        page = opened(context, studio.review_url)
        next_pair(page, DECIDES[0])
        before = len(_stored(page, studio))
        studio.kill()
        press_at_pace(page, [key_of(act) for act in ("accept", "reject", "flag", "accept")], 0.4)
        studio.start()
        after_restart = len(_stored(page, studio)) - before

        left = pressed_and_left(page)
        after_switch = len(_stored(page, studio)) - before - after_restart

        studio.kill()
        press_at_pace(page, [key_of(act) for act in ("accept", "accept", "reject", "swap")], 0.4)
        other = context.new_page()
        page.close()
        studio.start()
        other.goto(studio.review_url)
        other.wait_for_function("() => window.probe.first > 0")
        after_closed = len(_stored(other, studio)) - before - after_restart - after_switch
        context.close()
    return {
        "restart_stored": after_restart,
        "switch_stored": after_switch,
        "switch_keys": left,
        "closed_tab_stored": after_closed,
    }


def pressed_and_left(page: Page) -> int:
    """Eight keys, then another page of the studio in the middle of saving, and back again; returns the keys pressed."""
    page.wait_for_function("() => window.probe.players().length === 2")
    press_at_pace(page, _cycled(DECIDES, 8), 0.1)
    _go_to(page, "Pairs")
    page.get_by_role("heading", name="Pairs", exact=True).first.wait_for()
    _go_to(page, "Review")
    page.wait_for_function("() => window.probe.players().length === 2")
    return 8


def _go_to(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNavLink").filter(has_text=name).first.click()


def _stored(page: Page, studio: Studio) -> list[str]:
    """The acts in the database once the desk says that all is saved and the last row has come to rest."""
    tabs.all_saved(page)
    wait_for(lambda: len(set(studio.tokens())) == len(studio.acts()), "a review was stored twice")
    return [act for act, _, _ in studio.acts()]


def _in_common(asked: Sequence[str], stored: Sequence[str]) -> int:
    return sum((Counter(asked) & Counter(stored)).values())


# ---- playing --------------------------------------------------------------------------------------------------------
def drift(bench: Bench) -> Figures:
    """How far the players are apart while they play, by lock and speed."""
    with bench.serving("drift") as studio:
        return playing.drift(bench.browser, studio, play_s=bench.n(7, 3))


def steps(bench: Bench) -> Figures:
    """100 single steps, at 25 and at 30000/1001 frames a second."""
    with bench.serving("steps") as studio:
        return playing.steps(bench.browser, studio, n_steps=bench.n(100, 10))


# ---- what grows -----------------------------------------------------------------------------------------------------
def memory(bench: Bench) -> Figures:
    """Server and browser over 200 pairs, after 20 that warm both up."""
    n_pairs = bench.n(200, 10)
    with bench.serving("memory") as studio:
        page = opened(tabs.fresh(bench.browser), studio.review_url)
        _decided(page, bench.n(20, 4))
        server, tab = _rss_mb(studio), _in_browser(page)
        _decided(page, n_pairs)
        server_after, tab_after = _rss_mb(studio), _in_browser(page)
        page.context.close()
    return {
        "server_rss_mb": server,
        "server_growth_mb": server_after - server,
        "heap_mb": tab["JSHeapUsedSize"] / 1e6,
        "heap_growth_mb": (tab_after["JSHeapUsedSize"] - tab["JSHeapUsedSize"]) / 1e6,
        "dom_nodes_growth": round(tab_after["Nodes"] - tab["Nodes"]),
        "listeners_growth": round(tab_after["JSEventListeners"] - tab["JSEventListeners"]),
    }


def _decided(page: Page, n: int) -> None:
    for key in _cycled(DECIDES, n):
        next_pair(page, key)
        page.wait_for_timeout(150)
    tabs.all_saved(page)


def _rss_mb(studio: Studio) -> float:
    """The least of some seconds: what is held, without what a request needs for a moment."""
    assert studio.process is not None
    server, found = psutil.Process(studio.process.pid), []
    for _ in range(6):
        psutil.cpu_percent(interval=0.5)
        found.append(server.memory_info().rss / 1e6)
    return min(found)


def _in_browser(page: Page) -> dict[str, float]:
    """Chromium's own counters, after its rubbish was collected."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    found = {line["name"]: line["value"] for line in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return found


# ---- for information ------------------------------------------------------------------------------------------------
def acks(bench: Bench) -> Figures:
    """How long a review is on its way while four browsers review at once, each in a filter of its own."""
    rounds = bench.n(12, 3)
    with bench.serving("acks") as studio:
        pages = [
            opened(tabs.fresh(bench.browser), f"{studio.review_url}?magnitudes={strength}")
            for strength in (2, 4, 8, 16)
        ]
        for page in pages:
            page.evaluate("() => { probe.armed = 'other file'; }")
        for _ in range(rounds):
            for page in pages:
                page.keyboard.press(DECIDES[0])
                page.wait_for_timeout(300)
        pages[0].wait_for_timeout(5000)
        rows = [
            {"saved": None if key["saved"] is None else key["saved"] - key["at"]}
            for page in pages
            for key in page.evaluate("() => probe.keys")
        ]
        for page in pages:
            page.context.close()
    return _spread("ack_4", rows, "saved")


def _cycled(keys: Sequence[str], n: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(keys), n))


def _spread(name: str, rows: Sequence[dict[str, Any]], what: str) -> Figures:
    """Median, 95th percentile, largest, and how many there are; a key that never led anywhere is told, not left out."""
    times = [row[what] for row in rows if row[what] is not None]
    found: Figures = {f"{name}_n": len(times), f"{name}_never": len(rows) - len(times)}
    if times:
        found |= {f"{name}_p{p}_ms": float(np.percentile(times, p)) for p in (50, 95)} | {f"{name}_max_ms": max(times)}
    return found


PARTS: dict[str, Callable[[Bench], Figures]] = {
    "latency": latency, "plain": plain, "burst": burst, "restart": restart, "drift": drift, "steps": steps,
    "memory": memory, "first": first, "acks": acks,
}  # fmt: skip
