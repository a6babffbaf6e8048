"""Library: which videos are there, which are kept, and which rule with which value left the others out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import streamlit as st

from db import timelines, videos
from db.videos import VideoCard
from jobs.payloads import DrawPayload, ScanPayload
from tempo_core.errors import TempoError
from ui import charts, state
from ui.acting import queue, telling, work
from ui.palette import palette
from ui.rules import RULES, SLIDERS, told
from ui.text import escaped

PAGE = 50


def _add() -> None:
    """Choose a folder, or draw videos."""
    folder, drawn = st.columns(2, gap="large")
    with folder.form("scan", border=True):
        st.markdown("**Your own videos**: a folder on this machine. The files stay where they are.")
        named = st.text_input("Folder", placeholder="/data/videos")
        if st.form_submit_button("Scan", type="primary"):
            with telling():
                queue(ScanPayload(_folder(named)))
    with drawn.form("draw", border=True):
        st.markdown("**The drawn world**: small videos whose order of events is known. Needs no download.")
        n_videos = st.number_input("Videos", 1, 5000, 300, step=50)
        if st.form_submit_button("Draw and scan"):
            queue(DrawPayload(int(n_videos)))


def _folder(named: str) -> str:
    path = Path(named.strip()).expanduser()
    if not named.strip() or not path.is_dir():
        shown = named.strip() or "An empty name"
        raise TempoError(f"{shown} is no folder on this machine. Type the path of one with videos.")
    return str(path.resolve())


def _thresholds() -> None:
    """Sliders that re-judge every video from what was measured; nothing is decoded again."""
    with st.expander("Thresholds", icon=":material/tune:"), st.form("thresholds", border=False):
        st.caption("The paper's values are the defaults. Judging again takes no decoding.")
        columns = st.columns(4)
        chosen = {
            name: columns[i % 4].slider(label, low, high, default, step, help=about)
            for i, (name, label, low, high, default, step, about) in enumerate(SLIDERS)
        }
        if st.form_submit_button("Judge all videos again"):
            with state.database().reading() as session:
                places = videos.libraries(session)
            for _, name, root in places:
                queue(ScanPayload(str(root), name, {key: float(value) for key, value in chosen.items()}))


def _table() -> int | None:
    """The videos; the id of the one that was chosen."""
    which = st.segmented_control("Show", ["all", "kept", "left out", "refused"], default="all", key="which")
    after = st.session_state.get("library_after", 0)
    with state.database().reading() as session:
        found = videos.listing(session, after_id=after, limit=PAGE, **_asked(which or "all"))
    picked = st.dataframe(
        [_row(card) for card in found],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"videos{which}{after}",
    )
    back, on, _ = st.columns([1, 1, 6])
    if after and back.button("First page"):
        st.session_state["library_after"] = 0
        st.rerun()
    if len(found) == PAGE and on.button("Next page"):
        st.session_state["library_after"] = found[-1].id
        st.rerun()
    rows = picked["selection"]["rows"]
    return found[rows[0]].id if rows and rows[0] < len(found) else None


def _asked(which: str) -> dict[str, object]:
    return {
        "all": {},
        "kept": {"kept": True},
        "left out": {"kept": False, "status": "ok"},
        "refused": {"kept": False},
    }[which]


def _row(card: VideoCard) -> dict[str, object]:
    if card.status != "ok":
        verdict, why = "refused", f"{card.reason}: {card.message}"
    elif card.left_out_by:
        verdict, why = "left out", told(card.left_out_by, card.left_out_value, card.limit)
    else:
        verdict, why = "kept", ""
    return {
        "video": card.name, "verdict": verdict, "why": why, "seconds": card.duration_s, "shots": card.n_shots,
        "clips": card.n_clips, "groups": card.n_groups, "pairs": card.n_pairs,
    }  # fmt: skip


def _detail(video_id: int) -> None:
    """One video: its clips as a strip, and every rule with its value."""
    with telling(), state.database().reading() as session:
        card, timeline = videos.get(session, video_id), timelines.current(session, video_id)
        st.subheader(escaped(card.name))
        if timeline is None:
            st.text(card.message or "Nothing was measured.")
            return
        strip = state.sign("sprites", timeline.id)
        st.markdown(f"![clips in order]({strip})") if timeline.n_clips else None
        st.caption(f"{timeline.n_clips} clips in {timeline.n_groups} groups of look-alike shots, in their true order")
        st.dataframe(
            [asdict(rule) | {"rule": RULES.get(rule.code, rule.code)} for rule in timeline.rules],
            hide_index=True,
            column_order=("rule", "passed", "value", "limit"),
        )


def main() -> None:
    st.title("Library")
    work("draw", "scan")
    with state.database().reading() as session:
        steps = videos.funnel(session)
    if steps[0].remaining == 0:
        st.info("No videos yet. Scan a folder, or draw the embedded world.", icon=":material/video_library:")
    _add()
    if steps[0].remaining:
        named = [(RULES.get(step.code, step.code), step.left_out, step.remaining) for step in steps]
        st.plotly_chart(charts.funnel(named, palette(st.context.theme.type)), key="funnel")
        _thresholds()
        asked = st.query_params.get("video", "")
        chosen = _table()
        if chosen is not None or asked.isdigit():
            _detail(chosen if chosen is not None else int(asked))


main()
