"""The door: `streamlit run app.py` starts pages, private files, security headers and the worker in one process.

This file is both the server's start and the script that Streamlit runs for each visitor; the guard at the end tells
the two apart. A new page is one file in `pages/` and one line in `PAGES`.
"""

from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ui import notices, server, state, style

HERE = Path(__file__).parent

app = st.App(Path(__file__), routes=server.ROUTES, middleware=server.MIDDLEWARE, lifespan=server.lifespan)

PAGES = {
    "": [("overview", "Overview", ":material/home:")],
    "Data": [
        ("library", "Library", ":material/video_library:"),
        ("pairs", "Pairs", ":material/table_rows:"),
        ("review", "Review", ":material/compare:"),
        ("sampling", "Sampling", ":material/casino:"),
    ],
    "Train": [
        ("curriculum", "Curriculum", ":material/stairs_2:"),
        ("datasets", "Datasets", ":material/lock:"),
        ("runs", "Runs", ":material/monitoring:"),
        ("evaluate", "Evaluate", ":material/fact_check:"),
    ],
    "Team": [
        ("team", "Team", ":material/group:"),
        ("exchange", "Exchange", ":material/swap_horiz:"),
        ("settings", "Settings", ":material/settings:"),
        ("doctor", "Health", ":material/monitor_heart:"),
    ],
}


def navigation() -> None:
    """Show the page that the address names."""
    st.set_page_config(page_title="TEMPO Studio", page_icon="🎞️", layout="wide")
    style.load()
    state.require_login()
    found = {
        group: [
            st.Page(HERE / "pages" / f"{name}.py", title=title, icon=icon, default=name == "overview", url_path=name)
            for name, title, icon in pages
            if (HERE / "pages" / f"{name}.py").exists()
        ]
        for group, pages in PAGES.items()
    }
    page = st.navigation({group: pages for group, pages in found.items() if pages}, expanded=True)
    page.run()
    notices.show()
    server.settle(page.url_path)


if get_script_run_ctx(suppress_warning=True) is not None:
    navigation()
