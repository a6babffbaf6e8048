"""Any two checkpoints: what changed on every benchmark that both were asked, whether one can tell, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from db import sheets
from db.sheets import Checkpoint, Sheet
from tempo_core import comparisons, statistics
from tempo_core.comparisons import Compared, corrected, interval, sentence
from ui import evaluation_choice
from ui.comparing import compared
from ui.evaluation_choice import named
from ui.text import escaped

ICONS = {"better": ":material/trending_up:", "worse": ":material/trending_down:", "cannot tell": ":material/help:"}
P = st.column_config.NumberColumn(format="%.4f")


@dataclass(frozen=True, slots=True)
class _Figure:
    """One figure of one sheet, compared; a string says why it could not be."""

    sheet: Sheet
    metric: str
    whole: bool
    found: Compared | str

    @property
    def share(self) -> bool:
        return self.sheet.is_share(self.metric)


def show() -> None:
    found = evaluation_choice.measured()
    if not found:
        return
    chosen = evaluation_choice.two(sheets.checkpoints(found))
    if chosen is None:
        return
    both = _newest_ways([sheet for sheet in found if sheet.has(*chosen)])
    if not both:
        st.info(
            f"{escaped(named(chosen[0]))} and {escaped(named(chosen[1]))} were never asked the same questions in the "
            "same way. Measure both on one dataset version, or on one benchmark folder.",
            icon=":material/compare_arrows:",
        )
        return
    figures = _with_holm([_figure(sheet, metric, chosen) for sheet in both for metric in sheet.metrics])
    _words(figures, chosen)
    _table([figure for figure in figures if figure.whole], "compared_wholes", chosen)
    _what_it_can_show([figure for figure in figures if figure.whole])
    tasks = [figure for figure in figures if not figure.whole]
    if tasks:
        with st.expander(f"Task by task: {len(tasks):,} figures, intervals without a verdict"):
            _table(tasks, "compared_tasks", chosen)


def _newest_ways(found: Sequence[Sheet]) -> list[Sheet]:
    """Of a benchmark that was asked in several ways the newest: each counts once for the correction."""
    newest: dict[str, Sheet] = {}
    for sheet in found:
        newest.setdefault(sheet.benchmark, sheet)
    return list(newest.values())


def _figure(sheet: Sheet, metric: str, chosen: tuple[Checkpoint, Checkpoint]) -> _Figure:
    whole = metric in comparisons.wholes(sheet.benchmark, sheet.metrics)
    return _Figure(sheet, metric, whole, compared(sheet, *chosen, metric))


def _with_holm(figures: Sequence[_Figure]) -> list[_Figure]:
    """Each figure that gets a verdict, with its p among all of them."""
    told = [f for f in figures if f.whole and isinstance(f.found, Compared)]
    fresh = corrected([f.found for f in told if isinstance(f.found, Compared)])
    new = {(f.sheet.key, f.metric): one for f, one in zip(told, fresh, strict=True)}
    return [_Figure(f.sheet, f.metric, f.whole, new.get((f.sheet.key, f.metric), f.found)) for f in figures]


def _words(figures: Sequence[_Figure], chosen: tuple[Checkpoint, Checkpoint]) -> None:
    """A sentence for each figure with a verdict."""
    before, after = (named(checkpoint) for checkpoint in chosen)
    for figure in figures:
        if figure.whole and isinstance(figure.found, Compared):
            icon = ICONS[figure.found.verdict if figure.found.stands else "cannot tell"]
            head = f"{evaluation_choice.title(figure.sheet.benchmark)}, {figure.metric}"
            said = sentence(figure.found, before, after, share=figure.share)
            contaminated = bool(figure.sheet.settings.get("contaminated"))
            mark = " Contaminated: asked on videos that were trained on." if contaminated else ""
            st.markdown(f"{icon} **{escaped(head)}**: {escaped(said + mark, longest=600)}")


def _table(figures: Sequence[_Figure], key: str, chosen: tuple[Checkpoint, Checkpoint]) -> None:
    st.dataframe([_row(figure, chosen) for figure in figures], hide_index=True, key=key,
                 column_config={"McNemar p": P, "p": P, "p, Holm": P})  # fmt: skip


def _row(figure: _Figure, chosen: tuple[Checkpoint, Checkpoint]) -> dict[str, Any]:
    lines = [figure.sheet.line(checkpoint, figure.metric) for checkpoint in chosen]
    values = [None if line is None else round(line.value, 4) for line in lines]
    row: dict[str, Any] = {
        "benchmark": evaluation_choice.title(figure.sheet.benchmark), "figure": figure.metric,
        "baseline": values[0], "compared": values[1],
    }  # fmt: skip
    found = figure.found
    if isinstance(found, str):
        return row | {"difference": found}
    row |= {"difference": interval(found, share=figure.share)}
    if figure.whole:
        row["verdict"] = found.verdict if found.stands or found.verdict == "cannot tell" else "cannot tell (Holm)"
    row |= {"fixed": found.n_fixed, "broken": found.n_broken, "McNemar p": found.mcnemar, "p": found.p}
    if figure.whole:
        row["p, Holm"] = found.p_holm
    return row | {"questions": found.n, "videos": found.n_groups}


def _what_it_can_show(figures: Sequence[_Figure]) -> None:
    """The paired half-width, and how many questions a difference of one point would take."""
    rows = []
    for figure in figures:
        found = figure.found
        if isinstance(found, str) or found.mcnemar is None or not found.n_fixed + found.n_broken:
            continue
        changed = (found.n_fixed + found.n_broken) / found.n
        rows.append({
            "benchmark": evaluation_choice.title(figure.sheet.benchmark), "figure": figure.metric,
            "answers changed": f"{changed:.1%}", "could have shown (± points)": round(100 * found.half_width, 2),
            "questions for ±1 point": statistics.n_to_show(0.01, changed),
            "with 80 % power": statistics.n_to_show(0.01, changed, with_power=True),
        })  # fmt: skip
    if not rows:
        return
    with st.expander("What these benchmarks could have shown", icon=":material/straighten:", expanded=True):
        st.dataframe(rows, hide_index=True, key="could_show")
        st.caption(
            "Half of the paired 95 % interval, 1.96 times the root of the changed share over the questions, as if "
            "questions were independent; with several questions a video it is wider. The interval decides, McNemar's "
            "test stands beside it."
        )
