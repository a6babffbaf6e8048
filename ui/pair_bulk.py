"""Decisions about a whole filter: what would change is counted first, and all of it can be taken back, also later."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

import streamlit as st

from db import bulk
from db.bulk import BulkLine
from db.pair_filters import PairFilter
from ui import state
from ui.acting import for_role, telling
from ui.text import escaped

ACTS: Mapping[str, tuple[str, str]] = {
    "accepted": ("Accept", ":material/check_circle:"),
    "rejected": ("Reject", ":material/cancel:"),
    "flagged": ("Flag", ":material/flag:"),
    "pending": ("Back to pending", ":material/restart_alt:"),
}
DONE: Mapping[str, str] = {
    "accepted": "accepted", "rejected": "rejected", "flagged": "flagged", "pending": "brought back to pending",
}  # fmt: skip
ASKED = "bulk_asked"


def section(wanted: PairFilter, total: int) -> None:
    """The decisions one may take about the filter, and those taken last."""
    if told := st.session_state.pop("bulk_told", None):
        st.success(escaped(told), icon=":material/done_all:")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link("pages/review.py", label="Review one by one", icon=":material/compare:",
                     query_params=wanted.with_status(None).as_query())  # fmt: skip
        for verdict, (words, icon) in ACTS.items():
            st.button(f"{escaped(words)} all…", icon=icon, key=f"bulk_{verdict}", on_click=_ask,
                      args=(verdict,), **for_role("reviewer", unless=total == 0))  # fmt: skip
        _last_ones()
    if verdict := st.session_state.get(ASKED):
        _confirm(wanted, verdict)


def _ask(verdict: str) -> None:
    st.session_state[ASKED] = verdict


def _put_away() -> None:
    st.session_state.pop(ASKED, None)


@st.dialog("Decide on the whole filter", on_dismiss=_put_away)
def _confirm(wanted: PairFilter, verdict: str) -> None:
    again = False
    if wanted.status is None and verdict != "pending":
        again = st.checkbox("Also change pairs that are decided otherwise", key="bulk_again")
    with state.database().reading() as session:
        found = bulk.preview(session, state.person(), wanted, verdict, redecide=again)
    st.markdown(f"**{found.n:,}** pairs of this filter will be **{DONE[verdict]}**, recorded as one bulk decision.")
    stay = (
        (found.same, f"are {verdict} already"), (found.decided, "are decided otherwise, or pending, and stay so"),
        (found.held, "are held by other reviewers right now"), (found.refused, "were refused by a rule"),
    )  # fmt: skip
    if any(n for n, _why in stay):
        st.caption("Left as they are: " + escaped("; ".join(f"{n:,} {why}" for n, why in stay if n)) + ".")
    note = st.text_input("Note (optional)", key="bulk_note")
    if st.button(f"Yes, {found.n:,} pairs", type="primary", key="bulk_yes", disabled=found.n == 0):
        with telling(), st.spinner("Deciding, a few hundred pairs at a time…"):
            done = bulk.decide_all(state.database(), state.person(), wanted, verdict, note=note or None,
                                   token=uuid.uuid4().hex, redecide=again)  # fmt: skip
            more = "" if done.n == found.n else f" {found.n - done.n:,} others changed or were taken meanwhile."
            st.session_state["bulk_told"] = f"{done.n:,} pairs {DONE[verdict]}.{more}"
            _put_away()
            st.rerun()


def _last_ones() -> None:
    with state.database().reading() as session:
        made = bulk.recent(session, state.person())
    if not made:
        return
    with st.popover(f"Last bulk decisions ({len(made):,})", icon=":material/history:"):
        for line in made:
            left, right = st.columns([4, 1], vertical_alignment="center")
            left.caption(escaped(_said(line), longest=300))
            if right.button("Undo", key=f"bulk_undo_{line.token}", icon=":material/undo:",
                            **for_role("reviewer", unless=line.n_undone >= line.n)):  # fmt: skip
                _undo(line)


def _said(line: BulkLine) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(line.created_ms / 1000))
    back = f", {line.n_undone:,} taken back" if line.n_undone else ""
    note = f". Note: {line.note}" if line.note else ""
    return f"{line.n:,} {DONE.get(line.verdict, line.verdict)} by {line.by}, {when}{back}{note}"


def _undo(line: BulkLine) -> None:
    with telling(), st.spinner("Taking it back…"):
        done = bulk.undo_all(state.database(), state.person(), line.token)
        kept = line.n - line.n_undone - done.n
        more = f" {kept:,} were decided again since then and keep that decision." if kept else ""
        st.session_state["bulk_told"] = f"{done.n:,} pairs came back to what they were.{more}"
        st.rerun()
