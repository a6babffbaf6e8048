"""Rows of numbered thumbnails: a video's clips, from a private file at a signed address, or pictures as data."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from tempo_core.types import Timeline
from ui import state
from ui.palette import clip_colour, text_on

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "tempo_strip",
    html='<div class="mount"></div>',
    css=(_HERE / "strip.css").read_text(encoding="utf-8"),
    js=(_HERE / "strip.js").read_text(encoding="utf-8"),
)


def clip_strip(timeline_id: int, timeline: Timeline, key: str, order: Sequence[int] | None = None) -> None:
    """The clips in `order` (default: as they are in the video), each with its number in the clean video."""
    shown = range(len(timeline)) if order is None else order
    label = "clips in their true order" if order is None else "clips as the perturbed side shows them"
    cells = [_cell(clip, timeline) for clip in shown]
    data = {"url": state.sign("sprites", timeline_id), "n": len(timeline), "label": label, "cells": cells}
    _component(key=key, data=data | {"what": "clip"})


def picture_strip(jpeg: bytes, about: Sequence[str], key: str) -> None:
    """Pictures in the order in which a model was shown them, from one row of boxes; `about` says something of each."""
    n = len(about)
    url = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    cells = [{"clip": i, "about": said, "colour": "#1b2330", "ink": "#ffffff"} for i, said in enumerate(about)]
    data = {"url": url, "n": n, "label": "pictures as the model was shown them", "cells": cells, "what": "picture"}
    _component(key=key, data=data)


def _cell(clip: int, timeline: Timeline) -> dict[str, Any]:
    colour = clip_colour(clip, len(timeline))
    about = f"group {1 + sorted({c.group for c in timeline}).index(timeline[clip].group)}"
    return {"clip": clip, "about": about, "colour": colour, "ink": text_on(colour)}
