"""Saved curricula on the curriculum page: load one into the sliders, save, rename, forget, and compare up to three.

The address names the one that is loaded (`?curriculum=ID`); sliders that were moved since say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from db import curricula, difficulties
from db.curricula import CurriculumCard
from db.pair_filters import PairFilter
from tempo_core.curriculum import stage_counts, training_plan
from tempo_core.errors import EmptyStage, TempoError, Unknown
from tempo_core.recipes import PRESETS
from tempo_core.types import PairRef
from ui import charts, order_chart, state, training_order, words
from ui.acting import asked_id, for_role, telling
from ui.palette import palette
from ui.text import escaped

MOST_COMPARED = 3
NONE = 0
"""Where no saved curriculum is loaded; a choice of None would be shown as no choice."""
CUT_KEYS = ("cut2", "cut3", "cut4")
Cuts = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the page shows now."""

    axis: str
    cuts: Cuts
    pacing: str

    @property
    def told(self) -> str:
        return told(self.axis, self.cuts, self.pacing)


def told(axis: str, cuts: Cuts, pacing: str) -> str:
    """ "levels begin at 25, 50, 75 %; easy to hard" in plain text."""
    by = "nominal r" if axis == "paper" else "levels begin at " + ", ".join(f"{100 * cut:g}" for cut in cuts) + " %"
    return f"{by}; {words.pacing(pacing)}"


# ---- loading --------------------------------------------------------------------------------------------------------
def pick() -> CurriculumCard | None:
    """The saved curriculum that is loaded; call it before the sliders are drawn."""
    with state.database().reading() as session:
        saved = {card.id: card for card in curricula.listing(session)}
    asked = asked_id("curriculum")
    if asked is not None and asked not in saved:
        st.warning(f"There is no curriculum {asked:d}. It may have been forgotten.", icon=":material/warning:")
        st.query_params.pop("curriculum", None)
        asked = None
    if asked is not None and st.session_state.get("curriculum") != asked:
        st.session_state["curriculum"] = asked
        # A slider that the address names was moved after loading: it stays.
        _load(saved[asked], keep=tuple(st.query_params))
    if st.session_state.get("curriculum") not in saved:
        st.session_state["curriculum"] = NONE
    if not saved:
        return None
    chosen = st.selectbox(
        "Saved curriculum", [NONE, *saved], key="curriculum", on_change=_picked, args=(saved,), width=420,
        format_func=lambda number: "none: the sliders as they are" if number == NONE else saved[number].name,
    )  # fmt: skip
    if chosen == NONE:
        st.query_params.pop("curriculum", None)
        return None
    st.query_params["curriculum"] = str(chosen)
    return saved[chosen]


def _picked(saved: dict[int, CurriculumCard]) -> None:
    number = st.session_state["curriculum"]
    if number != NONE:
        _load(saved[number])


def _load(card: CurriculumCard, keep: Sequence[str] = ()) -> None:
    values = {"axis": card.axis} | {
        key: round(100 * cut) for key, cut in zip(CUT_KEYS, card.thresholds, strict=True)
    }  # fmt: skip
    for key, value in values.items():
        if key not in keep:
            st.session_state[key] = value
    training_order.load(card.pacing)


# ---- saving ---------------------------------------------------------------------------------------------------------
@st.fragment
def bar(axis: str, cuts: Cuts, loaded: CurriculumCard | None) -> None:
    """Save what is shown, and what may be done with the curriculum that is loaded."""
    now = Choice(axis, cuts, training_order.chosen_pacing())
    with state.database().reading() as session:
        same = curricula.same(session, now.cuts, now.axis, now.pacing)
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Save", icon=":material/bookmark_add:", disabled=same is not None):
            _save(now)
        if loaded is not None:
            with st.popover("Rename or forget", icon=":material/edit:"):
                _change(loaded)
        if same is not None:
            runs = "run names" if same.n_runs == 1 else "runs name"
            st.badge(f"saved as {escaped(same.name)}", icon=":material/bookmark:", color="green")
            st.caption(f"by {escaped(same.by)}; {same.n_runs:,} {runs} it")
            st.page_link("pages/datasets.py", label="Freeze with it", icon=":material/lock:",
                         query_params={"curriculum": str(same.id)})  # fmt: skip
            st.page_link("pages/runs.py", label="Train with it", icon=":material/arrow_forward:",
                         query_params={"curriculum": str(same.id)})  # fmt: skip
        elif loaded is not None:
            st.badge(f"changed since {escaped(loaded.name)}", icon=":material/edit:", color="orange")


def _save(now: Choice) -> None:
    st.caption(escaped(now.told))
    name = st.text_input("Name", key="curriculum_name", max_chars=curricula.LONGEST_NAME)
    if st.button("Save curriculum", type="primary", **for_role("reviewer")):
        with telling():
            with state.database().session() as session:
                number = curricula.save(session, state.person(), name, now.cuts, now.axis, now.pacing)
            _show(number)


def _show(number: int | None) -> None:
    """Load a curriculum when the page is drawn next; a widget's own value cannot be set after it was drawn."""
    if number is None:
        st.query_params.pop("curriculum", None)
    else:
        st.query_params["curriculum"] = str(number)
    st.rerun(scope="app")


def _change(loaded: CurriculumCard) -> None:
    name = st.text_input("New name", loaded.name, key=f"rename_{loaded.id}", max_chars=curricula.LONGEST_NAME)
    if st.button("Rename"):
        with telling():
            with state.database().session() as session:
                curricula.rename(session, state.person(), loaded.id, name)
            st.rerun(scope="app")
    if st.button("Forget it", icon=":material/delete:", disabled=loaded.n_runs > 0,
                 help="Only one that no run names can be forgotten."):  # fmt: skip
        with telling():
            with state.database().session() as session:
                curricula.remove(session, state.person(), loaded.id)
            _show(None)


# ---- comparing ------------------------------------------------------------------------------------------------------
def compare(wanted: PairFilter, now: Choice) -> None:
    """Up to three curricula side by side, on the same pairs; the sliders as they are count as one."""
    with state.database().reading() as session:
        saved = {card.id: card for card in curricula.listing(session)}
    if not saved:
        return
    st.subheader("Compare curricula")
    names = {0: "the sliders above"} | {number: card.name for number, card in saved.items()}
    chosen = st.multiselect(
        f"Up to {MOST_COMPARED:d}", list(names), key="compared", format_func=names.__getitem__,
        max_selections=MOST_COMPARED, placeholder="Choose two or three",
    )  # fmt: skip
    if not chosen:
        return
    with st.container(key="compare_curricula"):
        for number, column in zip(chosen, st.columns(len(chosen), gap="large"), strict=True):
            card = saved.get(number)
            shown = now if card is None else Choice(card.axis, card.thresholds, card.pacing)
            with column, telling():
                st.markdown(f"**{escaped(names[number])}**")
                st.caption(escaped(shown.told))
                _one(f"{number:d}", shown, wanted)


def _one(key: str, shown: Choice, wanted: PairFilter) -> None:
    with state.database().reading() as session:
        refs = difficulties.refs(session, shown.cuts, shown.axis, wanted)
        raw = difficulties.raw_thresholds(session, shown.cuts) if shown.axis == "measured" else {}
    names = charts.level_names(shown.axis)
    st.dataframe(_levels(refs, names), hide_index=True)
    if raw:
        st.caption("Difficulty from which levels 2, 3 and 4 begin")
        st.dataframe([{"kind": kind, **dict(zip("234", (f"{cut:.2f}" for cut in cuts), strict=True))}
                      for kind, cuts in raw.items()], hide_index=True)  # fmt: skip
    _plan(key, shown, refs, names)


def _levels(refs: Sequence[PairRef], names: dict[int, str]) -> list[dict[str, object]]:
    kinds = sorted({pair.kind for pair in refs})
    return [
        {"level": name, **{kind: sum(p.kind == kind for p in here) for kind in kinds}, "pairs": len(here),
         "videos": len({p.video_key for p in here})}
        for level, name in names.items() for here in [[pair for pair in refs if pair.level == level]]
    ]  # fmt: skip


def _plan(key: str, shown: Choice, refs: Sequence[PairRef], names: dict[int, str]) -> None:
    """Its levels over the steps, from the function that training uses."""
    preset = str(st.session_state.get("order_preset", "embedded"))
    size = int(st.session_state.get(f"order_size_{preset}", PRESETS[preset].pairs_per_step))
    config = replace(PRESETS[preset], pacing=shown.pacing, pairs_per_step=size)
    try:
        plan = training_plan(refs, config, skip_small=True)
    except (EmptyStage, Unknown, TempoError) as error:
        st.caption(escaped(training_order.named(str(error), names), longest=400))
        return
    figure = order_chart.shares(plan, stage_counts(plan, refs), names, palette(st.context.theme.type))
    figure.update_layout(height=190)
    st.plotly_chart(figure, key=f"shares_{key}")
    steps = "step" if plan.n_steps == 1 else "steps"
    st.caption(f"{plan.n_steps:,} {steps} of {size:,} pairs, nothing held out. "
               + escaped(training_order.named("; ".join(plan.notes), names), longest=400))  # fmt: skip
