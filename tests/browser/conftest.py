"""Real Chromium in front of the real server, with a home folder that the product's own verbs filled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from running import HANG_MS, Studio

from tempo_core.settings import Home
from tests import studio as filled

# Its own 5 s are too short for a rerun on a machine that does other things.
expect.set_options(timeout=HANG_MS)

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """31 pending pairs about three drawn videos."""
    home = Home(tmp_path_factory.mktemp("filled"))
    filled.fill(home, n_videos=3).close()
    return home


@pytest.fixture
def studio(browser: Browser, filled_home: Home, tmp_path: Path) -> Iterator[Studio]:
    """A server of its own over a copy of the filled home; the videos stay where they were drawn."""
    shutil.copytree(filled_home.root, tmp_path / "home")
    running = Studio(Home(tmp_path / "home"))
    running.start()
    yield running
    running.close()


@pytest.fixture(scope="session")
def looked_at(browser: Browser, filled_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One server for the tests that only look: they may decide, but must not count what is in the database."""
    home = Home(tmp_path_factory.mktemp("looked-at") / "home")
    shutil.copytree(filled_home.root, home.root)
    running = Studio(home)
    running.start()
    yield running
    running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser profile; a script error on the page fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    opened = context.new_page()
    opened.set_default_timeout(HANG_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def beacon() -> Iterator[tuple[str, list[str]]]:
    """A loopback server that notes every request: (address, paths asked for)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()


@pytest.fixture
def listener(beacon: tuple[str, list[str]]) -> tuple[str, list[str]]:
    """The same, for a test that begins with nothing asked."""
    beacon[1].clear()
    return beacon
