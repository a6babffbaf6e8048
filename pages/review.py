"""Review: one pair at a time, both videos and both responses, one key for each decision."""

from __future__ import annotations

import streamlit as st

from db import campaigns, pairs
from db.pair_filters import NO_FILTER, PairFilter
from tempo_core.errors import TempoError
from ui import state
from ui.desk import desk
from ui.text import escaped

OURS = ("pair", "campaign")
"""Query parameters of this page that are no part of the filter."""


def _wanted() -> PairFilter:
    """The filter of the address; one that makes no sense is named and left out."""
    query = {name: value for name, value in st.query_params.items() if name not in OURS}
    try:
        return PairFilter.from_query(query).with_status(None)
    except TempoError as error:
        st.warning(escaped(str(error)) + " All pending pairs are shown instead.")
        return NO_FILTER


def _pinned(wanted: PairFilter, n_wanted: int) -> tuple[int, ...]:
    """The pair that the address asks for, else those that its filter names and that are there."""
    asked = st.query_params.get("pair", "")
    if not asked:
        return wanted.ids if n_wanted else ()
    try:
        with state.database().reading() as session:
            return (pairs.get(session, int(asked)).id,)
    except (TempoError, ValueError, OverflowError):
        st.warning(f"There is no pair {escaped(asked)}. The next pending pairs are shown instead.")
        return ()


def _campaign() -> int | None:
    """The campaign of the address, if there is such a one."""
    asked = st.query_params.get("campaign", "")
    if not asked:
        return None
    try:
        with state.database().reading() as session:
            return campaigns.card(session, int(asked)).id
    except (TempoError, ValueError, OverflowError):
        st.warning(f"There is no campaign {escaped(asked)}. The pending pairs are shown instead.")
        return None


def _nothing_yet(n_all: int, wanted: PairFilter) -> None:
    """An empty state that says what to do."""
    st.title("Review")
    if n_all and wanted != NO_FILTER:
        st.info("No pair matches the filter in this address.", icon=":material/filter_alt_off:")
        if st.button("Review all pending pairs", type="primary"):
            st.query_params.clear()
            st.rerun()
        return
    st.info("There are no pairs to review yet.", icon=":material/compare:")
    st.markdown(
        "A pair is one video, told twice: once from the true order of its clips (the *chosen* response) and once from "
        "a perturbed order (the *rejected* one). Here you see both orders side by side and decide whether the chosen "
        "response really is the better one.\n\n"
        "1. **Library**: scan a folder with videos that have several shots.\n"
        "2. **Pairs**: choose a model and make pairs.\n"
        "3. Come back here; the first pair is shown at once."
    )
    with st.container(horizontal=True):
        st.page_link("pages/library.py", label="Open Library", icon=":material/arrow_forward:")
        st.page_link("pages/pairs.py", label="Open Pairs", icon=":material/arrow_forward:")


def main() -> None:
    if state.person().role not in ("reviewer", "admin"):
        st.title("Review")
        st.info("You may look at everything, but not decide. Ask an admin for the role of a reviewer.")
        return
    campaign_id = _campaign()
    if campaign_id is not None:
        desk(NO_FILTER, campaign_id=campaign_id)
        return
    wanted = _wanted()
    with state.database().reading() as session:
        n_wanted, n_all = pairs.count(session, wanted), pairs.count(session)
    pinned = _pinned(wanted, n_wanted)
    if n_wanted == 0 and not pinned:
        _nothing_yet(n_all, wanted)
    else:
        desk(wanted, pinned)


main()
