"""A video to look at: the file itself, its shots in the colours of their look-alike groups, and its clips.

Addresses are signed for this browser; a group's letter is the second cue beside its colour.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

import streamlit as st

from db.timelines import StoredShot, StoredTimeline
from ui import state
from ui.palette import text_on
from ui.rules import letter

_HERE = Path(__file__).parent

GROUPS = ("#2b62b8", "#b86b00", "#19927f", "#a3286b", "#6b52c8", "#5d7d16", "#b3402a", "#0f7d9c")
"""Colours of look-alike groups; white can be read on each (4.1 to 1 and more)."""
DROPPED = {"short": "too short", "blank": "blank"}

_component = st.components.v2.component(
    "tempo_watch",
    html='<div class="mount"></div>',
    css=(_HERE / "watch.css").read_text(encoding="utf-8"),
    js=(_HERE / "watch.js").read_text(encoding="utf-8"),
)


def watch(video_id: int, stored: StoredTimeline | None, key: str, *, usable: bool, told: str = "") -> None:
    """The player, the shots and the clips of one video; `told` stands where there is nothing to play."""
    shots = stored.shots if stored is not None else ()
    groups = sorted({shot.group for shot in shots if shot.group is not None})
    data = {
        "label": f"video {video_id}",
        "video_url": state.sign("clips", video_id) if usable else "",
        "told": told,
        "sprite_url": state.sign("sprites", stored.id) if stored is not None and stored.timeline else "",
        "shots": _shots(shots, groups),
        "clips": _clips(stored, groups) if stored is not None else [],
    }
    _component(key=key, data=data)


def _shots(shots: tuple[StoredShot, ...], groups: list[int]) -> list[dict[str, Any]]:
    ends = list(accumulate(shot.seconds for shot in shots))
    return [_shot(i, shot, end, groups) for i, (shot, end) in enumerate(zip(shots, ends, strict=True), start=1)]


def _shot(number: int, shot: StoredShot, end_s: float, groups: list[int]) -> dict[str, Any]:
    of = {"start_s": end_s - shot.seconds, "end_s": end_s, "dropped": shot.dropped_by is not None}
    lasts = f"shot {number}, {shot.seconds:.2f} s"
    if shot.dropped_by is not None:
        about = f"{lasts}, dropped: {DROPPED.get(shot.dropped_by, shot.dropped_by)}"
        return of | {"letter": "", "colour": "", "ink": "", "about": about}
    if shot.group is None:
        return of | {"letter": "", "colour": "#8793a3", "ink": "#111111", "about": lasts}
    return of | _group(shot.group, groups) | {"about": f"{lasts}, group {letter(groups.index(shot.group))}"}


def _clips(stored: StoredTimeline, groups: list[int]) -> list[dict[str, Any]]:
    starts = [0.0, *accumulate(shot.seconds for shot in stored.shots)]
    return [
        _group(clip.group, groups)
        | {"start_s": starts[clip.shots[0]], "about": f"{sum(stored.shots[i].seconds for i in clip.shots):.1f} s"}
        for clip in stored.timeline
    ]


def _group(group: int, groups: list[int]) -> dict[str, str]:
    place = groups.index(group)
    colour = GROUPS[place % len(GROUPS)]
    return {"letter": letter(place), "colour": colour, "ink": text_on(colour)}
