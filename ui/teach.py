"""What a pair is, as a picture: for whoever opens an empty studio. The picture holds no data."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "tempo_teach",
    html=(_HERE / "teach.html").read_text(encoding="utf-8"),
    css=(_HERE / "teach.css").read_text(encoding="utf-8"),
)


def what_a_pair_is(key: str) -> None:
    _component(key=key)
