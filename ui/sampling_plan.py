"""The plan of a sampling campaign, live: which strata a filter has, how much of each to read, what that can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from db import activity, campaigns, strata
from db.pair_filters import NO_FILTER, PairFilter
from db.strata import Asked, StratumPlan
from tempo_core import acceptance
from tempo_core.acceptance import Plan
from tempo_core.errors import TempoError
from ui import state
from ui.acting import telling
from ui.palette import level_word, palette
from ui.sampling_charts import characteristic
from ui.text import escaped

KINDS = ("drop", "shuffle", "reverse")
LEVELS = (1, 2, 3, 4)
CONFIDENCES = (0.9, 0.95, 0.99)
AUTOMATIC = "as many as needed"
ALLOWED = (AUTOMATIC, "0", "1", "2", "3", "5", "8", "12")
ASSUMED_S = 10.0
"""How long a pair takes before anybody has judged one."""


def words(kind: str, level: int | None, model: str) -> str:
    """ "shuffle · level 3 hard · Qwen" """
    return f"{kind} · {'no level' if level is None else f'level {level} {level_word(level)}'} · {model}"


def plan() -> None:
    """Choose what to promise, see what it costs, and draw."""
    wanted = _filter()
    asked, again = _asked()
    with telling():
        found = strata.plans(sizes(wanted, again=again), asked, _models())
        if not found:
            _nothing(again)
            return
        _table(found)
        _cost(found)
        _look(found, asked)
        _draw(wanted, asked, again)


def _filter() -> PairFilter:
    """The pending pairs of kinds and levels, or of the filter in the address."""
    try:
        named = PairFilter.from_query({k: v for k, v in st.query_params.items() if k != "campaign"})
    except TempoError as error:
        st.warning(escaped(str(error)) + " All pending pairs are taken instead.")
        named = NO_FILTER
    if named != NO_FILTER:
        with st.container(horizontal=True, vertical_alignment="center"):
            said = ", ".join(f"{name} {value}" for name, value in named.as_query().items())
            st.caption(escaped(f"Only pairs of the filter in this address: {said}"))
            if st.button("Take all pairs", type="tertiary"):
                st.query_params.clear()
                st.rerun()
    left, right = st.columns(2)
    kinds = left.multiselect("Kinds", KINDS, list(named.kinds), placeholder="all", key="sampling_kinds")
    levels = right.multiselect(
        "Levels", LEVELS, list(named.levels), placeholder="all", format_func=lambda n: f"{n:d} {level_word(n)}",
        key="sampling_levels",
    )  # fmt: skip
    return replace(named, kinds=tuple(kinds), levels=tuple(levels), status=None)


def _asked() -> tuple[Asked, bool]:
    one, two, three, four = st.columns(4, vertical_alignment="bottom")
    tolerated = one.number_input(
        "Bad pairs to tolerate, %", 0.0, 50.0, 5.0, 0.5, key="tolerated",
        help="A stratum with more than this share of bad pairs must not pass.",
    )  # fmt: skip
    confidence = two.selectbox(
        "Confidence", CONFIDENCES, 1, format_func=lambda c: f"{c:.0%}", key="confidence",
        help="How sure that no stratum of this campaign passes wrongly; all strata share it (Holm).",
    )  # fmt: skip
    expected = three.number_input(
        "Bad pairs you expect, %", 0.0, 50.0, 1.0, 0.5, key="expected",
        help="A stratum this good passes in 9 of 10 cases. Close to what is tolerated, samples grow large.",
    )  # fmt: skip
    allowed = four.selectbox("Bad ones allowed in a sample", ALLOWED, key="allowed",
                             help="More allowed: a larger sample, and a good stratum passes more often.")  # fmt: skip
    again = st.toggle(
        "Also sample strata that were read before", key="again",
        help="A second try is a second chance to pass. The campaign, its bound and the version's card will say so.",
    )  # fmt: skip
    max_bad = None if allowed == AUTOMATIC else int(allowed)
    return Asked(tolerated / 100, confidence, min(expected, tolerated) / 100, max_bad), again


def sizes(wanted: PairFilter, *, again: bool) -> Mapping[strata.Key, int]:
    """Pairs of each stratum; kept for a moment, because every step of a slider asks."""
    return _sizes(str(state.home().root), tuple(wanted.as_query().items()), again)


@st.cache_data(ttl=20, max_entries=32, show_spinner=False)
def _sizes(_home: str, query: tuple[tuple[str, str], ...], again: bool) -> Mapping[strata.Key, int]:
    with state.database().reading() as session:
        return strata.sizes(session, PairFilter.from_query(dict(query)), again=again)


def forget() -> None:
    """After a draw or a decision the strata are others."""
    _sizes.clear()


def _models() -> dict[int, str]:
    with state.database().reading() as session:
        return strata.model_names(session)


def _nothing(again: bool) -> None:
    if not state.pairs_in_database():
        st.info("There are no pairs yet. Make some on the Pairs page, then plan here how few to read.",
                icon=":material/casino:")  # fmt: skip
        st.page_link("pages/pairs.py", label="Open Pairs", icon=":material/arrow_forward:")
        return
    st.info("No pending pair of this filter can be sampled.", icon=":material/filter_alt_off:")
    more = "" if again else " Pairs whose stratum was read before are left out; the switch above takes them again."
    st.caption("They are decided, or their stratum is being read." + more)
    st.page_link("pages/pairs.py", label="Open Pairs", icon=":material/arrow_forward:")


def _table(found: Sequence[StratumPlan]) -> None:
    rows = [
        {"stratum": words(s.kind, s.level, s.model), "pairs": s.n_pairs, "read": s.plan.n_sample,
         "of it": f"{s.plan.n_sample / s.n_pairs:.1%}", "bad ones allowed": s.plan.max_bad,
         "passes if as good as expected": f"{s.accepts_good:.0%}",
         "": "read all: known, not estimated" if s.plan.n_sample == s.n_pairs else ""}
        for s in found
    ]  # fmt: skip
    st.dataframe(
        rows, hide_index=True, column_config={
            "stratum": st.column_config.TextColumn(width="medium"),
            "bad ones allowed": st.column_config.NumberColumn(help="in the sample; with no more it passes for sure"),
        },
    )  # fmt: skip


def _cost(found: Sequence[StratumPlan]) -> None:
    with state.database().reading() as session:
        known = activity.median_dwell_s(session)
    read, total = sum(s.plan.n_sample for s in found), sum(s.n_pairs for s in found)
    seconds = known or ASSUMED_S
    hours = read * seconds / 3600
    one, two, three, four = st.columns(4)
    one.metric("Pairs to read", f"{read:,}")
    two.metric("Decided by that", f"{total:,}")
    three.metric("Time to read", f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min")
    four.metric("Without sampling", f"{total * seconds / 3600:,.1f} h")
    source = "the median of what people took here" if known else "assumed, nobody read yet"
    st.caption(escaped(f"At {seconds:.1f} s a pair: {source}."))


def _look(found: Sequence[StratumPlan], asked: Asked) -> None:
    """One stratum closely: what other samples would cost, and what they would let pass."""
    sampled = [s for s in found if s.plan.n_sample < s.n_pairs]
    if not sampled:
        st.caption("Every stratum is small enough to be read to the last pair, so there is nothing to estimate.")
        return
    names = [words(s.kind, s.level, s.model) for s in sampled]
    chosen = st.selectbox("Look closer at", range(len(sampled)), format_func=names.__getitem__, key="look")
    s = sampled[chosen or 0]
    figure = characteristic(
        s.n_pairs, asked.tolerated, asked.confidence, len(sampled), s.plan, palette(st.context.theme.type)
    )
    st.plotly_chart(figure, key="characteristic")
    st.dataframe([_choice(s, asked, len(sampled), int(allowed)) for allowed in ALLOWED[1:]], hide_index=True)
    st.caption(
        escaped(
            f"Each of these keeps the promise: with more than {asked.tolerated:.1%} of {s.n_pairs:,} pairs bad, the "
            f"stratum passes in at most {(1 - asked.confidence) / len(sampled):.2%} of cases.",
            longest=300,
        )
    )


def _choice(s: StratumPlan, asked: Asked, n_strata: int, allowed: int) -> dict[str, object]:
    other = acceptance.plan(s.n_pairs, asked.tolerated, asked.confidence, max_bad=allowed, n_strata=n_strata)
    mark = "planned" if other == s.plan else "read all" if other.n_sample == s.n_pairs else ""
    chance = acceptance.accepts(s.n_pairs, Plan(*other), asked.expected_bad)
    return {"bad allowed": allowed, "read": other.n_sample, "passes if as expected": f"{chance:.0%}", "": mark}


def _draw(wanted: PairFilter, asked: Asked, again: bool) -> None:
    why = state.why_not("admin")
    name = st.text_input("Name of the campaign", f"Sample of {datetime.now(UTC):%Y-%m-%d %H:%M}", key="sample_name")
    if st.button("Draw the samples", type="primary", icon=":material/casino:", disabled=why is not None,
                 help=escaped(why or "")):  # fmt: skip
        with telling():
            with state.database().session() as session:
                campaigns.sample(session, state.person(), name, wanted, asked, again=again)
            forget()
            st.session_state.pop("sample_name", None)
            st.toast("Drawn. Readers see its pairs blind, in random order.", icon=":material/casino:")
            st.rerun()
    st.caption(
        "Members and order of each stratum are frozen by a stored seed. Nothing of good and bad is shown before a "
        "sample is complete or has failed."
    )
