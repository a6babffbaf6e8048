"""The filter of the pairs page: facets above the table, and the same filter in the address, so that it can be sent.

The address wins when somebody comes by a link; after that the facets write the address.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st

from db.pair_filters import NO_FILTER, STATUSES, PairFilter
from tempo_core.errors import TempoError
from ui.palette import level_word
from ui.tables import first_page
from ui.text import escaped

KINDS = ("drop", "shuffle", "reverse")
MAGNITUDES = (2, 4, 8, 16)
LEVELS = (1, 2, 3, 4)
OURS = ("pair",)
"""Query parameters of the page that are no part of the filter."""


def facets() -> PairFilter:
    """Show the facets; the filter that they make together with the rest of the address."""
    known = _of_address()
    _fill(known)
    status, kind, r, level, search = st.columns([2, 3, 2, 3, 3])
    picked = status.selectbox("Status", ("all", *STATUSES), key="facet_status")
    wanted = replace(
        known,
        status=None if picked == "all" else picked,
        kinds=tuple(kind.multiselect("Kind", KINDS, key="facet_kinds", placeholder="all")),
        magnitudes=tuple(r.multiselect("r", MAGNITUDES, key="facet_magnitudes", placeholder="all")),
        levels=tuple(level.multiselect("Level", LEVELS, key="facet_levels", format_func=_level, placeholder="all")),
        search=search.text_input("Search the texts", key="facet_search"),
    )
    if wanted != known:
        _to_address(wanted)
        first_page("pairs")
    st.session_state["facets_of"] = urlencode(wanted.as_query())
    _others(wanted)
    return wanted


def _of_address() -> PairFilter:
    try:
        return PairFilter.from_query({k: v for k, v in st.query_params.items() if k not in OURS})
    except TempoError as error:
        st.warning(escaped(str(error)) + " All pairs are shown instead.")
        return NO_FILTER


def _fill(known: PairFilter) -> None:
    """Set the facets to a filter that did not come from them."""
    if "facet_status" in st.session_state and st.session_state.get("facets_of") == urlencode(known.as_query()):
        return
    st.session_state["facet_status"] = known.status or "all"
    st.session_state["facet_kinds"] = [kind for kind in known.kinds if kind in KINDS]
    st.session_state["facet_magnitudes"] = [m for m in known.magnitudes if m in MAGNITUDES]
    st.session_state["facet_levels"] = [level for level in known.levels if level in LEVELS]
    st.session_state["facet_search"] = known.search


def _to_address(wanted: PairFilter) -> None:
    kept = {name: st.query_params[name] for name in OURS if name in st.query_params}
    st.query_params.from_dict(wanted.as_query() | kept)


def _others(wanted: PairFilter) -> None:
    """What the address asks beyond the facets."""
    ours = ("status", "kinds", "magnitudes", "levels", "search")
    more = {name: value for name, value in wanted.as_query().items() if name not in ours}
    if more:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(escaped("Also asked: " + ", ".join(f"{name} {value}" for name, value in more.items())))
            if st.button("Show all pairs", type="tertiary"):
                st.query_params.clear()
                st.rerun()


def _level(level: int) -> str:
    return f"{level:d} {level_word(level)}"
