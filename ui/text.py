"""Text that we did not write: model responses, prompts, notes, file names, people's names.

Streamlit reads labels, toasts, errors and markdown as markdown, and an image named there is fetched by the browser of
whoever looks: a beacon. `st.text`, `st.code`, `st.text_area` and `st.dataframe` show text as it is. So data goes
through `untrusted`, through `escaped` where it must be part of a label, and through `in_figure` where Plotly draws it.
"""

from __future__ import annotations

import re

import streamlit as st

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def untrusted(text: str, *, label: str = "Text", height: int | None = None) -> None:
    """Show text that we did not write, as it is. With a height it scrolls."""
    if height is None:
        st.text(text)
    else:
        st.text_area(label, text, height=height, disabled=True, label_visibility="collapsed")


def escaped(text: str, *, longest: int = 200) -> str:
    """Text as part of a label, an option, a toast or an error: one line, every markdown sign escaped.

    Emoji and icon codes (`:red[..]`, `:material/..:`) are markdown here too, hence the colon.
    """
    line = " ".join(text.split())
    cut = line if len(line) <= longest else line[: longest - 1] + "…"
    return _MARKDOWN.sub(r"\\\1", cut)


def in_figure(text: str) -> str:
    """Text as part of a figure: Plotly reads tags such as <b> and <a href> in titles, names, ticks and categories."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
