"""Automatic rules and difficulty beside what people said: tables and a chart, with the base of every figure."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from db import campaigns, rule_checks
from db.rule_checks import Share
from ui import charts, state
from ui.acting import telling
from ui.charts import Dot
from ui.palette import level_word, palette
from ui.text import escaped


def filters_against_people() -> None:
    with state.database().reading() as session:
        said = rule_checks.judged(session)
        found, levels = rule_checks.rules(session, said), rule_checks.by_level(session, said)
        n_judged, n_filtered = len(said), rule_checks.n_filtered(session)
        open_ones = [c for c in campaigns.listing(session) if c.settings.get("purpose") == "rules" and c.open]
    st.subheader("Rules against people")
    if not found or not n_judged:
        st.info("Rules are compared once people have judged some pairs.", icon=":material/rule:")
        return
    st.caption(
        f"Over {n_judged:,} pairs that people judged alone. **Precision**: of the pairs a rule refused and people saw, "
        "how many are bad. **Recall**: of all bad pairs, how many the rule refused; judged pairs stand for the others "
        "of their side. Refused pairs are never queued, so both are known only after a check below."
    )
    rows = [
        {"rule": r.rule.replace("_", " "), "refused": r.refused, "of them judged": r.refused_seen,
         "precision": _told(r.precision), "95 % interval": _range(r.precision), "bad ones it refused": _seen(r.recall),
         "recall, weighted": "not known" if r.weighted is None else f"about {r.weighted:.0%}"}
        for r in found
    ]  # fmt: skip
    st.dataframe(rows, hide_index=True, column_config={
        "bad ones it refused": st.column_config.TextColumn(help="Of the bad pairs that people saw; most had passed"),
        "recall, weighted": st.column_config.TextColumn(help="An estimate for all pairs, without an interval"),
    })  # fmt: skip
    _check(n_filtered, open_ones)
    _levels([(c.level, c.rejected) for c in levels])


def _told(share: Share) -> str:
    return "not known" if share.value is None else f"{share.value:.0%} ({_seen(share)})"


def _seen(share: Share) -> str:
    return f"{share.n_yes:,} of {share.n:,}"


def _range(share: Share) -> str:
    return f"{share.low:.0%} to {share.high:.0%}" if share.n else "not known"


def _check(n_filtered: int, open_ones: list[campaigns.CampaignCard]) -> None:
    """Ask people about refused pairs: the only way to know how often a rule is right."""
    why = state.why_not("admin")
    for card in open_ones:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(card.n_done / max(1, card.n_asked), f"Rule check: {card.n_done:,} of {card.n_asked:,} read")
            st.page_link("pages/review.py", label="Read blind", icon=":material/compare:",
                         query_params={"campaign": str(card.id)})  # fmt: skip
            if st.button("End", key=f"end_rules_{card.id}", disabled=why is not None, help=escaped(why or "")):
                with telling():
                    with state.database().session() as session:
                        campaigns.close(session, state.person(), card.id)
                    st.rerun()
    if not n_filtered:
        st.caption("No rule refused a pair yet, so there is nothing to check.")
        return
    with st.expander(f"Check {n_filtered:,} refused pairs by a sample", icon=":material/fact_check:"):
        st.caption("Draws refused pairs at random and mixes them with as many that no rule refused. Readers judge them "
                   "blind; no pair's status changes.")  # fmt: skip
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        n = left.number_input("Refused pairs to read", 1, n_filtered, min(50, n_filtered), key="rules_n")
        if right.button("Draw", key="rules_draw", disabled=why is not None, help=escaped(why or ""), width="stretch"):
            with telling():
                with state.database().session() as session:
                    name = f"Rule check {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
                    campaigns.check_rules(session, state.person(), name, int(n))
                st.rerun()


def _levels(found: list[tuple[int, Share]]) -> None:
    """Whether pairs that measure as hard are also those that people reject."""
    st.subheader("Difficulty against people")
    st.caption("Share of the pairs of each measured level that people rejected, with the exact 95 % interval.")
    dots = [
        Dot(f"{level} {level_word(level)} ({s.n:,} judged)", "rejected by people", s.value, s.low, s.high, s.n, None)
        for level, s in found
        if s.value is not None
    ]
    if dots:
        st.plotly_chart(charts.dots(dots, palette(st.context.theme.type)), key="levels_against_people")
