"""Single answers of two checkpoints: what training fixed, what it broke, what stayed wrong, and what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from db import evaluations
from db.evaluations import EvaluationLine
from db.sheets import Checkpoint
from tempo_core.comparisons import outcome
from tempo_core.types import ItemScore
from ui import evaluation_asked, evaluation_choice, state, tables
from ui.acting import of_address
from ui.evaluation_choice import named
from ui.evaluation_scores import coverage
from ui.text import escaped, untrusted

FILTERS = {
    "fixed": "Fixed by training",
    "broken": "Broken by training",
    "both wrong": "Both wrong",
    "both right": "Both right",
    "unparsed": "Unparsed",
    "all": "All",
}
MOST_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Both:
    """One item as both checkpoints answered it."""

    before: ItemScore
    after: ItemScore

    @property
    def outcome(self) -> str:
        return outcome(self.before, self.after)

    @property
    def unparsed(self) -> bool:
        return self.before.correct is None or self.after.correct is None


def show() -> None:
    found = evaluation_choice.measured()
    if not found:
        return
    sheet = evaluation_choice.sheet(found)
    coverage(sheet)
    chosen = evaluation_choice.two(sheet.checkpoints)
    if chosen is None:
        return
    metrics = [m for m in sheet.metrics if all(_has_items(sheet.line(c, m)) for c in chosen)]
    if not metrics:
        st.info("These two share no figure with single answers.", icon=":material/info:")
        return
    of_address("figure", metrics)
    metric = st.selectbox("Figure", metrics, key="figure")
    lines = [sheet.line(checkpoint, metric) for checkpoint in chosen]
    both = _both(*(line.id for line in lines if line is not None))
    _browse(both, lines, chosen)


def _has_items(line: EvaluationLine | None) -> bool:
    return line is not None and not line.metric.endswith("mean_of_tasks")


def _both(before_id: int, after_id: int) -> list[Both]:
    with state.database().reading() as session:
        before = {item.item: item for item in evaluations.items(session, before_id)}
        after = evaluations.items(session, after_id)
    return [Both(before[item.item], item) for item in after if item.item in before]


def _browse(both: Sequence[Both], lines: Sequence[EvaluationLine | None], chosen: Sequence[Checkpoint]) -> None:
    counts = {name: len(_filtered(both, name)) for name in FILTERS}
    of_address("filter", list(FILTERS))
    wanted = st.segmented_control(
        "Filter", list(FILTERS), key="filter", required=True, label_visibility="collapsed",
        format_func=lambda name: f"{FILTERS[name]} {counts[name]:,}",
    ) or "fixed"  # fmt: skip
    kept = _filtered(both, wanted)
    if not kept:
        st.caption(f"None of {len(both):,} answers is in this list.")
        return
    if len(kept) > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS:,} of {len(kept):,} are listed.")
    known = [line for line in reversed(lines) if line is not None]
    asked = evaluation_asked.questions(known)
    said = any(one.before.response or one.after.response for one in both)
    rows = [_row(one, asked, said=said) for one in kept[:MOST_ROWS]]
    picked = tables.chosen(rows, f"answers_{wanted}", height=min(360, 38 + 35 * len(rows)))
    names = [one.after.item for one in kept]
    item = st.query_params.get("item", "")
    if picked is not None:
        item = names[picked]
    place = names.index(item) if item in names else 0
    st.query_params["item"] = names[place]
    _detail(kept[place], known, chosen, said=said)


def _row(one: Both, asked: Mapping[str, str], *, said: bool) -> dict[str, str]:
    question = {"question": asked.get(one.after.item, "")} if asked else {}
    marks = {"baseline": _mark(one.before), "compared": _mark(one.after)}
    texts = {"baseline said": one.before.response, "compared said": one.after.response} if said else {}
    about = {"video": one.after.group[:12], "outcome": one.outcome, "item": one.after.item}
    return question | marks | texts | about


def _filtered(both: Sequence[Both], wanted: str) -> list[Both]:
    if wanted == "all":
        return list(both)
    if wanted == "unparsed":
        return [one for one in both if one.unparsed]
    return [one for one in both if one.outcome == wanted]


def _mark(item: ItemScore) -> str:
    if item.correct is None:
        return "unparsed"
    return {0.0: "wrong", 1.0: "right"}.get(item.correct, f"{item.correct:.2f}")


def _detail(one: Both, lines: Sequence[EvaluationLine], chosen: Sequence[Checkpoint], *, said: bool) -> None:
    nothing = "The answer was empty." if said else "This figure compares likelihoods: nothing was said."
    with st.container(border=True):
        st.caption(f"Item {escaped(one.after.item)}, {escaped(one.outcome)}")
        evaluation_asked.show(one.after, lines)
        for column, checkpoint, item in zip(st.columns(2), chosen, (one.before, one.after), strict=True):
            with column.container(border=True):
                st.caption(f"{escaped(named(checkpoint))}: **{escaped(_mark(item))}**")
                untrusted(item.response or nothing)
