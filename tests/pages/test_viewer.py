"""A viewer presses every button of every page, also those that the page greys out: nothing is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from db import people
from tests.everywhere import CHOSEN, PAGES, VIEWS
from tests.pages.test_pages import PAGES as KNOWN
from tests.pages.test_pages import opened
from ui import state

OWN = {
    "Review more", "The paper's limits", "Next page", "Use in a new run", "Verify", "Clone", "Letters off", "Save keys",
    "Take a preset instead",
}  # fmt: skip
"""What a viewer may press: it leads somewhere, shows something, counts again, or is about their own keys."""


def rows(path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        return list(database.iterdump())


@pytest.mark.parametrize("page", PAGES)
def test_a_viewer_presses_every_button_and_nothing_is_written(page, filled, home, monkeypatch):
    with filled.session() as session:
        viewer = people.add(session, "test|v", "Vic", "viewer")
    monkeypatch.setattr(state, "person", lambda: viewer)
    before, pressed, offered = rows(home.database), set(), set()
    for app in views(page):
        i = 0
        while i < len(app.button):
            button, i = app.button[i], i + 1
            if (button.key or "").startswith("facet_") or button.label in pressed:
                continue  # another filter in the address, or pressed in another view of the page
            pressed.add(button.label)
            offered |= set() if button.disabled else {button.label}
            button.proto.disabled = False  # what a browser sends that does not care
            button.click().run()
            assert not app.exception, (button.label, app.exception[0].value)
    assert rows(home.database) == before, pressed
    assert offered <= OWN, offered - OWN


def views(page: str) -> Iterator[AppTest]:
    """The page in each of its views, by the control that a visitor uses."""
    key, names = VIEWS.get(page, ("", ("",)))
    app = opened(page, **({CHOSEN[page]: "1"} if page in CHOSEN else {}))
    yield app
    for name in names[1:]:
        app.segmented_control(key=key).set_value(name).run()
        assert not app.exception, (name, app.exception[0].value)
        yield app


def test_everywhere_means_every_page():
    assert PAGES == KNOWN


@pytest.mark.parametrize("page", ["pairs", "review", "sampling"])
def test_a_column_in_the_address_is_no_filter_and_its_value_is_not_looked_at(page, filled):
    """T10: the pages whose address holds a filter of pairs."""
    app = opened(page, created_by__subject="local|local")
    said = [warning.value for warning in app.warning if "no filter" in warning.value]
    assert len(said) == 1 and "created" in said[0], said
