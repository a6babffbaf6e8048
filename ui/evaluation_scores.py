"""Scores: one column a checkpoint, every figure with its interval, and each task's difference to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from db import sheets
from db.sheets import Checkpoint, Sheet
from tempo_core import comparisons
from tempo_core.benchmarks.base import TITLES
from tempo_core.comparisons import Compared, interval
from ui import charts, evaluation_choice, evaluation_findings, evaluation_start, state
from ui.charts import Dot
from ui.comparing import compared
from ui.evaluation_choice import in_columns, moment, named, newest_of_each
from ui.palette import palette
from ui.text import escaped

HEADS = {
    "order": "Order of events", "content": "Content", "whole": "As a whole",
    "tasks": "Task by task", "units": "In their own units",
}  # fmt: skip
ORDER = ("swap", "group", "order", "earlier")
CONTENT = ("recall", "content_questions")
EXPLAINED = {
    "drawn_world": (
        "**swap**: the true caption is likelier than one with two events exchanged. **group**: and so it is for the "
        "video with the same two clips exchanged, all four comparisons right. **order**: share of event pairs told in "
        "their true order. **earlier**: which of two events came first. **recall**: share of the events that a "
        "description names. **content_questions**: what an object does; needs no order. Content may be lost while "
        "order is learned. **control**: the same questions on one frame alone, or on the clips in a random order; what "
        "is above chance there is not sight of time."
    ),
    "held_out_preference": (
        "**accuracy**: the chosen response is likelier as a whole. **accuracy_per_token**: per token, so that a longer "
        "response has no advantage. **longer_wins**, **shorter_wins**: what a rule over lengths alone would get. "
        "**length_matched**: the pairs whose responses differ by a tenth in length at most."
    ),
}


def show() -> None:
    """The start of a measurement, then one benchmark with every checkpoint that was asked it."""
    evaluation_start.show()
    found = evaluation_choice.measured()
    if not found:
        return
    sheet = evaluation_choice.sheet(found)
    st.caption(EXPLAINED.get(sheet.benchmark, TITLES.get(sheet.benchmark, ("", ""))[1]))
    coverage(sheet)
    evaluation_findings.show(tuple(sheet.lines.values()))
    chosen, baseline = _choose(sheet)
    if not chosen:
        st.caption("Choose a checkpoint.")
        return
    changes = {
        (c.key, metric): compared(sheet, baseline, c, metric)
        for metric in sheet.metrics for c in chosen if c != baseline
    }  # fmt: skip
    _beside(sheet, chosen)
    _runs(sheet, chosen)
    _plots(sheet, chosen, baseline, changes)
    _changes(sheet, chosen, baseline, changes)


def _choose(sheet: Sheet) -> tuple[list[Checkpoint], Checkpoint]:
    """The columns, and the one that the others are compared with."""
    options = {c.key: c for c in in_columns(sheet.checkpoints)}
    proposed = [c.key for c in newest_of_each(sheet.checkpoints)]
    left, right = st.columns([5, 2])
    keys = left.multiselect("Checkpoints", list(options), proposed, key=f"columns_{sheet.key}", max_selections=8,
                            format_func=lambda key: named(options[key]))  # fmt: skip
    chosen = in_columns([options[key] for key in keys])
    bases = [c.key for c in chosen] or list(options)
    asked = st.query_params.get("baseline", "")
    key = right.selectbox("Baseline of differences", bases, bases.index(asked) if asked in bases else 0,
                          format_func=lambda k: named(options[k]), key=f"baseline_{sheet.key}")  # fmt: skip
    st.query_params["baseline"] = key
    return chosen, options[key]


def coverage(sheet: Sheet) -> None:
    """What a benchmark in files was asked on; a score on some of the videos, or on trained ones, must say so."""
    settings = sheet.settings
    if trained := settings.get("contaminated"):
        st.error(
            f"Contaminated: {len(trained):,} of its videos were trained on, such as {escaped(str(trained[0]))}. These "
            "scores do not tell what was learned.", icon=":material/warning:",
        )  # fmt: skip
    if not (found := settings.get("coverage")):
        return
    if found["found"] < found["videos"]:
        missing = escaped(", ".join(found["missing"][:5]))
        st.warning(
            f"A partial score: {found['found']:,} of {found['videos']:,} videos were there. Missing, among others: "
            f"{missing}.", icon=":material/incomplete_circle:",
        )  # fmt: skip
    unreadable = settings.get("unreadable", [])
    damaged = f" Could not be read: {', '.join(unreadable[:5])}." if unreadable else ""
    st.caption(
        f"{found['asked']:,} of {found['questions']:,} questions asked, {int(settings['pictures']):d} pictures a video."
        f"{escaped(damaged)} Our prompts and our reading of answers: these are no leaderboard numbers."
    )


# ---- a column a checkpoint -------------------------------------------------------------------------------------------
def _beside(sheet: Sheet, chosen: Sequence[Checkpoint]) -> None:
    """As a paper would print it."""
    heads = _heads(chosen)
    rows = [_figure_row(sheet, metric, chosen, heads) for metric in sheet.metrics]
    form = {"figure": st.column_config.Column(pinned=True)}
    st.dataframe([row for row in rows if row], hide_index=True, key=f"beside_{sheet.key}", column_config=form)


def _figure_row(sheet: Sheet, metric: str, chosen: Sequence[Checkpoint], heads: Sequence[str]) -> dict[str, Any]:
    lines = [sheet.line(checkpoint, metric) for checkpoint in chosen]
    known = [line for line in lines if line is not None]
    if not known:
        return {}
    unparsed = ", ".join(str(line.n_unparsed) for line in known) if any(line.n_unparsed for line in known) else "0"
    cells = {head: _cell(line) for head, line in zip(heads, lines, strict=True)}
    chance = "" if known[0].chance is None else f"{known[0].chance:.3f}"
    counts = {"questions": known[0].n, "videos": known[0].n_groups, "unparsed": unparsed}
    return {"figure": metric, **cells, "chance": chance, **counts}


def _heads(chosen: Sequence[Checkpoint]) -> list[str]:
    """Short where no two are alike: base, DPO; with the run's number otherwise."""
    names = [moment(checkpoint.moment) for checkpoint in chosen]
    return [
        name if names.count(name) == 1 else f"{name} ({c.run_id or c.model})"
        for name, c in zip(names, chosen, strict=True)
    ]


def _cell(line: Any) -> str:
    return "" if line is None else f"{line.value:.3f} [{line.low:.3f}, {line.high:.3f}]"


def _dot(sheet: Sheet, checkpoint: Checkpoint, metric: str) -> Dot | None:
    line = sheet.line(checkpoint, metric)
    if line is None:
        return None
    return Dot(metric, named(checkpoint), line.value, line.low, line.high, line.n, line.chance)


def _group(sheet: Sheet, metric: str) -> str:
    if not sheet.is_share(metric):
        return "units"
    if sheet.benchmark == "drawn_world":
        return "order" if metric in ORDER else "content" if metric in CONTENT else "tasks"
    return "whole" if metric in comparisons.wholes(sheet.benchmark, sheet.metrics) else "tasks"


def _plots(
    sheet: Sheet, chosen: Sequence[Checkpoint], baseline: Checkpoint, changes: Mapping[tuple[str, str], Compared | str]
) -> None:
    """Order and content apart, wholes and tasks apart; values left, in the same rows differences to the baseline."""
    grouped: dict[str, list[str]] = {}
    for metric in sheet.metrics:
        grouped.setdefault(_group(sheet, metric), []).append(metric)
    colours, models = palette(st.context.theme.type), [named(c) for c in chosen]
    for group, metrics in grouped.items():
        values = [dot for m in metrics for c in chosen if (dot := _dot(sheet, c, m)) is not None]
        moved = [
            Dot(m, named(c), one.difference, one.low, one.high, one.n, None)
            for m in metrics for c in chosen if isinstance(one := changes.get((c.key, m)), Compared)
        ]  # fmt: skip
        left, right = st.columns(2)
        if values:
            figure = charts.dots(values, colours, HEADS[group], shares=group != "units", models=models)
            left.plotly_chart(figure, key=f"dots_{sheet.key}_{group}", alt=f"{HEADS[group]}: figures with intervals")
        if moved and group != "units":
            figure = charts.differences(moved, colours, f"Points against {named(baseline)}", models)
            right.plotly_chart(
                figure, key=f"moved_{sheet.key}_{group}", alt="Paired differences with intervals around 0"
            )


def _runs(sheet: Sheet, chosen: Sequence[Checkpoint]) -> None:
    """Intervals cover the choice of questions, not the luck of a training run: that is told column by column."""
    with state.database().reading() as session:
        alike = sheets.seeds(session, sheet.checkpoints)
    told = []
    for checkpoint in (c for c in chosen if c.run_id is not None):
        others = alike[checkpoint.key]
        count = "one training run" if len(others) == 1 else f"{len(others)} training runs"
        more = f" ({_spread(sheet, checkpoint, others)})" if len(others) >= 3 else ""
        told.append(f"{named(checkpoint)}: {count}{more}")
    if told:
        st.caption(
            f":material/casino: {escaped('; '.join(told), longest=2000)}. An interval covers the choice of questions, "
            "not the luck of training; see **Experiments** for several seeds."
        )


def _spread(sheet: Sheet, checkpoint: Checkpoint, run_ids: Sequence[int]) -> str:
    """Lowest and highest over the seeds, of the figures with a verdict."""
    seeds = [c for c in sheet.checkpoints if c.run_id in run_ids and c.moment == checkpoint.moment]
    told = []
    for metric in comparisons.wholes(sheet.benchmark, sheet.metrics):
        values = [line.value for c in seeds if (line := sheet.line(c, metric)) is not None]
        if values:
            told.append(f"{metric} {min(values):.3f} to {max(values):.3f}")
    return f"lowest to highest: {', '.join(told)}"


# ---- differences -----------------------------------------------------------------------------------------------------
def _changes(
    sheet: Sheet, chosen: Sequence[Checkpoint], baseline: Checkpoint, changes: Mapping[tuple[str, str], Compared | str]
) -> None:
    """Each figure's paired difference to the baseline as a table."""
    if not changes:
        return
    wholes = comparisons.wholes(sheet.benchmark, sheet.metrics)
    rows = [
        _row(sheet, metric, c, changes[c.key, metric], whole=metric in wholes)
        for metric in sheet.metrics for c in chosen if c != baseline
    ]  # fmt: skip
    st.dataframe(rows, hide_index=True, key=f"changes_{sheet.key}")
    st.caption(
        f"Against {escaped(named(baseline))}, paired question by question; intervals by a bootstrap over videos. Tasks "
        "get intervals and no verdict. **Compare two** adds McNemar's test, what the benchmark could have shown, and a "
        "correction for how many figures were looked at."
    )


def _row(sheet: Sheet, metric: str, checkpoint: Checkpoint, found: Compared | str, *, whole: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"figure": metric, "checkpoint": named(checkpoint)}
    if isinstance(found, str):
        return row | {"difference": found, "verdict": "", "fixed": None, "broken": None}
    verdict = found.verdict if whole else ""
    told = interval(found, share=sheet.is_share(metric))
    return row | {"difference": told, "verdict": verdict, "fixed": found.n_fixed, "broken": found.n_broken}
