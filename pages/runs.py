"""Runs: start, watch, stop, resume, compare. It all reads the database, so a reload or a restart disturbs no run."""

from __future__ import annotations

import streamlit as st

from db import runs
from db.runs import RunLine
from jobs import launch, starting
from ui import (
    charts,
    notices,
    run_bundle,
    run_compare,
    run_curves,
    run_estimate,
    run_export,
    run_log,
    run_now,
    run_start,
    run_suspects,
    sft_sets,
    state,
)
from ui.acting import of_address, start_worker, telling
from ui.run_look import OPEN, look, named
from ui.run_start import Wish
from ui.text import escaped

VIEWS = ("Curves", "Suspects", "Compare", "Log", "Settings")


def _start(wish: Wish) -> None:
    """Queue the run of the form, or the writing of its bundle, and show it."""
    elsewhere = wish.pressed == "elsewhere"
    with telling():
        what = state.database(), state.person(), wish.config, wish.model
        run_id = starting.start_run(*what, **wish.payload(), elsewhere=elsewhere)
        if elsewhere:
            launch.bundle_run(state.database(), state.person(), run_id)
        start_worker()
        run_start.forget_clone()
        run_curves.forget_point()
        st.session_state["run_shown"] = run_id
        st.rerun()


def _estimate(wish: Wish) -> None:
    """Queue the question what the run of the form would take."""
    with telling():
        about = wish.config, wish.model
        job_id = starting.estimate_run(state.database(), state.person(), *about, **wish.payload())
        start_worker()
        run_estimate.asked(job_id, *about, wish.payload())
        st.rerun()


def _choose(lines: list[RunLine]) -> int:
    """The run that is shown: the one of the address, so that a reload keeps it, else the newest."""
    names = {line.run.id: named(line.run) for line in lines}
    asked = st.query_params.get("run", "")
    if st.session_state.get("run_shown") not in names:
        known = asked.isdigit() and int(asked) in names
        st.session_state["run_shown"] = int(asked) if known else lines[0].run.id
        if asked and not known:
            st.warning(f"There is no run {escaped(asked)}. The newest one is shown.")
    chosen = int(st.selectbox("Run", list(names), key="run_shown", format_func=names.__getitem__,
                              on_change=run_curves.forget_point))  # fmt: skip
    st.query_params["run"] = str(chosen)
    return chosen


def _watch(run_id: int, view: str, was_open: bool) -> None:
    """Where the run stands, and what moves while it trains; everything is read anew."""
    seen = look(run_id)
    if was_open and not seen.is_open:
        st.rerun(scope="app")
    run_now.card(seen)
    if view == "Curves":
        run_curves.show(seen)
    elif view == "Log":
        run_log.show(seen)


def _views(run_id: int, lines: list[RunLine]) -> None:
    of_address("view", VIEWS)
    view = st.segmented_control("View", VIEWS, key="view", required=True, label_visibility="collapsed") or "Curves"
    state_now = next(line.run.state for line in lines if line.run.id == run_id)
    st.fragment(_watch, run_every=2 if state_now in OPEN else None)(run_id, view, state_now in OPEN)
    if view == "Suspects":
        run_suspects.show(look(run_id))
    elif view == "Compare":
        run_compare.show(look(run_id), [line.run for line in lines])
    elif view == "Settings":
        run_compare.all_settings(look(run_id))


def _all(lines: list[RunLine]) -> None:
    """Every run with its last accuracy on each level."""
    rows = [
        {"run": line.run.id, "recipe": line.run.recipe, "preset": line.run.preset, "order": line.run.config.pacing,
         "seed": line.run.config.seed, "state": line.run.state, "steps": line.n_steps}
        | {f"accuracy l{i}": line.last.get(f"l{i}/accuracy", (0, None))[1] for i in charts.LEVELS}
        for line in lines
    ]  # fmt: skip
    form = {f"accuracy l{i}": st.column_config.NumberColumn(format="%.2f") for i in charts.LEVELS}
    with st.expander("All runs", icon=":material/table_rows:"):
        st.dataframe(rows, hide_index=True, column_config=form)


def main() -> None:
    st.title("Runs")
    st.caption("Preference training and fine-tuning on frozen pairs; a run goes on when this page is closed.")
    with state.database().reading() as session:
        lines = runs.listing(session)
    wish = run_start.form(empty=not lines)
    if wish is not None and wish.pressed in ("start", "elsewhere"):
        _start(wish)
    elif wish is not None and wish.pressed == "estimate":
        _estimate(wish)
    if lines:
        run_id = _choose(lines)
        notices.saw(run_id)
        _views(run_id, lines)
        run_export.show(run_id)
        run_bundle.show(run_id)
        _all(lines)
    sft_sets.show()


main()
