"""The filter of the pairs page. The address alone holds it: every button and field changes the address, nothing else.

So a link restores everything, and no second state can disagree with what the address says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from db.pair_filters import NO_FILTER, STATUSES, PairFilter
from db.pair_lists import Facets
from tempo_core.errors import TempoError
from ui.palette import level_word
from ui.text import escaped

LEVELS = (1, 2, 3, 4)
OURS = ("pair", "order", "after", "before", "show", "view")
"""Query parameters of the page that are no part of the filter."""
ON = ":material/check:"
BY = {"person": "one by one", "bulk": "in bulk"}
SEARCH, HARD, RATIO = "facet_search", "facet_difficulty", "facet_length_ratio"
WIDEST = 5.0
"""The end of the slider of length ratios, and no bound there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The filter of the address; `sound` is False where it makes no sense, and all pairs stand in for it."""

    wanted: PairFilter
    sound: bool = True


def of_address() -> Asked:
    """Read the filter; one that makes no sense is named, and nothing may be decided about what stands in for it."""
    try:
        return Asked(PairFilter.from_query({k: v for k, v in st.query_params.items() if k not in OURS}))
    except TempoError as error:
        st.warning(
            escaped(str(error), longest=600) + " All pairs are shown, and bulk decisions are off, until the address "
            "holds a filter again.", icon=":material/filter_alt_off:"
        )  # fmt: skip
        return Asked(NO_FILTER, sound=False)


def show_all() -> None:
    """Leave the filter, and keep how the page is shown."""
    _go(NO_FILTER)


def _go(wanted: PairFilter) -> None:
    """To the first page of another filter."""
    kept = {name: st.query_params[name] for name in ("order", "show") if name in st.query_params}
    st.query_params.from_dict(wanted.as_query() | kept)


def change(wanted: PairFilter, **fields: Any) -> None:
    _go(replace(wanted, **fields))


def facets(wanted: PairFilter, found: Facets) -> None:
    """The buttons and fields, each value with the pairs that it would leave."""
    _search(wanted, found)
    left, middle, right = st.columns(3, gap="medium")
    with left:
        _single("Status", "status", wanted, {status: found.status.get(status, 0) for status in STATUSES})
        _single("Asked on", "input", wanted, found.inputs)
    with middle:
        _several("Kind", "kinds", wanted, found.kinds)
        _several("Magnitude r", "magnitudes", wanted, found.magnitudes)
    with right:
        _several("Level", "levels", wanted, {level: found.levels.get(level, 0) for level in LEVELS})
        _single("Model", "model_id", wanted, found.models, found.model_names)
    used = [wanted.rule, wanted.edited, wanted.by, wanted.withdrawn, wanted.difficulty, wanted.length_ratio]
    with st.expander("More filters", expanded=any(value is not None for value in used)):
        _more(wanted, found)
    _others(wanted)


def _more(wanted: PairFilter, found: Facets) -> None:
    left, middle, right = st.columns(3, gap="medium")
    with left:
        _single("Failed rule", "rule", wanted, {rule: n for rule, n in found.rules.items() if n or rule == wanted.rule})
    with middle:
        _single("Reviewed", "by", wanted, found.by, BY)
        _single("Edited by a reviewer", "edited", wanted, {True: found.edited}, {True: "edited"})
    with right:
        _single("Withdrawn videos", "withdrawn", wanted, {"only": found.withdrawn}, {"only": "only these"})
    low, high = st.columns(2, gap="large")
    hard, ratio = wanted.difficulty or (0.0, 1.0), wanted.length_ratio or (1.0, WIDEST)
    _seed(HARD, (min(1.0, max(0.0, hard[0])), min(1.0, max(0.0, hard[1]))))
    low.slider("Difficulty, 1 = hard", 0.0, 1.0, step=0.01, key=HARD, on_change=_ranged, args=(wanted,))
    _seed(RATIO, (min(WIDEST, max(1.0, ratio[0])), min(WIDEST, max(1.0, ratio[1]))))
    high.slider("Length ratio, longer over shorter response", 1.0, WIDEST, step=0.01, key=RATIO, on_change=_ranged,
                args=(wanted,))  # fmt: skip


def _seed(key: str, value: Any) -> None:
    """Let the field say what the address says."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value


def _ranged(wanted: PairFilter) -> None:
    (low, high), (shortest, longest) = st.session_state[HARD], st.session_state[RATIO]
    hard = None if (low, high) == (0.0, 1.0) else (low, high)
    top = longest if longest < WIDEST else 1e6
    ratio = None if (shortest, longest) == (1.0, WIDEST) else (shortest, top)
    change(wanted, difficulty=hard, length_ratio=ratio)


def _search(wanted: PairFilter, found: Facets) -> None:
    _seed(SEARCH, wanted.search)
    st.text_input(
        "Search prompts and responses", key=SEARCH, on_change=_sought, args=(wanted,), icon=":material/search:",
        placeholder="all of these words, in any order", label_visibility="collapsed",
        help="All words, in any order, with their endings; the last one may be unfinished from its third letter on.",
    )  # fmt: skip
    if found.capped:
        st.caption("Very many pairs hold these words. The numbers count the first 10,000 of them; the pages show all.")


def _sought(wanted: PairFilter) -> None:
    change(wanted, search=st.session_state[SEARCH].strip())


def _single(
    title: str, field: str, wanted: PairFilter, values: Mapping[Any, int], names: Mapping[Any, str] | None = None
) -> None:
    """Buttons of which one may be on."""
    now = getattr(wanted, field)
    chosen = {value: (now == value, None if now == value else value) for value in values}
    _buttons(title, field, wanted, values, chosen, names or {})


def _several(title: str, field: str, wanted: PairFilter, values: Mapping[Any, int]) -> None:
    """Buttons of which several may be on; none means all."""
    now = getattr(wanted, field)
    missing = {value: 0 for value in now if value not in values}
    values = {**values, **missing}
    chosen = {
        value: (value in now, tuple(v for v in values if (v in now) != (v == value))) for value in values
    }  # fmt: skip
    names = {level: f"{level:d} {level_word(level)}" for level in LEVELS} if field == "levels" else {}
    names |= {magnitude: f"r{magnitude}" for magnitude in values} if field == "magnitudes" else {}
    _buttons(title, field, wanted, values, chosen, names)


def _buttons(
    title: str, field: str, wanted: PairFilter, values: Mapping[Any, int], chosen: Mapping[Any, tuple[bool, Any]],
    names: Mapping[Any, str],
) -> None:  # fmt: skip
    if not values:
        return
    st.caption(escaped(title))
    with st.container(horizontal=True, gap="xsmall", key=f"facet_{field}"):
        for value, n in values.items():
            on, then = chosen[value]
            st.button(
                f"{escaped(str(names.get(value, value)))} · {n:,}",
                key=f"facet_{field}_{value}", type="primary" if on else "secondary", icon=ON if on else None,
                on_click=change, args=(wanted,), kwargs={field: then}, disabled=not (n or on),
            )  # fmt: skip


def _others(wanted: PairFilter) -> None:
    """What the address asks beyond the facets, and the way back to everything."""
    ours = ("status", "kinds", "magnitudes", "levels", "search", "input", "model_id", "rule", "edited", "by",
            "withdrawn", "difficulty", "length_ratio")  # fmt: skip
    more = {name: value for name, value in wanted.as_query().items() if name not in ours}
    if wanted == NO_FILTER:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Show all pairs", type="tertiary", icon=":material/filter_alt_off:", on_click=show_all)
        if more:
            st.caption("Also asked: " + escaped(", ".join(f"{name} {value}" for name, value in more.items())))
