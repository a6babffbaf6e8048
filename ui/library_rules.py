"""The rules of the library, live: move a limit, and the funnel says at once how many videos it would keep.

Only stored values are counted. Judging again, which makes the new timelines, is a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import streamlit as st

from db import recounts
from db.recounts import Change, Measured
from jobs.payloads import JudgePayload
from tempo_core.recount import RULES, Shots
from tempo_core.timeline import Richness
from ui import charts, rule_charts, rules, state
from ui.acting import queue, telling
from ui.palette import palette

_WHOLE = {name for name, value in ((s[0], s[4]) for s in rules.SLIDERS) if isinstance(value, int)}
_CHOSEN = "thresholds"
"""The chosen limits, kept while another view of the page is open."""


def show() -> None:
    """Funnel, sliders, histograms and the one button."""
    with state.database().reading() as session:
        now, word = recounts.thresholds_now(session), recounts.key(session)
    _live(now, word)


def chosen(now: Richness) -> Richness:
    """The limits as the sliders stand; those in force where nobody moved one."""
    moved = st.session_state.get(_CHOSEN)
    return now if moved is None else replace(now, **moved)


def differing(richness: Richness) -> dict[str, float]:
    """What a job must be told: every limit that is not the default."""
    values = {name: float(getattr(richness, name)) for name, *_ in rules.SLIDERS}
    return {name: value for name, value in values.items() if value != float(getattr(Richness(), name))}


@st.fragment
def _live(now: Richness, word: str) -> None:
    with st.container(key="rule_top"):
        left, right = st.columns([5, 6], gap="large")
    with right:
        asked = _sliders(now)
    with telling():
        rules.check({name: float(getattr(asked, name)) for name in ("min_shots", "max_shots")})
        known = _measured(str(state.home().root), word)
        again = _counted(str(state.home().root), word, recounts.grouping_of(asked)) or known
        change = recounts.change(known, again.counts, asked)
        colours = palette(st.context.theme.type)
        with left:
            _funnel(known, change)
        with right:
            _verdict(now, asked, known, change)
        figures = rule_charts.of_rules(again.counts, asked, colours)
        alike = _neighbours(str(state.home().root), word)
        if len(alike):
            figures.append(rule_charts.neighbours(alike, asked.likeness, colours))
        with st.container(key="rule_charts"):
            for column, figure, name in zip(st.columns(len(figures)), figures, "abcde", strict=False):
                column.plotly_chart(figure, key=f"rule_{name}", config={"displayModeBar": False})
        st.caption("Grey and hatched: falls at this limit. A video needs to pass every rule; it falls at the first.")


def _sliders(now: Richness) -> Richness:
    """The limits as the sliders stand. A slider that nobody moved shows what is in force."""
    start = chosen(now)
    moved = {}
    columns = st.columns(2, gap="medium")
    for i, (name, label, low, high, _, step, about) in enumerate(rules.SLIDERS):
        whole = name in _WHOLE
        value = (int if whole else float)(min(high, max(low, getattr(start, name))))
        key = f"limit_{name}"
        st.session_state.setdefault(key, value)
        moved[name] = columns[i % 2].slider(label, low, high, step=step, help=about, key=key)
    st.session_state[_CHOSEN] = moved
    paper, undo = st.columns(2)
    paper.button("The paper's limits", on_click=_set, args=(Richness(),), width="stretch")
    undo.button("The limits in force", on_click=_set, args=(now,), width="stretch", disabled=_same(moved, now))
    return replace(now, **moved)


def _set(richness: Richness) -> None:
    for name, *_ in rules.SLIDERS:
        value = getattr(richness, name)
        st.session_state[f"limit_{name}"] = int(value) if name in _WHOLE else float(value)


def _same(moved: Mapping[str, float], now: Richness) -> bool:
    return all(value == getattr(now, name) for name, value in moved.items())


def _funnel(known: Measured, change: Change) -> None:
    n = len(known)
    steps = [("measured", 0, n)]
    for code, fell in zip(RULES, change.n_left_out, strict=True):
        n -= fell
        steps.append((rules.RULES[code], fell, n))
    st.plotly_chart(charts.funnel(steps, palette(st.context.theme.type)), key="funnel",
                    config={"displayModeBar": False})  # fmt: skip
    if change.n_unknown:
        st.caption(
            f":material/help: Of the last bar {change.n_unknown:,} are not known: these limits make other clips, and "
            "how alike the shots are was not kept when they were scanned. Judging again tells."
        )


def _verdict(now: Richness, asked: Richness, known: Measured, change: Change) -> None:
    """What judging again would do, and the button."""
    n_now = int((known.place == -1).sum())
    if asked == now and not change.n_unknown:
        st.markdown(f"**{n_now:,} of {len(known):,} videos are kept** under the limits in force.")
        return
    st.markdown(
        f"**{change.n_kept:,} would be kept** (now {n_now:,}): {len(change.coming):,} come, "
        f"{len(change.leaving):,} leave."
    )
    if change.n_pairs:
        st.markdown(
            f":material/info: {change.n_leaving_with_pairs:,} of those that leave have {change.n_pairs:,} pairs. "
            "**No pair is lost**: they stay with the clips they were made on."
        )
    if st.button(f"Judge all {len(known):,} videos again with these", type="primary", key="judge_all"):
        queue(JudgePayload(differing(asked)))


# ---- read once, kept by what the database holds ----------------------------------------------------------------------
@st.cache_data(max_entries=3, show_spinner=False)
def _measured(home: str, word: str) -> Measured:
    with state.database().reading() as session:
        return recounts.measured(session)


@st.cache_data(max_entries=2, show_spinner=False)
def _shots(home: str, word: str) -> dict[int, Shots]:
    with state.database().reading() as session:
        return recounts.shots(session)


@st.cache_data(max_entries=24, show_spinner="Counting clips under these limits")
def _counted(home: str, word: str, shapes: tuple[float, ...]) -> Measured | None:
    """The library regrouped, or None where it stands so already."""
    known = _measured(home, word)
    asked = Richness(
        **{name: (int(v) if name == "blank_contrast" else v) for name, v in zip(rules.SHAPES, shapes, strict=True)}
    )
    if not recounts.needs_shots(known, asked):
        return None
    return recounts.regrouped(known, _shots(home, word), asked)


@st.cache_data(max_entries=2, show_spinner=False)
def _neighbours(home: str, word: str) -> np.ndarray:
    """Likeness of every two neighbouring shots; empty where no scan kept it."""
    found = [of.alike.diagonal(1) for of in _shots(home, word).values() if of.alike is not None and len(of.alike) > 1]
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)
