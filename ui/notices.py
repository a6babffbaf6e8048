"""A notice on every page that a run has ended: once per person, until the run was looked at or the notice put away."""

from __future__ import annotations

import streamlit as st

from db import run_notes
from db.run_notes import Ended
from ui import state, words
from ui.text import escaped

EVERY_S = 15
WORDS = {"succeeded": "is done", "failed": "has failed", "cancelled": "was stopped"}
ICONS = {
    "succeeded": ":green[:material/check_circle:]", "failed": ":red[:material/error:]",
    "cancelled": ":orange[:material/stop_circle:]",
}  # fmt: skip
_TOLD = "runs_told"


def show() -> None:
    """Call it after the page: what the page has shown is no news."""
    with st.sidebar:
        _news()


def saw(run_id: int) -> None:
    """The person has the run on the screen: its end is no news any more."""
    person = state.person()
    with state.database().reading() as session:
        new = any(ended.run_id == run_id for ended in run_notes.news(session, person))
    if new:
        with state.database().session() as session:
            run_notes.saw(session, person, run_id)


@st.fragment(run_every=EVERY_S)
def _news() -> None:
    with state.database().reading() as session:
        found = run_notes.news(session, state.person())
    for ended in found:
        _toast(ended)
        with st.container(border=True, gap="small"):
            _notice(ended)


def _notice(ended: Ended) -> None:
    st.markdown(
        f"{ICONS[ended.state]} **Run {ended.run_id:d}** ({escaped(words.recipe(ended.recipe))}) {WORDS[ended.state]}"
    )
    if ended.error and ended.state != "succeeded":
        st.caption(escaped(ended.error, longest=240))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link("pages/runs.py", label="Look", icon=":material/monitoring:",
                     query_params={"run": str(ended.run_id)})  # fmt: skip
        st.button("Put away", type="tertiary", key=f"seen_{ended.run_id}", on_click=_put_away, args=(ended.run_id,))


def _put_away(run_id: int) -> None:
    with state.database().session() as session:
        run_notes.saw(session, state.person(), run_id)


def _toast(ended: Ended) -> None:
    """Where the sidebar is closed; once per visit."""
    told = st.session_state.setdefault(_TOLD, [])
    name = f"{ended.run_id}:{ended.ended_ms}"
    if name not in told:
        told.append(name)
        st.toast(f"Run {ended.run_id:d} {WORDS[ended.state]}", icon=":material/notifications:")
