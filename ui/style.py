"""The rules that every page shares and that Streamlit's themes have no word for; loaded once per page as a file."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_component = st.components.v2.component(
    "tempo_style",
    html='<i class="tempo-style"></i>',
    css=(Path(__file__).parent / "studio.css").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def load() -> None:
    """Call it before the page draws, so that nothing jumps."""
    _component(key="tempo_style")
