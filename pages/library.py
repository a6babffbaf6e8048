"""Library: which videos are there, which are kept, and which rule with which value left the others out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from db import timelines, videos
from db.videos import FunnelStep, VideoCard
from jobs.payloads import DrawPayload, ScanPayload
from tempo_core.errors import TempoError
from ui import charts, rules, state, tables
from ui.acting import asked_id, of_address, queue, telling, work
from ui.palette import palette
from ui.strip import clip_strip
from ui.text import escaped

PAGE = 50


def _add(empty: bool) -> None:
    """Choose a folder, or draw videos."""
    with st.expander("Add videos", icon=":material/add_circle:", expanded=empty):
        folder, drawn = st.columns(2, gap="large")
        with folder.form("scan", border=False):
            st.markdown("**Your own videos**: a folder on this machine. The files stay where they are.")
            named = st.text_input("Folder", placeholder="/data/videos")
            if st.form_submit_button("Scan", type="primary"):
                with telling():
                    queue(ScanPayload(_folder(named)))
        with drawn.form("draw", border=False):
            st.markdown("**The drawn world**: small videos whose order of events is known. No download.")
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
        st.caption("The defaults are the paper's. Judging again decodes nothing: it takes what the scan measured.")
        columns = st.columns(4)
        chosen = {
            name: float(columns[i % 4].slider(label, low, high, default, step, help=about, key=f"limit_{name}"))
            for i, (name, label, low, high, default, step, about) in enumerate(rules.SLIDERS)
        }
        if st.form_submit_button("Judge all videos again"):
            with telling():
                rules.check(chosen)
                with state.database().reading() as session:
                    places = videos.libraries(session)
                queue(*(ScanPayload(str(root), name, chosen) for _, name, root in places))


def _which(steps: Sequence[FunnelStep]) -> str:
    """All, kept, or those that fell at one rule; in the address."""
    n_found, n_kept = steps[0].remaining, steps[-1].remaining
    names = {"all": f"all {n_found:,}", "kept": f"kept {n_kept:,}"}
    names |= {s.code: f"{rules.LEFT_OUT.get(s.code, s.code)} {s.left_out:,}" for s in steps if s.left_out}
    of_address("show", list(names))
    shown = st.pills(
        "Show", list(names), required=True, format_func=lambda code: escaped(names[code]), key="show",
        on_change=tables.first_page, args=("videos",), label_visibility="collapsed",
    )  # fmt: skip
    return shown or "all"


def _table(which: str) -> int | None:
    """The videos; the id of the one that was chosen."""
    asked = {"all": {}, "kept": {"kept": True}, videos.UNREADABLE: {"status": "corrupt"}}.get(which, {"rule": which})
    start = tables.after("videos") or 0
    with state.database().reading() as session:
        found = videos.listing(session, after_id=start, limit=PAGE, **asked)
    settings = {"why": st.column_config.TextColumn(width="large"), "seconds": _number("%.1f")}
    picked = tables.chosen([_row(card) for card in found], f"videos_{which}_{start}", column_config=settings)
    tables.turn("videos", found[-1].id if len(found) == PAGE else None)
    return None if picked is None else found[picked].id


def _number(form: str) -> object:
    return st.column_config.NumberColumn(format=form)


def _row(card: VideoCard) -> dict[str, object]:
    if card.status != "ok":
        verdict, why = "refused", f"{card.reason}: {card.message}"
    elif card.left_out_by:
        verdict, why = "left out", rules.told(card.left_out_by, card.left_out_value, card.limit)
    else:
        verdict, why = "kept", ""
    return {
        "video": card.name, "verdict": verdict, "why": why, "seconds": card.duration_s, "shots": card.n_shots,
        "clips": card.n_clips, "groups": card.n_groups, "pairs": card.n_pairs,
    }  # fmt: skip


def _detail(video_id: int) -> None:
    """One video: its clips as a strip, and every rule with its value."""
    with telling(), state.database().reading() as session:
        card, stored = videos.get(session, video_id), timelines.current(session, video_id)
        st.subheader(escaped(card.name))
        if stored is None:
            st.text(card.message or "Nothing was measured.")
            return
        groups = f"{stored.n_groups:,} groups of look-alike shots"
        st.caption(f"{stored.n_clips:,} clips in {groups}, in their true order. The number is the clip's place.")
        if stored.timeline:
            clip_strip(stored.id, stored.timeline, f"strip{stored.id}")
        checked = [{"rule": rules.RULES.get(r.code, r.code), "passed": r.passed, "value": r.value, "limit": r.limit}
                   for r in stored.rules]  # fmt: skip
        st.dataframe(checked, hide_index=True, column_config={name: _number("%.2f") for name in ("value", "limit")})


def main() -> None:
    st.title("Library")
    st.caption("Every video is kept, or left out with the rule and the value that it measured.")
    work("draw", "scan")
    with state.database().reading() as session:
        steps = videos.funnel(session)
    empty = steps[0].remaining == 0
    if empty:
        st.info("No videos yet. Scan a folder, or draw the embedded world.", icon=":material/video_library:")
    _add(empty)
    if empty:
        return
    named = [(rules.RULES.get(step.code, step.code), step.left_out, step.remaining) for step in steps]
    st.plotly_chart(charts.funnel(named, palette(st.context.theme.type)), key="funnel")
    _thresholds()
    chosen = _table(_which(steps))
    if chosen is not None:
        st.query_params["video"] = str(chosen)
    asked = asked_id("video")
    if asked is not None:
        _detail(asked)
    else:
        st.caption("Choose a row to see its clips and what every rule measured.")


main()
