"""Pairs: make them, find them, and decide on all of a filter at once."""

from __future__ import annotations

import uuid
from pathlib import Path

import streamlit as st

from db import bulk, pairs, videos
from db.pair_filters import NO_FILTER, PairFilter
from db.pairs import PairCard, PairLine
from jobs.payloads import EMBEDDED_TOKENS, PairPayload
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.video_llms import checkpoints
from ui import state, tables
from ui.acting import asked_id, queue, telling, work
from ui.facets import KINDS, MAGNITUDES, facets
from ui.palette import level_word
from ui.strip import clip_strip
from ui.text import escaped, untrusted

PAGE = 50
TOKENS = 512
ORDERS = {"id": "as they were made", "hardest": "hardest first"}
VERDICTS = (("accepted", "Accept"), ("rejected", "Reject"))
DONE = {"accepted": "accepted", "rejected": "rejected"}


def _make(n_kept: int, empty: bool) -> None:
    """Ask a model. The embedded one by default."""
    with st.expander("Make pairs", icon=":material/add_circle:", expanded=empty), st.form("make", border=False):
        st.caption(f"Asks a model about {n_kept:,} kept videos: on the clean order, and on each perturbed one.")
        model = st.text_input("Model folder", str(EMBEDDED_MODEL), help="A local checkpoint with safetensors weights")
        left, middle, right = st.columns(3)
        asked = left.radio("Ask on", ("captions", "video"), help="Captions of the clips (the paper's), or the frames")
        kinds = middle.multiselect("Perturbations", KINDS, KINDS)
        magnitudes = middle.multiselect("Magnitudes r", MAGNITUDES, MAGNITUDES, help="Large r = strong = easy")
        limit = right.number_input("At most this many videos (0 = all)", 0, 100_000, 0)
        seed = right.number_input("Seed", 0, 2**31 - 1, 0)
        if st.form_submit_button("Make pairs", type="primary", disabled=n_kept == 0):
            with telling():
                path = checkpoints.inspect(Path(model.strip()).expanduser()).path
                payload = PairPayload(
                    model=str(path),
                    input="video" if asked == "video" else "captions",
                    kinds=tuple(kinds),
                    magnitudes=tuple(magnitudes),
                    seed=int(seed),
                    limit_videos=int(limit) or None,
                    max_new_tokens=EMBEDDED_TOKENS if path == EMBEDDED_MODEL.resolve() else TOKENS,
                )
                queue(payload)


def _bulk(wanted: PairFilter, n_pending: int) -> None:
    """One verdict for every pending pair of the filter, each recorded as its own review, undone as one."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link("pages/review.py", label="Review one by one", icon=":material/compare:",
                     query_params=wanted.with_status(None).as_query())  # fmt: skip
        for verdict, words in VERDICTS:
            if st.button(f"{words} all {n_pending:,} pending", disabled=n_pending == 0, key=f"bulk_{verdict}"):
                st.session_state["bulk_asked"] = verdict
        if (last := st.session_state.get("bulk_done")) and st.button(
            f"Undo: {last[1]:,} {DONE[last[2]]}", icon=":material/undo:", key="bulk_undo"
        ):
            with telling(), state.database().session() as session:
                bulk.undo(session, state.person(), last[0])
            st.session_state.pop("bulk_done")
            st.rerun()
    if st.session_state.get("bulk_asked"):
        _confirm(wanted.with_status("pending"), st.session_state["bulk_asked"], n_pending)


def _put_away() -> None:
    st.session_state.pop("bulk_asked", None)


@st.dialog("Decide on the whole filter", on_dismiss=_put_away)
def _confirm(wanted: PairFilter, verdict: str, n: int) -> None:
    st.markdown(f"**{n:,}** pending pairs of this filter will be **{DONE[verdict]}**, recorded as a bulk decision.")
    st.caption("Pairs that another reviewer holds right now are left out. All of it can be undone at once.")
    note = st.text_input("Note (optional)", key="bulk_note")
    if st.button(f"Yes, {n:,} pairs", type="primary", key="bulk_yes"):
        with telling():
            with state.database().session() as session:
                done = bulk.decide(session, state.person(), wanted, verdict, note=note or None, token=uuid.uuid4().hex)
            st.session_state["bulk_done"] = (done.token, done.n, verdict)
            _put_away()
            st.rerun()


def _table(wanted: PairFilter) -> int | None:
    """A page of the filter; the id of the pair that was chosen."""
    order = st.segmented_control("Order", list(ORDERS), default="id", required=True, format_func=ORDERS.__getitem__,
                                 key="order", on_change=tables.first_page, args=("pairs",),
                                 label_visibility="collapsed")  # fmt: skip
    start = tables.after("pairs")
    with state.database().reading() as session:
        lines = pairs.page(session, wanted, start, PAGE, "hardest" if order == "hardest" else "id")
    settings = {
        "difficulty": st.column_config.NumberColumn(format="%.2f", help="1 = hard; compare inside a kind only"),
        "chosen": st.column_config.TextColumn(width="medium"),
        "rejected": st.column_config.TextColumn(width="medium"),
    }
    picked = tables.chosen([_row(line) for line in lines], f"pairs_{order}_{start}", column_config=settings)
    tables.turn("pairs", pairs.key_of(lines[-1]) if len(lines) == PAGE else None)
    return None if picked is None else lines[picked].id


def _row(line: PairLine) -> dict[str, object]:
    return {
        "pair": line.id, "video": line.video_name, "kind": line.kind, "r": line.magnitude, "clips": line.n_clips,
        "difficulty": line.difficulty, "status": line.status, "chosen": line.chosen, "rejected": line.rejected,
    }  # fmt: skip


def _detail(pair_id: int) -> None:
    """One pair: both texts, what the perturbed side saw, and every filter with its value."""
    with telling():
        with state.database().reading() as session:
            card = pairs.get(session, pair_id)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(f"Pair {card.id:,}")
            st.page_link("pages/review.py", label="Open in review", icon=":material/compare:",
                         query_params={"pair": str(card.id)})  # fmt: skip
        level = f", level {card.level} {level_word(card.level)}" if card.level else ""
        st.caption(escaped(f"{card.video_name}: {card.kind} r{card.magnitude}, {card.status}{level}"))
        if card.plan is not None and card.timeline_id is not None:
            clip_strip(card.timeline_id, card.timeline, f"order{card.id}", card.plan.order)
        _texts(card)
        st.dataframe(
            [{"filter": v.name, "passed": v.passed, "value": v.value, "rule": v.rule} for v in card.verdicts],
            hide_index=True,
        )


def _texts(card: PairCard) -> None:
    left, right = st.columns(2, border=True)
    with left:
        st.caption("chosen: the response to the clean order")
        untrusted(card.final_chosen)
    with right:
        st.caption("rejected: the response to the perturbed order")
        untrusted(card.final_rejected)


def main() -> None:
    st.title("Pairs")
    st.caption("One response to the clean order of a video's clips, one to a perturbed order.")
    work("pair")
    with state.database().reading() as session:
        n_kept, n_all = videos.counts(session).get("kept", 0), pairs.count(session)
    if n_kept == 0 and n_all == 0:
        st.info("No video is kept yet. Add some in the library first.", icon=":material/video_library:")
        st.page_link("pages/library.py", label="Open Library", icon=":material/arrow_forward:")
        return
    _make(n_kept, empty=n_all == 0)
    if n_all == 0:
        st.info("No pairs yet. Make some with the form above.", icon=":material/table_rows:")
        return
    wanted = facets()
    with state.database().reading() as session:
        counts = pairs.counts(session, wanted)
    words = ", ".join(f"{n:,} {status}" for status, n in counts.status.items() if n)
    st.caption(escaped(f"{counts.total:,} pairs in this filter" + (f": {words}" if words else "")))
    _bulk(wanted, counts.status.get("pending", 0))
    chosen = _table(wanted) if counts.total else None
    if counts.total == 0 and wanted != NO_FILTER:
        st.info("No pair matches this filter.", icon=":material/filter_alt_off:")
    if chosen is not None:
        st.query_params["pair"] = str(chosen)
    asked = asked_id("pair")
    if asked is not None:
        _detail(asked)


main()
