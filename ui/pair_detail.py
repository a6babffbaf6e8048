"""One pair below the list: what was shown and said, where it differs, every check, and all that was decided."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from db import imports, pairs, reviews
from db.pairs import PairCard
from tempo_core import diff, servers
from tempo_core.diff import Sentence
from ui import state
from ui.acting import telling
from ui.palette import level_word
from ui.strip import clip_strip
from ui.text import escaped, untrusted

STATES = {"same": "in place", "moved": "moved", "missing": "only here", "added": "only here"}


def detail(pair_id: int) -> None:
    with telling():
        with state.database().reading() as session:
            card = pairs.get(session, pair_id)
            history, said = reviews.history(session, pair_id), reviews.comments(session, pair_id)
            origin = imports.origin(session, pair_id)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(f"Pair {card.id:,}")
            st.page_link("pages/review.py", label="Open in review", icon=":material/compare:",
                         query_params={"pair": str(card.id)})  # fmt: skip
        level = f", level {card.level} {level_word(card.level)}" if card.level else ""
        r = "" if card.magnitude is None else f" r{card.magnitude}"
        st.caption(escaped(f"{card.video_name}: {card.kind}{r}, {card.status}{level}, asked on {card.input}"))
        if origin is not None:
            st.caption(f"Imported from {escaped(origin.name)}, line {origin.line:,} ({escaped(origin.format)})")
        else:
            st.caption(escaped(_answered(card), longest=400))
        if card.plan is not None and card.timeline_id is not None:
            clip_strip(card.timeline_id, card.timeline, f"order{card.id}", card.plan.order)
        _texts(card)
        st.caption("Checks")
        st.dataframe(
            [{"filter": v.name, "passed": v.passed, "value": v.value, "rule": v.rule} for v in card.verdicts],
            hide_index=True, key=f"checks_{card.id}",
        )  # fmt: skip
        _past(history, said)


def _answered(card: PairCard) -> str:
    """Which model said both texts, and where it was asked if not in this process."""
    made = card.from_clean
    sent = {"video": "frames sent as videos", "images": "frames sent as single pictures"}
    where = [f"at {servers.host(made.sampling['server'])}"] if "server" in made.sampling else []
    where += [sent[how] for how in [made.sampling.get("frames_as")] if how in sent]
    where += ["captions from a data set"] if "captions" in made.sampling else []
    return ", ".join([f"Answered by {made.model}", *where])


def _texts(card: PairCard) -> None:
    """Both responses, then their sentences side by side with what became of each."""
    left, right = st.columns(2, border=True)
    with left:
        st.caption("chosen" if card.plan is None else "chosen: the response to the clean order")
        untrusted(card.final_chosen)
    with right:
        st.caption("rejected" if card.plan is None else "rejected: the response to the perturbed order")
        untrusted(card.final_rejected)
    found = diff.diff(card.final_chosen, card.final_rejected)
    kept = "" if found.order_kept is None else f": {found.order_kept:.0%} of the order kept"
    with st.expander(f"Sentence by sentence{kept}", icon=":material/difference:"):
        left, right = st.columns(2)
        with left:
            _sentences(found.chosen, "in rejected", f"chosen_{card.id}")
        with right:
            _sentences(found.rejected, "in chosen", f"rejected_{card.id}")


def _sentences(found: Sequence[Sentence], other: str, key: str) -> None:
    st.dataframe(
        [{"no": s.n, other: s.to, "state": STATES[s.state], "sentence": "".join(text for _, text in s.words),
          "changed words": " ".join(text.strip() for changed, text in s.words if changed)} for s in found],
        hide_index=True, key=f"sentences_{key}",
    )  # fmt: skip


def _past(history: Sequence[reviews.ReviewLine], said: Sequence[tuple[str, str, int]]) -> None:
    if history:
        st.caption("Reviews, oldest first")
        st.dataframe(
            [{"when": _when(h.created_ms), "by": h.by, "act": h.act, "led to": h.verdict, "reason": h.reason,
              "note": h.note, "taken back": h.undone} for h in history], hide_index=True,
        )  # fmt: skip
    if said:
        st.caption("Comments")
        st.dataframe([{"when": _when(at), "by": by, "comment": text} for by, text, at in said], hide_index=True)


def _when(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(ms / 1000))
