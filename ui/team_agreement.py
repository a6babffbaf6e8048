"""How far people agree: the two figures, every two people, the queue of disagreements, and asking for more opinions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from db import agreement, campaigns, people
from db.agreement import Compared
from db.campaigns import CampaignCard
from db.pair_filters import NO_FILTER, PairFilter
from tempo_core.agreement import Agreement
from ui import state, tables, when
from ui.acting import telling
from ui.palette import level_word
from ui.sampling_plan import KINDS, LEVELS
from ui.text import escaped

QUEUE = 100
"""Disagreements shown at once."""


def agreements() -> None:
    with state.database().reading() as session:
        judged = agreement.compared(session)
        cards = [card for card in campaigns.listing(session) if card.kind == "second"]
        n_decided = len(campaigns.decided(session))
    _campaigns([card for card in cards if card.open])
    _figures(judged)
    _queue([c for c in judged if c.differ and not c.resolved])
    _ask(n_decided, expanded=not cards)


def _campaigns(cards: Sequence[CampaignCard]) -> None:
    why = state.why_not("admin")
    for card in cards:
        with st.container(border=True), st.container(horizontal=True, vertical_alignment="center"):
            with st.container():
                st.markdown(f"**{escaped(card.name)}**")
                share = card.n_done / card.n_asked if card.n_asked else 1.0
                st.progress(share, f"{card.n_done:,} of {card.n_asked:,} opinions")
            st.page_link("pages/review.py", label="Give opinions", icon=":material/compare:",
                         query_params={"campaign": str(card.id)})  # fmt: skip
            if st.button("End", key=f"end_second_{card.id}", disabled=why is not None, help=escaped(why or "")):
                with telling():
                    with state.database().session() as session:
                        campaigns.close(session, state.person(), card.id)
                    st.rerun()


def _figures(judged: list[Compared]) -> None:
    """Kappa and alpha with their intervals, or why there is none."""
    st.subheader("Agreement")
    if not judged:
        st.info("No second opinion yet. Ask for some below: others then judge pairs again without seeing the verdict.",
                icon=":material/group:")  # fmt: skip
        return
    kappa, alpha = agreement.overall(judged)
    same = sum(not c.differ for c in judged)
    one, two, three = st.columns(3)
    one.metric("Cohen's kappa", _value(kappa), help="First decision against second opinion; 0 is chance, 1 perfect")
    two.metric("Krippendorff's alpha", _value(alpha), help="Over everybody who judged a pair, gaps allowed")
    three.metric("Judged alike", f"{same:,} of {len(judged):,}")
    for name, figure in (("Kappa", kappa), ("Alpha", alpha)):
        st.caption(escaped(f"{name}: {_interval(figure)}."))
    st.caption(
        "Second opinions against the first decision that stood when they were given; bulk decisions are left out. "
        "Intervals are 95 %, by drawing whole videos again."
    )
    rows = [
        {"person": b.first, "and": b.second, "pairs": b.figure.n, "alike": f"{b.figure.observed or 0:.0%}",
         "kappa": b.figure.value, "low": b.figure.low, "high": b.figure.high, "note": b.figure.why or ""}
        for b in agreement.between(judged)
    ]  # fmt: skip
    number = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(rows, hide_index=True, column_config={"kappa": number, "low": number, "high": number})


def _value(figure: Agreement) -> str:
    return "–" if figure.value is None else f"{figure.value:.2f}"


def _interval(figure: Agreement) -> str:
    said = f"over {figure.n:,} pairs"
    if figure.low is not None and figure.high is not None:
        return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}] {said}"
    return f"{figure.why}, {said}" if figure.n else str(figure.why)


def _queue(found: list[Compared]) -> None:
    """Where two people differ; a later decision by anybody settles it."""
    st.subheader("Disagreements")
    if not found:
        st.caption("None is open. A disagreement closes when somebody decides the pair again.")
        return
    shown = found[:QUEUE]
    ids = PairFilter(ids=tuple(dict.fromkeys(c.pair_id for c in shown)))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{len(found):,} open, the newest first. A disagreement closes when somebody decides the pair again."
        )
        st.page_link("pages/review.py", label=f"Settle {len(ids.ids):,} in review", icon=":material/compare:",
                     query_params=ids.as_query())  # fmt: skip
    rows = [
        {"pair": c.pair_id, "kind": c.kind, "first": f"{c.first_by}: {c.first}", "second": f"{c.second_by}: {c.second}",
         "reason": c.reason or "", "given": when.told(c.given_ms)}
        for c in shown
    ]  # fmt: skip
    picked = tables.chosen(rows, "disagreements")
    if picked is not None:
        st.page_link("pages/review.py", label=f"Open pair {shown[picked].pair_id:d} in review",
                     icon=":material/compare:", query_params={"pair": str(shown[picked].pair_id)})  # fmt: skip


def _ask(n_decided: int, *, expanded: bool) -> None:
    """A new campaign of second opinions over pairs decided one by one."""
    why = state.why_not("admin")
    with st.expander("Ask for second opinions", icon=":material/add_circle:", expanded=expanded):
        if not n_decided:
            st.caption("Nothing was decided one by one yet. Review some pairs first.")
            st.page_link("pages/review.py", label="Open Review", icon=":material/arrow_forward:")
            return
        st.caption(
            "A random part of the pairs that were decided one by one is served to others than their first reviewer, "
            "without any earlier verdict."
        )
        _alone()
        one, two = st.columns(2)
        kinds = one.multiselect("Kinds", KINDS, placeholder="all", key="second_kinds")
        levels = two.multiselect("Levels", LEVELS, placeholder="all", key="second_levels",
                                 format_func=lambda n: f"{n:d} {level_word(n)}")  # fmt: skip
        wanted = PairFilter(kinds=tuple(kinds), levels=tuple(levels))
        with state.database().reading() as session:
            there = len(campaigns.decided(session, wanted)) if wanted != NO_FILTER else n_decided
        left, middle, right = st.columns(3)
        name = left.text_input("Name", f"Second look {datetime.now(UTC):%Y-%m-%d %H:%M}", key="second_name")
        n = middle.number_input(f"How many of {there:,} pairs", 1, max(1, there), max(1, there // 10), key="second_n")
        readers = right.number_input("People per pair", 1, 5, 1, key="second_readers")
        if st.button("Ask", type="primary", key="second_ask", disabled=why is not None, help=escaped(why or "")):
            with telling():
                with state.database().session() as session:
                    campaigns.second(session, state.person(), name, wanted, n=int(n), readers=int(readers))
                st.session_state.pop("second_name", None)
                st.rerun()


def _alone() -> None:
    """A second opinion needs a second person."""
    with state.database().reading() as session:
        able = [p for p in people.listing(session) if p.active and p.role != "viewer"]
    if len(able) < 2:
        st.info("Only one person reviews here, who decided these pairs: nobody could answer yet. See the People tab.",
                icon=":material/person_add:")  # fmt: skip
