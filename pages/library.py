"""Library: which videos are there, which are kept, and which rule with which value left the others out."""

from __future__ import annotations

import streamlit as st

from db import recounts, videos
from db.people import ROLES
from jobs.payloads import DrawPayload, ScanPayload
from tempo_core import folders
from ui import library_copies, library_folders, library_rules, library_videos, state
from ui.acting import may_name_files, of_address, queue, telling, work

VIEWS = {"videos": "Videos", "rules": "Rules", "copies": "Copies", "folders": "Folders"}
JOBS = ("draw", "scan", "judge", "relink", "copies")


def _add(empty: bool) -> None:
    """Choose a folder, or draw videos."""
    with st.expander("Add videos", icon=":material/add_circle:", expanded=empty):
        folder, drawn = st.columns(2, gap="large")
        with folder:
            st.markdown("**Your own videos**: a folder on this machine. The files stay where they are.")
            if may_name_files("scan FOLDER"):
                _scan()
        with drawn.form("draw", border=False):
            st.markdown("**The drawn world**: small videos whose order of events is known. No download.")
            n_videos = st.number_input("Videos", 1, 5000, 300, step=50)
            if st.form_submit_button("Draw and scan"):
                queue(DrawPayload(int(n_videos)))


def _scan() -> None:
    with st.form("scan", border=False):
        named = st.text_input("Folder", placeholder="/data/videos")
        if st.form_submit_button("Scan", type="primary"):
            with telling():
                where = str(folders.worth_scanning(named))
                with state.database().reading() as session:
                    limits = library_rules.differing(recounts.thresholds_now(session))
                queue(ScanPayload(where, richness=limits))


def _teach() -> None:
    st.info("No videos yet. Scan a folder, or draw the embedded world.", icon=":material/video_library:")
    st.markdown(
        "A video can teach the order of events when it shows **several scenes that look different**: 4 to 32 shots, "
        "none longer than 16 s, at least 4 clips, and no look-alike scene that comes again and again. "
        "Every video is measured once; after that each limit is a slider, and nothing is decoded again."
    )


def main() -> None:
    st.title("Library")
    st.caption("Every video is kept, or left out with the rule and the value that it measured.")
    work(*JOBS)
    with state.database().reading() as session:
        steps = videos.funnel(session)
    empty = steps[0].remaining == 0
    if empty:
        _teach()
    if state.person().role == ROLES[-1]:
        _add(empty)
    if empty:
        return
    places = library_folders.found()
    library_folders.banner(places)
    of_address("view", list(VIEWS))
    view = st.segmented_control(
        "View", list(VIEWS), format_func=VIEWS.__getitem__, key="view", required=True, label_visibility="collapsed"
    )
    if view == "rules":
        library_rules.show()
    elif view == "copies":
        library_copies.show()
    elif view == "folders":
        library_folders.show(places)
    else:
        library_videos.show(steps)


main()
