"""Suspects of a run: the pairs it could not bring round, likely wrong labels, one click from the desk."""

from __future__ import annotations

from functools import partial

import streamlit as st

from db import run_pairs
from db.run_pairs import SuspectCounts
from tempo_core.perturbation import PERTURBATIONS
from ui import run_curves, state, tables
from ui.run_look import Look
from ui.text import escaped

PAGE = 50


def show(look: Look) -> None:
    with state.database().reading() as session:
        counts = run_pairs.count_suspects(session, look.run.id)
        levels = run_pairs.levels_trained(session, look.run.id)
    st.caption(escaped(_told(counts), longest=400))
    if counts.n_wrong + counts.n_fell == 0:
        return
    name = f"suspects{look.run.id}"
    left, right = st.columns(2)
    again = partial(tables.first_page, name)
    kinds = left.multiselect("Kind", list(PERTURBATIONS), key=f"kinds_{name}", placeholder="all", on_change=again)
    picked = right.multiselect("Level", levels, key=f"levels_{name}", placeholder="all", on_change=again,
                               format_func=partial(_named, look))  # fmt: skip
    start = tables.after(name)
    with state.database().reading() as session:
        found = run_pairs.suspects(
            session, look.run.id, kinds=kinds, levels=picked, after=start and (start[0], start[1]), limit=PAGE
        )
    if not found:
        st.info("No suspect of this kind and level.", icon=":material/filter_alt_off:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        run_curves.ways(found)
    run_curves.table(found, f"suspects_{look.run.id}_{start}")
    tables.turn(name, list(run_pairs.key_of(found[-1])) if len(found) == PAGE else None)


def _told(counts: SuspectCounts) -> str:
    if counts.n == 0:
        return "Margins of single pairs are stored at the end of a DPO stage. This run has none yet."
    wrong = f"{counts.n_wrong:,} of {counts.n:,} pairs are still ranked the wrong way"
    fell = f", and the margin of {counts.n_fell:,} more fell" if counts.has_before else ""
    if counts.n_wrong + counts.n_fell == 0:
        return f"No suspects: all {counts.n:,} pairs are ranked the right way."
    return f"{wrong}{fell}. The worst come first: look at their labels before you train again."


def _named(look: Look, level: int | None) -> str:
    return "imported" if level is None else look.names.get(level, f"{level}")
