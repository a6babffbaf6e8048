"""What the desk is measured against: the same files and texts in plain Streamlit, two `st.video` and a button.

Both columns show one file, so that the browser fetches it once: to the advantage of this page.
"""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

TEXT = os.environ["PLAIN_TEXT"]
FILES = sorted(Path(os.environ["PLAIN_VIDEOS"]).glob("*.mp4"))


def _next() -> None:
    st.session_state["place"] += 1


st.set_page_config(layout="wide")
place = st.session_state.setdefault("place", 0)
st.subheader(f"Pair {place}")
for side, column in enumerate(st.columns(2)):
    # Two alike would be one element twice, which Streamlit refuses.
    column.video(str(FILES[place % len(FILES)]), autoplay=True, muted=True, loop=side == 1)
    column.text(TEXT)
st.button("Next", shortcut="N", on_click=_next)
