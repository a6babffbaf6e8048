"""Experiments on the evaluate page: queue one, see how far it is, read what it says."""

from __future__ import annotations

import streamlit as st

from db import experiments
from db.experiments import Cell, Experiment
from jobs import experimenting
from ui import experiment_learning, experiment_result, experiment_start, state
from ui.acting import asked_id, start_worker, telling
from ui.text import escaped

VIEWS = ("Result", "Learning", "Runs")
OPEN = ("queued", "running", "to measure")
CANCEL = "Runs that wait are taken back. The one that trains goes on and is measured."
MORE = "What failed or was cancelled goes on from its checkpoint; what is trained is measured."


def section() -> None:
    """The start form, and the experiment that is chosen; call it once on a page."""
    st.subheader("Experiments")
    st.caption("Recipes, orders and seeds beside their controls, each measured on the same questions.")
    with state.database().reading() as session:
        found = {one.id: one for one in experiments.listing(session)}
    experiment_start.form(empty=not found)
    if not found:
        return
    asked = asked_id("experiment")
    first = list(found).index(asked) if asked in found else 0
    number = st.selectbox("Experiment", list(found), first, format_func=lambda i: f"{i}: {found[i].name}")
    st.query_params["experiment"] = str(number)
    _show(found[number])


def _show(one: Experiment) -> None:
    cells = _cells(one)
    _progress(one.id, _counts(cells))
    view = st.segmented_control("Part", VIEWS, default=VIEWS[0], key="experiment_view", required=True,
                                label_visibility="collapsed")  # fmt: skip
    if view == "Learning":
        experiment_learning.show(one, cells)
    elif view == "Runs":
        _runs(one, cells)
    else:
        experiment_result.show(one)


def _cells(one: Experiment) -> tuple[Cell, ...]:
    with state.database().reading() as session:
        return experiments.cells(session, one.id)


def _counts(cells: tuple[Cell, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell.where] = counts.get(cell.where, 0) + 1
    return counts


def _progress(experiment_id: int, counts: dict[str, int]) -> None:
    """How many runs are trained and measured; drawn anew while some are not."""
    at_work = any(counts.get(where) for where in OPEN)
    st.fragment(_live, run_every=3 if at_work else None)(experiment_id, counts)


def _live(experiment_id: int, known: dict[str, int]) -> None:
    with state.database().reading() as session:
        cells = experiments.cells(session, experiment_id)
    counts = _counts(cells)
    if counts.get("succeeded", 0) != known.get("succeeded", 0):
        st.rerun(scope="app")
    done, total = counts.pop("succeeded", 0), len(cells)
    rest = ", ".join(f"{n:d} {where}" for where, n in counts.items())
    told = f"{done:d} of {total:d} runs trained and measured" + (f"; {rest}" if rest else "")
    st.progress(done / max(1, total), escaped(told))
    waits, missing = bool(counts.get("queued")), any(counts.get(where) for where in experimenting.MISSING)
    with st.container(horizontal=True), telling():
        if st.button("Cancel the rest", icon=":material/cancel:", disabled=not waits, help=CANCEL):
            experimenting.cancel_rest(state.database(), state.person(), experiment_id)
            st.rerun(scope="app")
        if st.button("Queue what is missing", icon=":material/add:", disabled=not missing, help=MORE):
            experimenting.go_on(state.database(), state.person(), experiment_id)
            start_worker()
            st.rerun(scope="app")


def _runs(one: Experiment, cells: tuple[Cell, ...]) -> None:
    says = {arm.name: arm.says for arm in one.arms}
    rows = [
        {"run": f"/runs?run={cell.run_id}", "arm": cell.arm, "seed": cell.seed, "state": cell.where,
         "what it is for": says.get(cell.arm, ""), "why it failed": cell.error or ""}
        for cell in cells
    ]  # fmt: skip
    link = st.column_config.LinkColumn("run", display_text=r"run=(\d+)", width="small")
    st.dataframe(rows, hide_index=True, column_config={"run": link}, key="experiment_runs")
