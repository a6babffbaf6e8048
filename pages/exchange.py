"""Exchange: pairs of other tools come in as proposals, and frozen versions go out for other trainers."""

from __future__ import annotations

import streamlit as st

from ui import exchange_export, exchange_history, exchange_import
from ui.acting import of_address

PARTS = ("Import", "History", "Export")


def main() -> None:
    st.title("Exchange")
    st.caption("Pairs of other tools come in as proposals and wait for review. Frozen versions go out with a manifest.")
    of_address("part", PARTS)
    part = st.segmented_control("Part", PARTS, key="part", required=True, label_visibility="collapsed")
    shown = {"History": exchange_history.show, "Export": exchange_export.show}
    shown.get(part or "", exchange_import.show)()


main()
