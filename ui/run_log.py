"""The log of a run's attempts, with a search. It is a program's text and shown as plain text only."""

from __future__ import annotations

import streamlit as st

from jobs import launch
from ui import state
from ui.run_look import Look
from ui.text import untrusted

TAIL, ALL = 20_000, 8_000_000
MOST_LINES = 400


def show(look: Look) -> None:
    if look.job is None or look.job.attempt == 0:
        st.caption("The log begins when the run starts.")
        return
    left, right = st.columns([3, 1])
    words = left.text_input("Search the log", key="log_search", placeholder="stage, memory, error ...").strip()
    attempts = list(range(look.job.attempt, 0, -1))
    attempt = right.selectbox("Attempt", attempts, key=f"log_attempt_{look.run.id}_{look.job.attempt}")
    text = launch.log_tail(state.home(), look.job.id, attempt, ALL if words else TAIL)
    if words:
        lines = text.splitlines()
        hits = found(lines, words)
        shown = f", the last {MOST_LINES} are shown" if len(hits) > MOST_LINES else ""
        st.caption(f"{len(hits):,} of {len(lines):,} lines{shown}")
        text = "\n".join(hits[-MOST_LINES:]) or "No line holds this."
    untrusted(text or "Nothing yet.", label="Log", height=320)


def found(lines: list[str], words: str) -> list[str]:
    """The lines that hold every word, whatever the case, each with its number."""
    wanted = words.lower().split()
    return [f"{number:>6}  {line}" for number, line in enumerate(lines, 1) if all(w in line.lower() for w in wanted)]
