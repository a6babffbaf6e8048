"""What an item of a benchmark was: question, options, the right answer, the frames that were shown, and its video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from db import pairs, timelines, videos
from db.evaluations import EvaluationLine
from tempo_core import question_sheets
from tempo_core.types import Asked, ItemScore
from ui import state
from ui.strip import clip_strip, picture_strip
from ui.text import untrusted


def show(item: ItemScore, lines: Sequence[EvaluationLine]) -> None:
    """As the newest of these measurements that kept it tells it; else what the answer's row holds."""
    for line in lines:
        if (asked := _kept(line, item.item)) is not None:
            _question(asked)
            _frames(asked, item, line)
            if (pair_id := _pair(item.item)) is not None:
                _pair_link(pair_id)
            return
    if (pair_id := _pair(item.item)) is not None:
        _of_pair(pair_id)
    else:
        st.caption("The question was not kept with this measurement. Measure again to see it here.")
    _own_video(item.group)


def folder_of(line: EvaluationLine) -> Path:
    """Where the job of this measurement kept what it asked."""
    return state.home().runs / "jobs" / str(line.job_id) / "asked"


def questions(lines: Sequence[EvaluationLine]) -> dict[str, str]:
    """The question of each item of a figure, where one of these measurements kept it."""
    for line in lines:
        kept = _all(line)
        if kept:
            return {item: asked.question for (metric, item), asked in kept.items() if metric == line.metric}
    return {}


def _kept(line: EvaluationLine, item: str) -> Asked | None:
    return _all(line).get((line.metric, item))


def _all(line: EvaluationLine) -> dict[tuple[str, str], Asked]:
    path = folder_of(line) / f"{line.benchmark}.jsonl"
    if line.job_id is None or not path.is_file():
        return {}
    return _read(str(path.parent), line.benchmark, path.stat().st_mtime_ns)


@st.cache_data(max_entries=4, show_spinner=False)
def _read(folder: str, benchmark: str, written_ns: int) -> dict[tuple[str, str], Asked]:
    return question_sheets.read(Path(folder), benchmark)


def _question(asked: Asked) -> None:
    st.caption("Question")
    untrusted("\n".join((asked.question, *asked.options)))
    st.caption("Right answer")
    untrusted(asked.truth or "not a choice")


def _frames(asked: Asked, item: ItemScore, line: EvaluationLine) -> None:
    """The pictures themselves where they were kept, else the clips of the library's video."""
    strip = folder_of(line) / question_sheets.strip_name(asked.video, asked.numbers)
    if strip.is_file():
        st.caption(f"The {len(asked.numbers):,} pictures that were shown")
        picture_strip(strip.read_bytes(), [f"frame {number:,}" for number in asked.numbers], "frames_shown")
    if not _own_video(item.group) and asked.video:
        with state.database().reading() as session:
            video_id = videos.at(session, Path(asked.video))
        if video_id is not None:
            _link(video_id)
        else:
            st.code(asked.video, language=None, wrap_lines=True)


def _own_video(sha256: str) -> bool:
    """The clips of a video of the library that is known by its bytes."""
    with state.database().reading() as session:
        video_id = videos.by_sha(session, sha256)
        stored = None if video_id is None else timelines.current(session, video_id)
    if video_id is None:
        return False
    if stored is not None and stored.timeline:
        st.caption("The video's clips, one picture each; key frames of every clip were shown")
        clip_strip(stored.id, stored.timeline, f"item_{video_id}")
    _link(video_id)
    return True


def _link(video_id: int) -> None:
    st.page_link("pages/library.py", label="Watch the video in the library", icon=":material/play_circle:",
                 query_params={"video": str(video_id)})  # fmt: skip


def _pair(uid: str) -> int | None:
    with state.database().reading() as session:
        return pairs.by_uid(session, uid)


def _of_pair(pair_id: int) -> None:
    with state.database().reading() as session:
        card = pairs.get(session, pair_id)
    st.caption("Which of its two responses is likelier?")
    untrusted(card.prompt)
    left, right = st.columns(2)
    with left:
        st.caption("chosen")
        untrusted(card.final_chosen)
    with right:
        st.caption("rejected")
        untrusted(card.final_rejected)
    _pair_link(pair_id)


def _pair_link(pair_id: int) -> None:
    st.page_link("pages/pairs.py", label="Open the pair", icon=":material/compare:",
                 query_params={"pair": str(pair_id)})  # fmt: skip
