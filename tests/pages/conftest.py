"""A studio for the pages: an empty one, and one where everything has happened once."""

from __future__ import annotations

import shutil

import pytest
import streamlit as st

from db.session import Database
from tempo_core.settings import Home
from ui import state


def _forget() -> None:
    """The next studio has other rows under the same ids."""
    for once in (state.home, state.database, state.signer):
        once.cache_clear()
    st.cache_data.clear()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    """An empty studio whose worker is somebody else's business."""
    monkeypatch.setenv("TEMPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEMPO_WORKER", "0")
    _forget()
    yield Home(tmp_path / "home")
    _forget()


@pytest.fixture
def filled(home, done_once) -> Database:
    shutil.copytree(done_once.root, home.root)
    return state.database()
