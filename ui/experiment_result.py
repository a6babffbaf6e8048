"""The result of an experiment: answers in words, every arm beside the reference, the table to take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import streamlit as st

from db import experiment_results
from db.experiments import Experiment
from tempo_core.benchmarks.base import TITLES
from tempo_core.exchange.quoting import csv_cell
from tempo_core.experiment_results import Answer, Figure, answers, gets_verdict, rows
from ui import experiment_charts, state, table_files
from ui.palette import palette
from ui.text import escaped

FORM = ("value", "low", "high", "change", "change_low", "change_high")
METHOD = (
    "Means over the seeds' runs. Intervals are 95 %, resampling seeds and held-out videos; a change is taken seed by "
    "seed and question by question. Better and worse hold for all figures of an arm together (Holm)."
)


def show(one: Experiment) -> None:
    found = _figures(one.id, _stamp(one.id))
    if not found:
        st.info("Nothing is measured yet. The first comparison is there once two runs are.", icon=":material/science:")
        return
    _seeds_said(found)
    for answer in answers(one.arms, found):
        _answer(answer)
    st.caption(METHOD)
    _charts(one, found)
    _table(found)
    _download(one, found)


def _stamp(experiment_id: int) -> int:
    with state.database().reading() as session:
        return experiment_results.stamp(session, experiment_id)


@st.cache_data(max_entries=20, show_spinner="Resampling")
def _figures(experiment_id: int, stamp: int) -> tuple[Figure, ...]:
    with state.database().reading() as session:
        return experiment_results.table(session, experiment_id)


def _seeds_said(found: Sequence[Figure]) -> None:
    """What the intervals do not cover."""
    fewest = min((len(f.seeds) for f in found if f.arm != "base"), default=0)
    if fewest == 1:
        st.warning("Some arms are one training run: their intervals say nothing about another seed.",
                   icon=":material/casino:")  # fmt: skip
    elif fewest == 2:
        st.warning("Two seeds say little about their spread, so intervals are wide. Take three or more.",
                   icon=":material/casino:")  # fmt: skip


def _answer(answer: Answer) -> None:
    with st.container(border=True):
        st.markdown(f"**{escaped(answer.question)}** {escaped(answer.short, longest=600)}")
        for verdict, figures in (("Better", answer.better), ("Worse", answer.worse), ("Cannot tell", answer.open)):
            if figures:
                told = f"{verdict}: " + ", ".join(_part(figure) for figure in figures)
                st.caption(escaped(told, longest=1500))


def _part(figure: Figure) -> str:
    change = figure.change
    return "" if change is None else f"{figure.metric} {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


def _charts(one: Experiment, found: Sequence[Figure]) -> None:
    keys = list(dict.fromkeys((f.benchmark, f.metric) for f in found))
    key = st.selectbox("Figure", keys, format_func=lambda k: f"{TITLES.get(k[0], (k[0],))[0]}: {k[1]}",
                       key=f"exp_figure_{one.id}")  # fmt: skip
    ours, colours = [f for f in found if (f.benchmark, f.metric) == key], palette(st.context.theme.type)
    left, right = st.columns(2)
    left.plotly_chart(experiment_charts.values(ours, colours), key=f"exp_values_{one.id}")
    right.plotly_chart(experiment_charts.changes(ours, one.reference.name, colours), key=f"exp_changes_{one.id}")


def _table(found: Sequence[Figure]) -> None:
    shown = [row for row, f in zip(rows(found), found, strict=True) if gets_verdict(f.benchmark, f.metric)]
    form = {name: st.column_config.NumberColumn(format="%.3f") for name in (*FORM, "p_holm", "chance")}
    st.dataframe(shown, hide_index=True, column_config=form, key="exp_table")


def _download(one: Experiment, found: Sequence[Figure]) -> None:
    """Every figure, single tasks and levels too."""
    table_files.offer("Make a CSV of every figure", f"exp_csv_{one.id}",
                      lambda: {f"experiment-{one.id}.csv": as_csv(rows(found))})  # fmt: skip


def as_csv(lines: Sequence[dict[str, object]]) -> str:
    """A spreadsheet must not take a text for a formula."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in line.items()} for line in lines)
    return out.getvalue()
