"""Every file that came in: how many pairs of it, and for each line that was skipped the reason."""

from __future__ import annotations

import streamlit as st

from db import imports
from db.imports import ImportCard
from ui import state, tables, when, words
from ui.text import escaped

MOST_LINES = 1_000


def show() -> None:
    with state.database().reading() as session:
        cards = imports.listing(session)
    if not cards:
        st.info("Nothing was imported yet.", icon=":material/history:")
        return
    st.caption("Choose a file to see which of its lines were skipped.")
    rows = [_row(card) for card in cards]
    number = tables.chosen([{name: v for name, v in row.items() if any(r[name] != "" for r in rows)} for row in rows],
                           "imports")  # fmt: skip
    if number is not None:
        _skipped(cards[number])


def _row(card: ImportCard) -> dict[str, object]:
    """What is empty in every row is not shown."""
    return {
        "file": card.name, "form": words.pair_form(card.format), "read": card.n_read if card.done else None,
        "imported": card.n_imported, "skipped": len(card.skipped) if card.done else None,
        "state": "" if card.done else "interrupted: import it again to go on", "when": when.told(card.created_ms),
        "by": card.by, "sha256": card.file_sha256[:12],
    }  # fmt: skip


def _skipped(card: ImportCard) -> None:
    st.subheader(escaped(card.name))
    if not card.skipped:
        st.caption("No line was skipped.")
        return
    st.caption(f"{card.n_read:,} read, {card.n_imported:,} imported, {len(card.skipped):,} skipped.")
    if len(card.skipped) > MOST_LINES:
        st.caption(f"The first {MOST_LINES:,} are shown; the log of the job holds all.")
    st.dataframe([{"line": line, "reason": why} for line, why in card.skipped[:MOST_LINES]], hide_index=True)
