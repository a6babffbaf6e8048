"""Evaluate: before and after on held-out videos and public benchmarks, every figure with its 95 % interval.

The page is a list of views; each is one call of the part of `ui/` that draws it.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from jobs import starting
from ui import evaluation_answers, evaluation_compare, evaluation_scores, experiments, paper, transfer, try_it
from ui.acting import of_address, work

VIEWS: dict[str, tuple[str, Callable[[], None]]] = {
    "scores": ("Scores", evaluation_scores.show),
    "compare": ("Compare two", evaluation_compare.show),
    "answers": ("Answers", evaluation_answers.show),
    "try": ("Try it", try_it.show),
    "experiments": ("Experiments", experiments.section),
    "transfer": ("Transfer", lambda: transfer.show(starting.start_run)),
    "paper": ("For the paper", paper.section),
}
"""Name in the address: what it is called, and the call that draws it."""


def main() -> None:
    st.title("Evaluate")
    st.caption("Intervals are 95 %, by a bootstrap over videos. A change is told only where its interval excludes 0.")
    work("evaluate")
    of_address("view", list(VIEWS))
    view = st.segmented_control(
        "View", list(VIEWS), format_func=lambda name: VIEWS[name][0], key="view", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    VIEWS[view or "scores"][1]()


main()
