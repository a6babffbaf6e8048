"""Health: what is well with the studio and what is not, each with the way out; a backup and a check at a click."""

from __future__ import annotations

import streamlit as st

from ui import health
from ui.acting import work


def main() -> None:
    st.title("Health")
    st.caption("The same on the command line: `python -m jobs doctor`, which also looks at the model libraries.")
    health.acts()
    work("check")
    all_found = health.found()
    health.headline(all_found)
    health.rows(all_found)


main()
