"""Long tables: one row may be chosen, and pages follow each other by key, so the last costs as much as the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st


def chosen(rows: Sequence[Mapping[str, Any]], key: str, **settings: Any) -> int | None:
    """Show the rows; the index of the one that was chosen."""
    picked = st.dataframe(
        list(rows), hide_index=True, on_select="rerun", selection_mode="single-row", key=key, **settings
    )
    found = picked["selection"]["rows"]
    return found[0] if found and found[0] < len(rows) else None


def after(name: str) -> Any:
    """Where the page that is shown begins; None is the first page."""
    return st.session_state.get(f"{name}_after")


def first_page(name: str) -> None:
    st.session_state.pop(f"{name}_after", None)


def turn(name: str, next_key: Any) -> None:
    """Buttons to the first and to the next page, where there are such; `next_key` None: this page is the last."""
    if after(name) is None and next_key is None:
        return
    with st.container(horizontal=True):
        if st.button("First page", icon=":material/first_page:", disabled=after(name) is None, key=f"{name}_first"):
            first_page(name)
            st.rerun()
        if st.button("Next page", icon=":material/navigate_next:", disabled=next_key is None, key=f"{name}_next"):
            st.session_state[f"{name}_after"] = next_key
            st.rerun()


def pages(has_before: bool, has_after: bool, first: str, last: str) -> None:
    """Buttons to the pages around this one, kept in the address; `first` and `last` are the keys of its ends."""
    if not (has_before or has_after):
        return
    with st.container(horizontal=True):
        st.button("First page", icon=":material/first_page:", disabled=not has_before, key="page_first",
                  on_click=_to, args=("", ""))  # fmt: skip
        st.button("Previous page", icon=":material/navigate_before:", disabled=not has_before, key="page_previous",
                  on_click=_to, args=("before", first))  # fmt: skip
        st.button("Next page", icon=":material/navigate_next:", disabled=not has_after, key="page_next",
                  on_click=_to, args=("after", last))  # fmt: skip


def _to(side: str, key: str) -> None:
    for name in ("after", "before", "pair"):
        st.query_params.pop(name, None)
    if side:
        st.query_params[side] = key
