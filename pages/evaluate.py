"""Evaluate: before and after on held-out videos, every figure with its 95 % interval."""

from __future__ import annotations

import streamlit as st

from db import datasets, evaluations, runs
from db.evaluations import EvaluationLine
from db.runs import RunCard
from jobs.payloads import EvaluatePayload
from tempo_core.benchmarks.base import TITLES
from ui import charts, experiments, state
from ui.acting import queue, work
from ui.charts import Dot
from ui.comparing import change
from ui.palette import palette
from ui.text import escaped

GROUPS = {
    "temporal": ("swap", "group", "order", "earlier"),
    "content": ("recall", "content_questions"),
}
HEADS = {"temporal": "Order of events", "content": "Content: may be lost while order is learned", "": ""}
EXPLAINED = {
    "drawn_world": (
        "**swap**: the true caption is likelier than one with two events exchanged. **group**: and so it is for the "
        "video with the same two clips exchanged, all four comparisons right. **order**: share of event pairs told in "
        "their true order. **earlier**: which of two events came first. **recall**: share of the events that a "
        "description names. **content_questions**: what an object does; needs no order."
    ),
    "held_out_preference": (
        "**accuracy**: the chosen response is likelier as a whole. **accuracy_per_token**: per token, so that a longer "
        "response has no advantage. **longer_wins**: what the rule *the longer one is chosen* would get."
    ),
}
VALUES = ("value", "low", "high", "chance")


def _measure(trained: list[RunCard]) -> None:
    if not trained:
        st.info("No trained run yet. Start one on the runs page.", icon=":material/monitoring:")
        st.page_link("pages/runs.py", label="Open Runs", icon=":material/arrow_forward:")
        return
    named = {run.id: f"{run.id}: {run.recipe.replace('_', ' → ')}, seed {run.config.seed}" for run in trained}
    asked = st.query_params.get("run", "")
    first = list(named).index(int(asked)) if asked.isdigit() and int(asked) in named else 0
    if asked and not (asked.isdigit() and int(asked) in named):
        st.warning(f"There is no trained run {escaped(asked)}.")
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    chosen = left.selectbox("Run", list(named), first, format_func=named.__getitem__)
    if right.button("Measure before and after", type="primary", icon=":material/fact_check:", width="stretch"):
        queue(EvaluatePayload(run_id=chosen))


def _model(line: EvaluationLine) -> str:
    if line.run_id is None:
        return f"base ({line.model})"
    return f"run {line.run_id}: {line.moment.replace('+', ' → ')}"


def _held_out(table: list[EvaluationLine]) -> list[EvaluationLine]:
    """Figures can be compared on the same held-out videos only; the newest set first. Those of files have none."""
    shas = list(dict.fromkeys(str(line.settings["dataset"]) for line in table if "dataset" in line.settings))
    with state.database().reading() as session:
        named = {v.content_sha256: f"{v.name} {v.number}" for v in datasets.listing(session)}
    if len(shas) < 2:
        return table
    chosen = st.selectbox("Held-out videos of", shas, format_func=lambda sha: named.get(sha, sha[:12]))
    return [line for line in table if str(line.settings.get("dataset", chosen)) == chosen]


def _coverage(lines: list[EvaluationLine]) -> None:
    """What a benchmark in files was asked on; a score on some of the videos must say so."""
    for line in lines:
        if found := line.settings.get("coverage"):
            missing = f" Missing, among others: {', '.join(found['missing'][:5])}." if found["missing"] else ""
            unreadable = line.settings.get("unreadable", [])
            damaged = f" Could not be read: {', '.join(unreadable[:5])}." if unreadable else ""
            trained = " Contaminated: it was also trained on." if line.settings.get("contaminated") else ""
            st.caption(
                f"{found['found']:,} of {found['videos']:,} videos found, {found['asked']:,} of {found['questions']:,} "
                f"questions asked, {int(line.settings['pictures']):d} pictures each. "
                f"{escaped(missing + damaged + trained)} "
                "Our prompts and our reading of answers: these are no leaderboard numbers."
            )
            return


def _benchmark(benchmark: str, table: list[EvaluationLine]) -> None:
    """Dot plots and a table; the newest figure of each model and metric."""
    newest: dict[tuple[str, str], EvaluationLine] = {}
    for line in table:
        if line.benchmark == benchmark:
            newest.setdefault((_model(line), line.metric), line)
    title, explained = TITLES.get(benchmark, (benchmark, ""))
    st.subheader(escaped(title))
    st.caption(EXPLAINED.get(benchmark, explained))
    _coverage(list(newest.values()))
    models = sorted({model for model, _ in newest}, key=lambda model: (not model.startswith("base"), model))
    last = [model for model in models if model.startswith("base")] + [m for m in models if m.startswith("run")][-3:]
    shown = st.multiselect("Models", models, last, key=f"models_{benchmark}", max_selections=6)
    lines = sorted((e for key, e in newest.items() if key[0] in shown), key=lambda e: (models.index(_model(e)), e.id))
    _plots(benchmark, lines)
    # Only what was asked of the same model in the same way is subtracted; the newest figure comes first.
    bases = [line for line in reversed(table) if line.benchmark == benchmark and line.run_id is None]
    base = {(line.model_id, line.metric, line.settings_sha256): line.id for line in bases}
    st.dataframe(
        [
            {"model": _model(e), "metric": e.metric, "value": e.value, "low": e.low, "high": e.high,
             "change against base": _change(base.get((e.model_id, e.metric, e.settings_sha256)), e),
             "chance": e.chance, "questions": e.n, "videos": e.n_groups, "unparsed": e.n_unparsed}
            for e in lines
        ],
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in VALUES}
        | {"change against base": st.column_config.TextColumn(width="medium")},
    )  # fmt: skip


def _change(base_id: int | None, line: EvaluationLine) -> str:
    return "" if base_id is None or line.run_id is None else change(base_id, line.id)


def _plots(benchmark: str, lines: list[EvaluationLine]) -> None:
    """Temporal and content metrics apart, others together."""
    grouped: dict[str, list[Dot]] = {}
    for e in lines:
        group = next((name for name, metrics in GROUPS.items() if e.metric in metrics), "")
        grouped.setdefault(group, []).append(Dot(e.metric, _model(e), e.value, e.low, e.high, e.n, e.chance))
    for column, (group, found) in zip(st.columns(max(1, len(grouped))), grouped.items(), strict=False):
        figure = charts.dots(found, palette(st.context.theme.type), HEADS[group])
        column.plotly_chart(figure, key=f"dots_{benchmark}_{group}")


def main() -> None:
    st.title("Evaluate")
    st.caption("Intervals are 95 %, by a bootstrap over videos. A change is told only where its interval excludes 0.")
    work("evaluate")
    with state.database().reading() as session:
        trained = [line.run for line in runs.listing(session) if line.run.state in ("succeeded", "cancelled")]
        table = evaluations.table(session)
    _measure(trained)
    if table:
        table = _held_out(table)
    else:
        st.caption("Nothing is measured yet.")
    measured = {line.benchmark for line in table}
    for benchmark in [name for name in TITLES if name in measured] + sorted(measured - set(TITLES)):
        _benchmark(benchmark, table)
    experiments.section()


main()
