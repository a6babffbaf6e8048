"""Evaluate: before and after on held-out videos, every figure with its 95 % interval."""

from __future__ import annotations

import streamlit as st

from db import evaluations, runs
from db.evaluations import EvaluationLine
from jobs.payloads import EvaluatePayload
from tempo_core.benchmarks.base import TITLES
from ui import charts, state
from ui.acting import queue, work
from ui.charts import Dot
from ui.palette import palette
from ui.text import escaped


def _measure() -> None:
    with state.database().reading() as session:
        trained = [line.run for line in runs.listing(session) if line.run.state in ("succeeded", "cancelled")]
    if not trained:
        st.info("No trained run yet. Start one on the runs page.", icon=":material/monitoring:")
        return
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Run", trained, format_func=lambda r: escaped(f"{r.id}: {r.recipe.replace('_', ' → ')}, seed {r.config.seed}")
    )
    if right.button("Measure base and trained", type="primary", icon=":material/fact_check:"):
        queue(EvaluatePayload(run_id=chosen.id))


def _model(line: EvaluationLine) -> str:
    if line.run_id is None:
        return f"base ({line.model})"
    return f"run {line.run_id}: {line.moment.replace('+', ' → ')}"


def _figures(table: list[EvaluationLine]) -> None:
    """A dot plot and a table per benchmark; the newest figure of each model and metric."""
    for benchmark in dict.fromkeys(line.benchmark for line in table):
        newest: dict[tuple[str, str], EvaluationLine] = {}
        for line in table:
            if line.benchmark == benchmark:
                newest.setdefault((_model(line), line.metric), line)
        title, about = TITLES.get(benchmark, (benchmark, ""))
        st.subheader(title)
        st.caption(about)
        models = sorted({model for model, _ in newest}, key=lambda m: (not m.startswith("base"), m))
        shown = st.multiselect("Models", models, models[:4], key=f"models_{benchmark}", max_selections=6)
        lines = [newest[key] for key in sorted(newest, key=lambda k: models.index(k[0])) if key[0] in shown]
        found = [Dot(e.metric, _model(e), e.value, e.low, e.high, e.n, e.chance) for e in lines]
        if found:
            st.plotly_chart(charts.dots(found, palette(st.context.theme.type)), key=f"dots_{benchmark}")
        st.dataframe(
            [
                {"model": _model(e), "metric": e.metric, "value": e.value, "low": e.low, "high": e.high,
                 "questions": e.n, "videos": e.n_groups, "unparsed": e.n_unparsed, "chance": e.chance}
                for e in lines
            ],
            hide_index=True,
            column_config={k: st.column_config.NumberColumn(format="%.3f") for k in ("value", "low", "high", "chance")},
        )  # fmt: skip


def main() -> None:
    st.title("Evaluate")
    work("evaluate")
    _measure()
    with state.database().reading() as session:
        table = evaluations.table(session)
    if table:
        _figures(table)
    else:
        st.caption("Nothing is measured yet. Intervals are 95 %, by a bootstrap over videos.")


main()
