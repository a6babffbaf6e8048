"""Saved views of the pairs page: a name for what the address holds, for everybody in the studio."""

from __future__ import annotations

import streamlit as st

from db import saved_views
from db.saved_views import SavedView
from ui import state
from ui.acting import telling
from ui.facets import OURS
from ui.text import escaped

PAGE = "pairs"
PASSING = ("pair", "after", "before")
"""What a view leaves out: it is where somebody is, not what they look at."""


def _query() -> dict[str, str]:
    return {name: value for name, value in st.query_params.items() if name not in PASSING}


def chips() -> None:
    """One chip a view; the one that is shown has a check."""
    with state.database().reading() as session:
        found = saved_views.listing(session, PAGE, state.person())
    query = _query()
    filters = any(name not in OURS for name in query)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for view in found:
            shown = view.query == query
            st.button(escaped(view.name), key=f"view_{view.id}", icon=":material/check:" if shown else
                      ":material/bookmark:", type="primary" if shown else "secondary", on_click=_open, args=(view,),
                      help=f"Saved by {escaped(view.by)}")  # fmt: skip
        if found or filters:
            with st.popover("Views", icon=":material/bookmark_add:"):
                _edit(found, query, filters=filters)


def _open(view: SavedView) -> None:
    st.query_params.from_dict(view.query)


def _edit(found: list[SavedView], query: dict[str, str], *, filters: bool) -> None:
    name = st.text_input("Name for what is shown now", key="view_name", disabled=not filters,
                         placeholder="hard reversals, not read yet")  # fmt: skip
    if st.button("Save this view", type="primary", disabled=not filters, key="view_save"):
        with telling():
            with state.database().session() as session:
                saved_views.save(session, state.person(), PAGE, name, query)
            st.rerun()
    st.caption("To share a view, send the address of this page: it holds the whole filter.")
    mine = {view.id: view for view in found if view.mine or state.person().role == "admin"}
    if not mine:
        return
    chosen = st.selectbox("Rename or delete", list(mine), format_func=lambda i: mine[i].name, key="view_chosen")
    new = st.text_input("New name", key="view_new_name")
    with st.container(horizontal=True):
        if st.button("Rename", key="view_rename"):
            _do("rename", chosen, new)
        if st.button("Delete", key="view_delete", icon=":material/delete:"):
            _do("delete", chosen, new)


def _do(what: str, view_id: int, name: str) -> None:
    with telling():
        with state.database().session() as session:
            if what == "rename":
                saved_views.rename(session, state.person(), view_id, name)
            else:
                saved_views.delete(session, state.person(), view_id)
        st.rerun()
