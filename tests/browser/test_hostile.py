"""Hostile text in every place there is, the real browser on every page and view, and an attacker's server that listens.

Once with the content security policy taken away: what keeps the text from being read as markup is then all there is.
Once with it, and with axe, because text of this kind also breaks pages that are safe.
"""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from at_desk import at_rest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from running import HANG_MS, Studio

from tempo_core.settings import Home
from tests import evil
from tests.everywhere import ADDRESSES, CHOSEN, PAGES, VIEWS

FULLEST = ("pairs", "review", "evaluate")
"""Pages that show most of it in their first view."""

LIVE = """(beacon) => {
  const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
  const has = (e, name, part) => (e.getAttribute(name) || '').includes(part);
  const wrong = (e) => e.hasAttribute('onerror') || e.hasAttribute('onload') || has(e, 'src', beacon)
    || has(e, 'href', 'javascript:') || (e.tagName === 'STYLE' && e.textContent.includes(beacon))
    || (e.tagName === 'B' && e.textContent === 'bold') || has(e, 'data-testid', 'stException');
  return all(document).filter(wrong).map((e) => e.outerHTML.slice(0, 200));
}"""
"""Elements that the text has become, and errors of a page."""

SHOWN = """() => {
  const text = (root) => [...root.querySelectorAll('*')].map((e) => (e.value || '') + [...e.childNodes]
    .filter((n) => n.nodeType === 3).map((n) => n.data).join('') + (e.shadowRoot ? text(e.shadowRoot) : '')).join(' ');
  return text(document.querySelector('[data-testid=stMain]')).includes('window.evil');
}"""
DOWNLOADS = """() => [...document.querySelectorAll('[aria-label^="Download as CSV"]')]
  .map((e) => getComputedStyle(e.closest('[data-testid=stElementToolbarButton]')).display)"""
CUT_OFF = """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
  .filter((e) => e.scrollWidth > e.clientWidth).map((e) => [e.tagName, e.scrollWidth, e.clientWidth])"""


@pytest.fixture(scope="module")
def hostile(
    done_once: Home, beacon: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    home = Home(tmp_path_factory.mktemp("hostile") / "home")
    shutil.copytree(done_once.root, home.root)
    evil.fill(home)
    evil.spoil(home, beacon[0])
    running = Studio(home)
    running.start()
    yield running
    running.close()


class Watch:
    """A page that notes what it asks for elsewhere and what goes wrong on it."""

    def __init__(self, browser: Browser, studio: Studio, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, **context)
        self.page, self.studio = self.context.new_page(), studio
        self.page.set_default_timeout(HANG_MS)
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        ours = (studio.url, studio.url.replace("http", "ws", 1), "data:", "blob:")
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda r: None if r.url.startswith(ours) else self.elsewhere.append(r.url))

    def open(self, name: str, query: dict[str, str]) -> Page:
        self.page.goto(f"{self.studio.url}/{'' if name == 'overview' else name}?{urlencode(query)}")
        return at_rest(self.page)

    def views(self, name: str) -> Iterator[tuple[str, Page]]:
        """A page in each of its views: the first by its address, the others by a click as people do."""
        key, names = VIEWS.get(name, ("", ("",)))
        row = {CHOSEN[name]: "1"} if name in CHOSEN else {}
        yield f"{name} {names[0]}", self.open(name, row)
        for i, view in enumerate(names[1:], 1):
            self.page.locator(f".st-key-{key} button").nth(i).click()
            self.page.wait_for_url(f"**{key}={view}*")
            yield f"{name} {view}", at_rest(self.page)


def test_no_text_is_read_as_markup_on_any_page_even_without_the_policy(browser: Browser, hostile: Studio, beacon):
    address, asked = beacon
    watch, shown, wrong = Watch(browser, hostile, bypass_csp=True), set(), {}
    for name in PAGES:
        for view, page in watch.views(name):
            wrong[view] = page.evaluate(LIVE, address) + page.evaluate(CUT_OFF)
            shown |= {view} if page.evaluate(SHOWN) else set()
    ran = watch.page.evaluate("window.evil")
    watch.context.close()
    assert not any(wrong.values()), {view: found for view, found in wrong.items() if found}
    assert (ran, watch.faults, watch.elsewhere, asked) == (None, [], [], [])
    assert len(wrong) == len(ADDRESSES) and len(shown) >= 20, shown


def test_pages_full_of_it_stay_accessible_under_the_policy(browser: Browser, hostile: Studio, beacon):
    # Dark: where the primary colour is light, Streamlit's own white on it is what cannot be read.
    watch, found, downloads = Watch(browser, hostile, color_scheme="dark"), {}, set()
    for name in FULLEST:
        found[name] = serious(watch.open(name, {CHOSEN[name]: "1"} if name in CHOSEN else {}))
        downloads |= set(watch.page.evaluate(DOWNLOADS))
    watch.context.close()
    assert not any(found.values()), found
    assert downloads == {"none"}  # there, and not shown: they would write formulas
    assert (watch.faults, watch.elsewhere, beacon[1]) == ([], [], [])


def serious(page: Page) -> list[str]:
    # The sidebar's list, toasts and the inside of a table are Streamlit's own.
    theirs = ("stSidebar", "stToast", "stToastContainer", "stDataFrame")
    around = {"exclude": [*([f'[data-testid="{name}"]'] for name in theirs), [".stToast"]]}
    told = Axe().run(page, context=around, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in told
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


# ---- the real server, asked by what is no browser -------------------------------------------------------------------
def asked(studio: Studio, path: str, **headers: str) -> int:
    """The status of an answer to exactly this request."""
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=HANG_MS / 1000)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


def test_a_page_of_another_site_cannot_open_the_pages_connection(hostile: Studio):
    ours = f"127.0.0.1:{hostile.port}"
    assert asked(hostile, "/_stcore/stream", Host=ours, Origin=f"http://{ours}", **UPGRADE) == 101
    for origin in (
        "http://evil.example",
        f"http://evil.example:{hostile.port}",
        "https://127.0.0.1.evil.example",
        "null",
    ):
        assert asked(hostile, "/_stcore/stream", Host=ours, Origin=origin, **UPGRADE) == 403, origin
    # A name that now leads here (DNS rebinding) is not ours either, whatever its page calls itself.
    assert asked(hostile, "/_stcore/stream", Host="evil.example", Origin="http://evil.example", **UPGRADE) == 403


@pytest.mark.parametrize(
    "path", ["/", "/review", "/clips/1?e=1&s=1", "/_stcore/health", "/_stcore/host-config", "/health"]
)
def test_the_real_server_answers_to_its_own_names_only(hostile: Studio, path: str):
    assert asked(hostile, path, Host="evil.example") == 400
    assert asked(hostile, path, Host=f"localhost:{hostile.port}") in (200, 403)
