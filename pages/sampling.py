"""Sampling: read a few pairs of each stratum, blind, and decide the rest by what they say."""

from __future__ import annotations

import streamlit as st

from db import campaigns, settling, verdicts
from db.campaigns import CampaignCard
from db.verdicts import StratumState, bound_text
from ui import state, when
from ui.acting import telling
from ui.sampling_plan import forget, plan, words
from ui.text import escaped

VERDICTS = {
    "reading": "being read",
    "waiting": "complete, waits for the others",
    "accepted": "✓ passed",
    "refused": "✗ refused",
}
DONE = {"accepted": "rest accepted", "rejected": "rest rejected", "read": "read ones decided"}
ASKED = "settle_asked"
"""Session key of the stratum and the decision that a dialog asks about."""

REST = {"accepted": "Accept the rest", "rejected": "Reject the rest", "read": "Decide only what was read"}


def _open(card: CampaignCard) -> None:
    """One campaign that is being read or waits for a decision."""
    with state.database().reading() as session:
        found = verdicts.states(session, card.id)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(escaped(card.name))
            if card.n_done < card.n_asked:
                st.page_link("pages/review.py", label="Read blind", icon=":material/compare:",
                             query_params={"campaign": str(card.id)})  # fmt: skip
        share = card.n_done / card.n_asked if card.n_asked else 1.0
        st.progress(share, f"{card.n_done:,} of {card.n_asked:,} pairs read")
        st.caption(escaped(_promise(card, found)))
        _strata(found)
        _decide(card, found)


def _promise(card: CampaignCard, found: list[StratumState]) -> str:
    by = f"drawn by {card.created_by} on {when.told(card.created_ms)}, seed {card.seed}"
    again = ", sampled again" if card.settings.get("again") else ""
    if not found:
        return by
    first = found[0]
    tolerated = f"{first.tolerated * 100:g} % bad pairs tolerated, {first.confidence * 100:g} % sure"
    return f"{tolerated}; {by}{again}"


def _strata(found: list[StratumState]) -> None:
    rows = [
        {"stratum": words(s.kind, s.level, s.model), "pairs": s.n_pairs, "read": f"{s.n_read:,} of {s.n_sample:,}",
         "verdict": VERDICTS[s.verdict], "bad": "" if s.bad is None else f"{s.bad:,}", "what is known": _known(s),
         "decided": DONE.get(s.done or "", "")}
        for s in found
    ]  # fmt: skip
    wide = st.column_config.TextColumn(width="medium")
    st.dataframe(rows, hide_index=True, column_config={
        "stratum": wide, "what is known": wide,
        "bad": st.column_config.TextColumn(help="Told with the verdict; pairs nobody could call count as bad."),
    })  # fmt: skip
    if any(s.verdict == "accepted" and s.bound and s.bound.share > s.tolerated for s in found):
        st.caption(
            "A passed stratum may have a bound above what is tolerated: it passes because the others did so well "
            "(Holm), while the bounds share the error equally, so that all of them hold together."
        )


def _known(s: StratumState) -> str:
    if s.bound is not None:
        return bound_text(s.bound.share, s.confidence, s.n_read, s.n_pairs)
    if s.verdict == "refused":
        return f"more than {s.max_bad} bad in the sample"
    return "told when the sample is complete"


def _decide(card: CampaignCard, found: list[StratumState]) -> None:
    """What follows from the verdicts, stratum by stratum, and the end of the campaign."""
    told = [s for s in found if s.verdict in ("accepted", "refused")]
    why = state.why_not("admin")
    if told:
        names = {
            s.id: f"{words(s.kind, s.level, s.model)}: {DONE.get(s.done or '', VERDICTS[s.verdict])}" for s in told
        }
        chosen = st.selectbox("Decide", list(names), format_func=names.__getitem__, key=f"stratum_{card.id}")
        _acts(next(s for s in told if s.id == chosen), why)
        _all_passed(card, [s for s in told if s.verdict == "accepted" and s.done is None], why)
    ends = escaped(why or "Nobody is asked any more; strata without a verdict stay without one.")
    if card.open and st.button(
        "End this campaign", type="tertiary", key=f"end_{card.id}", disabled=why is not None, help=ends
    ):
        with telling():
            with state.database().session() as session:
                campaigns.close(session, state.person(), card.id)
            forget()
            st.rerun()


def _all_passed(card: CampaignCard, passed: list[StratumState], why: str | None) -> None:
    """With many strata one does not want to press one button each."""
    if len(passed) > 1 and st.button(
        f"Accept the rest of all {len(passed):,} that passed", icon=":material/done_all:", key=f"all_{card.id}",
        disabled=why is not None, help=escaped(why or ""),
    ):  # fmt: skip
        st.session_state[ASKED] = (-card.id, "accepted")
    if (asked := st.session_state.get(ASKED)) and asked[0] == -card.id and passed:
        _confirm_all(passed)


@st.dialog("Decide all strata that passed", on_dismiss=lambda: st.session_state.pop(ASKED, None))
def _confirm_all(passed: list[StratumState]) -> None:
    with state.database().reading() as session:
        n_rest = sum(settling.n_rest(session, s.id) for s in passed)
    n_read = sum(s.n_read for s in passed)
    st.markdown(f"**{n_rest:,}** pairs that nobody read will be **accepted**, each stratum with its own bound; the "
                f"**{n_read:,}** that were read are decided by their readers.")  # fmt: skip
    st.caption("Each stratum is a bulk decision of its own, and can be taken back by itself.")
    if st.button("Yes, decide all", type="primary", key="settle_all_yes"):
        with telling():
            for s in passed:
                with state.database().session() as session:
                    settling.settle(session, state.person(), s.id, "accepted")
            forget()
            _put_away()
            st.toast(f"{len(passed):,} strata decided.", icon=":material/check:")
            st.rerun()


def _acts(s: StratumState, why: str | None) -> None:
    with st.container(horizontal=True):
        if s.done is not None:
            if st.button(
                "Take it back",
                icon=":material/undo:",
                key=f"undo_{s.id}",
                disabled=why is not None,
                help=escaped(why or ""),
            ):
                with telling():
                    with state.database().session() as session:
                        n = settling.undo(session, state.person(), s.id)
                    forget()
                    st.toast(f"{n:,} pairs are pending again.", icon=":material/undo:")
                    st.rerun()
            return
        with state.database().reading() as session:
            n_rest = settling.n_rest(session, s.id)
        for rest, label in REST.items():
            if (rest == "accepted" and s.verdict == "refused") or (rest != "read" and not n_rest):
                continue
            said = label if rest == "read" else f"{label} ({n_rest:,})"
            first = rest == ("accepted" if s.verdict == "accepted" else "rejected")
            if st.button(said, key=f"{rest}_{s.id}", type="primary" if first else "secondary",
                         disabled=why is not None, help=escaped(why or "")):  # fmt: skip
                st.session_state[ASKED] = (s.id, rest)
    if (asked := st.session_state.get(ASKED)) and asked[0] == s.id:
        _confirm(s, asked[1], n_rest)
    if s.verdict == "refused":
        st.caption("Its sample holds more bad pairs than allowed, so the rest cannot be accepted unread.")


def _put_away() -> None:
    st.session_state.pop(ASKED, None)


@st.dialog("Decide this stratum", on_dismiss=_put_away)
def _confirm(s: StratumState, rest: settling.Rest, n_rest: int) -> None:
    st.text(words(s.kind, s.level, s.model))
    if rest == "read":
        st.markdown(f"The **{s.n_read:,}** pairs that were read are decided by their readers. The rest stays pending.")
    else:
        st.markdown(f"**{n_rest:,}** pairs that nobody read will be **{escaped(rest)}**, as one bulk decision.")
    if rest == "accepted" and s.bound is not None:
        st.markdown(escaped(f"Recorded with it: {_known(s)}."))
    st.caption(
        "Pairs read as good are accepted, as bad rejected, those that could not be called flagged. The bulk part can "
        "be taken back at once."
    )
    if st.button("Yes, decide", type="primary", key="settle_yes"):
        with telling():
            with state.database().session() as session:
                done = settling.settle(session, state.person(), s.id, rest)
            forget()
            _put_away()
            held = f"; {done.n_held:,} that somebody looks at now stay pending" if done.n_held else ""
            st.toast(f"{done.n_read:,} read and {done.n_rest:,} unread pairs decided{held}.", icon=":material/check:")
            st.rerun()


def _history(cards: list[CampaignCard]) -> None:
    with st.expander(f"Ended campaigns ({len(cards):,})", icon=":material/history:"):
        for card in cards:
            with state.database().reading() as session:
                found = verdicts.states(session, card.id)
            st.markdown(f"**{escaped(card.name)}**")
            st.caption(escaped(f"{_promise(card, found)}; ended on {when.told(card.closed_ms or 0)}"))
            _strata(found)
            _decide(card, found)


def main() -> None:
    st.title("Sampling")
    st.caption(
        "Nobody reads 100,000 pairs. Say which share of bad pairs you tolerate and how sure you want to be; a random "
        "sample of each stratum (kind, level, answering model) is read blind, and tells what may be said of the rest."
    )
    with state.database().reading() as session:
        cards = [
            card for card in campaigns.listing(session) if card.kind == "sample" and "purpose" not in card.settings
        ]
    open_ones = [card for card in cards if card.open]
    for card in open_ones:
        _open(card)
    with st.expander("Plan a campaign", icon=":material/casino:", expanded=not open_ones):
        plan()
    if ended := [card for card in cards if not card.open]:
        _history(ended)


main()
