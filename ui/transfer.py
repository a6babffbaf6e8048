"""Transfer: do the pairs of one model teach another? A matrix from stored runs; what is missing can be queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from db import datasets, jobs, models, transfer
from db.people import ROLES
from db.runs import RunCard
from db.sheets import Sheet
from db.transfer import BASE, SFT, Cell, Matrix
from jobs import launch, payloads
from jobs.payloads import EvaluatePayload
from tempo_core.comparisons import interval
from tempo_core.paper import tables
from ui import evaluation_choice, state, table_files
from ui.acting import start_worker, telling
from ui.run_look import OPEN
from ui.text import escaped

StartRun = Callable[..., int]
"""`jobs.starting.start_run`, which the page brings: it must not be imported here."""

MOMENTS = ("dpo", "dpo+sft", "sft+dpo")


def show(start_run: StartRun) -> None:
    st.caption(
        "Rows wrote the pairs, columns were trained on them. A cell is the difference to its column's base, paired "
        "question by question. Only matched cells are compared: same videos, plans, seeds, number of pairs, recipe."
    )
    found = evaluation_choice.measured()
    if not found:
        return
    sheet, metric, moment = _choose(found)
    if metric is None:
        st.info("This benchmark has no figure in percentage points. Choose another.", icon=":material/grid_on:")
        return
    with state.database().reading() as session:
        n_models, matrix = transfer.n_models(session), transfer.matrix(session, sheet.benchmark, metric, moment)
    if matrix.like is None:
        st.info("No run was trained on the pairs of one model yet.", icon=":material/grid_on:")
        return
    if n_models < 2:
        st.info(
            "Only one model is known here. Make pairs with another one on the Pairs page, or train another on these "
            "pairs on the Runs page; it then becomes a row or a column.", icon=":material/grid_on:",
        )  # fmt: skip
    _like(matrix)
    _grid(matrix)
    _files(matrix)
    _differing(matrix)
    if state.person().role == ROLES[-1]:
        _missing(matrix, sheet, start_run)


def _choose(found: Sequence[Sheet]) -> tuple[Sheet, str | None, str]:
    left, middle, right = st.columns(3)
    with left:
        sheet = evaluation_choice.sheet(found)
    metric = middle.selectbox("Figure", sheet.shares_of_items(), key=f"transfer_figure_{sheet.benchmark}")
    moment = right.selectbox("After", MOMENTS, key="transfer_moment", format_func=evaluation_choice.moment)
    return sheet, metric, moment


def _like(matrix: Matrix) -> None:
    """What the matched cells have in common."""
    like = matrix.like
    if like is None or like.dataset_version_id is None:
        return
    with state.database().reading() as session:
        written = transfer.facts(session, like.dataset_version_id)
    st.caption(
        f"Matched with run {like.id:d}: {written.n_pairs:,} pairs, recipe {escaped(like.recipe)}, order "
        f"{escaped(like.config.pacing)}, seed {like.config.seed:d}. One training run a cell: intervals cover the "
        "choice of questions, not the luck of training."
    )


def _grid(matrix: Matrix) -> None:
    rows = [
        {"pairs written by": name, **{_head(matrix, c.id): _told(matrix.cells[row, c.id]) for c in matrix.columns}}
        for row, name in matrix.rows.items()
    ]
    st.dataframe(rows, hide_index=True, key="transfer_grid", row_height=44)
    st.caption(
        "Differences in percentage points with 95 % intervals; n is questions / videos. The base row is its score."
    )


def _head(matrix: Matrix, model_id: int) -> str:
    return f"trains {transfer.column_name(matrix, model_id)}"


def _files(matrix: Matrix) -> None:
    """What is measured, as a paper takes it."""
    if found := transfer.measured(matrix):
        table, name = tables.transfer(found), f"transfer-{matrix.benchmark}-{matrix.metric}-{matrix.moment}"
        table_files.offer("Make CSV and LaTeX", f"files_{name}",
                          lambda: {f"{name}.csv": table.as_csv(), f"{name}.tex": table.as_latex()})  # fmt: skip


def _told(cell: Cell) -> str:
    if cell.row == BASE:
        return (
            "not measured"
            if cell.line is None
            else f"{cell.line.value:.3f} [{cell.line.low:.3f}, {cell.line.high:.3f}]"
        )
    if cell.found is None:
        return f"run {cell.run_id} {cell.run_state}, not measured" if cell.run_id else "missing"
    if cell.differs:
        return f"not matched (run {cell.run_id})"
    return f"{interval(cell.found)} {cell.found.verdict}, n {cell.found.n:,} / {cell.found.n_groups:,}"


def _differing(matrix: Matrix) -> None:
    """Cells that were measured and must not be compared, with what differs."""
    rows = [
        {"pairs written by": matrix.rows[cell.row], "trained": _head(matrix, cell.column), "run": cell.run_id,
         "differs in": "; ".join(cell.differs),
         "its own difference": "" if cell.found is None else interval(cell.found)}
        for cell in matrix.cells.values() if cell.differs
    ]  # fmt: skip
    if rows:
        with st.expander(f"{len(rows):,} cells are not matched", icon=":material/rule:"):
            st.dataframe(rows, hide_index=True, key="transfer_differs")


# ---- what is missing -------------------------------------------------------------------------------------------------
def _missing(matrix: Matrix, sheet: Sheet, start_run: StartRun) -> None:
    """A button for each cell: its run and its measurement, or the measurement alone."""
    cells = [c for c in matrix.cells.values() if c.row != BASE and (c.found is None or c.differs)]
    if not cells:
        return
    st.subheader("Missing cells")
    for cell in cells:
        left, right = st.columns([5, 2], vertical_alignment="center")
        about = f"{matrix.rows[cell.row]} → {transfer.column_name(matrix, cell.column)}"
        if cell.run_id is not None and not cell.differs:
            left.markdown(f"{escaped(about)}: run {cell.run_id:d} is {escaped(cell.run_state)}, not measured here.")
            if cell.run_state in OPEN:
                continue
            label, act = "Measure", partial(_measure, sheet, cell.run_id)
        elif cell.version_id is None:
            left.markdown(
                f"{escaped(about)}: no frozen version holds matching pairs by this model. Make pairs with it on the "
                "same videos, accept the same plans and freeze them."
            )
            continue
        else:
            left.markdown(f"{escaped(about)}: would train on version {cell.version_id:d}, then be measured.")
            label, act = "Queue", partial(_queue, matrix, sheet, cell, start_run)
        if right.button(escaped(label), key=f"cell_{cell.row}_{cell.column}", icon=":material/add_circle:"):
            with telling():
                act()
                start_worker()
                st.rerun()


def _queue(matrix: Matrix, sheet: Sheet, cell: Cell, start_run: StartRun) -> None:
    like = matrix.like
    if like is None:
        return
    with state.database().reading() as session:
        base = models.get(session, cell.column).path
    config = replace(like.config, recipe="sft") if cell.row == SFT else like.config
    run_id = start_run(
        state.database(), state.person(), config, base, version_id=cell.version_id, sft_set_id=like.sft_set_id,
        name=f"transfer {matrix.rows[cell.row]}", **_mercy(like),
    )  # fmt: skip
    _measure(sheet, run_id)


def _mercy(like: RunCard) -> dict[str, bool]:
    return {name: bool(like.env.get(name)) for name in ("skip_small", "smaller_step")}


def _measure(sheet: Sheet, run_id: int | None) -> None:
    """Ask the run what the sheet asked, in the same way: the job that made its newest figure says how."""
    with state.database().reading() as session:
        newest = max(sheet.lines.values(), key=lambda line: line.id)
        job = None if newest.job_id is None else jobs.get(session, newest.job_id)
        versions = {v.content_sha256: v.id for v in datasets.listing(session)}
    like: Any = EvaluatePayload(run_id) if job is None else payloads.parse("evaluate", job.payload)
    asked = replace(like, run_id=run_id, model=None, **_questions(sheet, versions))
    launch.enqueue(state.database(), asked, state.person())


def _questions(sheet: Sheet, versions: Mapping[str, int]) -> dict[str, Any]:
    """The one benchmark of the sheet. lmms-eval is run anew: results that were brought in are of another model."""
    if sheet.settings.get("engine") == "lmms-eval":
        return {"engine": "lmms-eval", "tasks": (sheet.settings["task"],), "results": None,
                "limit": sheet.settings.get("limit"), "benchmarks": (), "data": None}  # fmt: skip
    return {"benchmarks": (sheet.benchmark,), "version_id": versions.get(str(sheet.settings.get("dataset")))}
