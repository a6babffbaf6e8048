"""Pairs: make them, find them, and decide on all of a filter at once."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import streamlit as st

from db import bulk, pairs
from db.pair_filters import NO_FILTER, STATUSES, PairFilter
from db.pairs import PairLine
from jobs.payloads import PairPayload
from tempo_core.errors import TempoError
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.video_llms import checkpoints
from ui import state
from ui.acting import queue, telling, work
from ui.palette import level_word
from ui.text import escaped, untrusted

PAGE = 50
KINDS = ("drop", "shuffle", "reverse")
MAGNITUDES = (2, 4, 8, 16)
EMBEDDED_TOKENS, TOKENS = 96, 512


def _make() -> None:
    """Ask a model. The embedded one by default."""
    with st.expander("Make pairs", icon=":material/add_circle:"), st.form("make", border=False):
        model = st.text_input("Model folder", str(EMBEDDED_MODEL), help="A local checkpoint with safetensors weights")
        left, middle, right = st.columns(3)
        asked = left.radio("Ask on", ("captions", "video"), help="Captions of the clips (the paper's), or the frames")
        kinds = middle.multiselect("Perturbations", KINDS, KINDS)
        magnitudes = middle.multiselect("Magnitudes r", MAGNITUDES, MAGNITUDES, help="Large r = strong = easy")
        limit = right.number_input("At most this many videos (0 = all)", 0, 100_000, 0)
        seed = right.number_input("Seed", 0, 2**31 - 1, 0)
        if st.form_submit_button("Make pairs", type="primary"):
            with telling():
                path = checkpoints.inspect(Path(model.strip()).expanduser()).path
                queue(
                    PairPayload(
                        model=str(path),
                        input="video" if asked == "video" else "captions",
                        kinds=tuple(kinds),
                        magnitudes=tuple(magnitudes),
                        seed=int(seed),
                        limit_videos=int(limit) or None,
                        max_new_tokens=EMBEDDED_TOKENS if path == EMBEDDED_MODEL.resolve() else TOKENS,
                    )
                )


def _filter() -> PairFilter:
    """The facets, kept in the address so that a filter can be sent to somebody."""
    try:
        known = PairFilter.from_query({k: v for k, v in st.query_params.items() if k not in ("pair",)})
    except TempoError as error:
        st.warning(escaped(str(error)) + " All pairs are shown instead.")
        known = NO_FILTER
    status, kind, r, level, search = st.columns([2, 2, 2, 2, 3])
    options = ("all", *STATUSES)
    picked = status.selectbox("Status", options, options.index(known.status or "all"))
    wanted = replace(
        known,
        status=None if picked == "all" else picked,
        kinds=tuple(kind.multiselect("Kind", KINDS, [k for k in known.kinds if k in KINDS])),
        magnitudes=tuple(r.multiselect("r", MAGNITUDES, [m for m in known.magnitudes if m in MAGNITUDES])),
        levels=tuple(level.multiselect("Level", (1, 2, 3, 4), list(known.levels), format_func=_level)),
        search=search.text_input("Search the texts", known.search),
    )
    if wanted != known:
        st.query_params.from_dict(wanted.as_query())
        st.session_state.pop("pairs_after", None)
    return wanted


def _level(level: int) -> str:
    return f"{level} {level_word(level)}"


def _bulk(wanted: PairFilter, n_pending: int) -> None:
    """One verdict for every pending pair of the filter, each recorded as its own review, undone as one."""
    last = st.session_state.get("last_bulk")
    accept, reject, review, undo = st.columns([2, 2, 2, 2])
    acting = replace(wanted, status="pending")
    for column, verdict, words in ((accept, "accepted", "Accept"), (reject, "rejected", "Reject")):
        if column.button(f"{words} all {n_pending:,} pending", disabled=n_pending == 0, key=f"bulk_{verdict}"):
            _confirm(acting, verdict, n_pending)
    review.page_link("pages/review.py", label="Review them one by one", icon=":material/compare:")
    if last and undo.button(f"Undo: {last[1]:,} {last[2]}"):
        with telling(), state.database().session() as session:
            bulk.undo(session, state.person(), last[0])
        st.session_state.pop("last_bulk")
        st.rerun()


@st.dialog("Decide on the whole filter")
def _confirm(wanted: PairFilter, verdict: str, n: int) -> None:
    st.markdown(f"**{n:,}** pending pairs of this filter will be **{verdict}**, recorded as a bulk decision.")
    note = st.text_input("Note (optional)")
    if st.button(f"Yes, {n:,} pairs", type="primary"):
        with telling():
            with state.database().session() as session:
                done = bulk.decide(
                    session, state.person(), wanted, verdict, note=note or None, token=uuid.uuid4().hex
                )
            st.session_state["last_bulk"] = (done.token, done.n, verdict)
            st.rerun()


def _table(wanted: PairFilter) -> int | None:
    """A page of the filter; the id of the pair that was chosen."""
    after = st.session_state.get("pairs_after")
    with state.database().reading() as session:
        lines = pairs.page(session, wanted, after, PAGE)
    picked = st.dataframe(
        [_row(line) for line in lines],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"pairs{after}",
        column_config={"difficulty": st.column_config.NumberColumn(format="%.2f", help="1 = hard, inside a kind")},
    )
    first, on, _ = st.columns([1, 1, 6])
    if after is not None and first.button("First page"):
        st.session_state.pop("pairs_after")
        st.rerun()
    if len(lines) == PAGE and on.button("Next page"):
        st.session_state["pairs_after"] = pairs.key_of(lines[-1])
        st.rerun()
    rows = picked["selection"]["rows"]
    return lines[rows[0]].id if rows and rows[0] < len(lines) else None


def _row(line: PairLine) -> dict[str, object]:
    return {
        "pair": line.id, "video": line.video_name, "kind": line.kind, "r": line.magnitude, "clips": line.n_clips,
        "difficulty": line.difficulty, "status": line.status, "chosen": line.chosen, "rejected": line.rejected,
    }  # fmt: skip


def _detail(pair_id: int) -> None:
    with telling(), state.database().reading() as session:
        card = pairs.get(session, pair_id)
        st.subheader(f"Pair {card.id}")
        left, right = st.columns(2)
        with left:
            st.caption("chosen: the response to the clean order")
            untrusted(card.final_chosen)
        with right:
            st.caption("rejected: the response to the perturbed order")
            untrusted(card.final_rejected)
        st.dataframe(
            [{"rule": v.rule, "passed": v.passed, "value": v.value} for v in card.verdicts], hide_index=True
        )
        if st.button("Open in review", icon=":material/compare:"):
            st.switch_page("pages/review.py", query_params={"pair": str(card.id)})


def main() -> None:
    st.title("Pairs")
    work("pair")
    _make()
    wanted = _filter()
    with state.database().reading() as session:
        counts = pairs.counts(session, wanted)
    if counts.total == 0 and wanted == NO_FILTER:
        st.info("No pairs yet. Scan videos in the library, then make pairs above.", icon=":material/table_rows:")
        return
    words = ", ".join(f"{n:,} {status}" for status, n in counts.status.items() if n)
    st.caption(f"{counts.total:,} pairs in this filter" + (f": {words}" if words else ""))
    _bulk(wanted, counts.status.get("pending", 0))
    chosen = _table(wanted)
    asked = st.query_params.get("pair", "")
    if chosen is not None or asked.isdigit():
        _detail(chosen if chosen is not None else int(asked))


main()
