"""Real Chromium in front of a real server: opening pages, pressing keys at a pace, and what the probe saw."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tempo_core.settings import Home
from tests.browser.running import Studio, free_port, wait_for
from ui.desk_keys import DEFAULTS

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
PROBE = Path(__file__).with_name("probe.js").read_text(encoding="utf-8")
PATIENCE_MS = 60_000
WINDOW = {"width": 1440, "height": 900}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def serving(home: Home) -> Iterator[Studio]:
    """The studio's own server, and its database to read from."""
    studio = Studio(home)
    try:
        studio.start()
        yield studio
    finally:
        studio.close()


@contextlib.contextmanager
def plain_server(videos: Path, text: str) -> Iterator[str]:
    """The page with two `st.video`, by a server of its own."""
    port, folder = free_port(), videos.parent
    command = [sys.executable, "-m", "streamlit", "run", Path(__file__).with_name("plain.py")]
    options = ["--server.headless=true", "--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
    address = [f"--server.port={port}", "--server.address=127.0.0.1"]
    environment = os.environ | {"PLAIN_VIDEOS": str(videos), "PLAIN_TEXT": text}
    with (folder / "plain.log").open("ab") as log:
        server = subprocess.Popen(
            [*command, *options, *address], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/_stcore/health"), "the plain page's server did not answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def fresh(browser: Browser) -> BrowserContext:
    """A profile of its own: nothing cached, nothing stored; with the probe in every page."""
    context = browser.new_context(viewport=WINDOW, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(PROBE)
    return context


def opened(context: BrowserContext, url: str) -> Page:
    """A page whose first pair is visible, frames and all."""
    page = context.new_page()
    page.goto(url)
    page.wait_for_function("() => window.probe.first > 0")
    return page


def key_of(act: str) -> str:
    """What Playwright presses for an act of the desk."""
    return DEFAULTS[act].replace(" ", "Space")


def press_at_pace(page: Page, keys: Sequence[str], every_s: float) -> None:
    """One key each `every_s`, by the clock and not by what the page has come to."""
    start = time.monotonic()
    for number, key in enumerate(keys):
        page.wait_for_timeout(max(0.0, 1000 * (start + number * every_s - time.monotonic())))
        page.keyboard.press(key)


def next_pair(page: Page, key: str) -> None:
    """Press a key and wait until another pair is named."""
    before = pair_number(page)
    page.keyboard.press(key)
    page.wait_for_function("(before) => window.probe.pair() !== before", arg=before)


def pair_number(page: Page) -> int:
    return int(page.evaluate("() => window.probe.pair()"))


def all_saved(page: Page) -> None:
    page.get_by_test_id("save").get_by_text("saved", exact=True).wait_for()


def measured(page: Page, keys: Sequence[str], every_s: float, armed: str = "other file") -> list[dict[str, Any]]:
    """What each key led to, in milliseconds after it: `visible`, `moving` and `saved`, None for never."""
    page.evaluate("(armed) => { probe.keys = []; probe.armed = armed; }", armed)
    press_at_pace(page, keys, every_s)
    with contextlib.suppress(Exception):
        page.wait_for_function("() => probe.keys.every((key) => key.visible && key.saved)", timeout=5000)
    rows = page.evaluate("() => { probe.armed = false; const keys = probe.keys; probe.keys = []; return keys; }")
    return [
        {what: None if row[what] is None else row[what] - row["at"] for what in ("visible", "moving", "saved")}
        for row in rows
    ]
