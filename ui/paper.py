"""For the paper: figures, tables, settings and a methods section about chosen runs, as one zip."""

from __future__ import annotations

import streamlit as st

from db import artifacts, jobs, runs
from jobs.payloads import PaperPayload
from ui import state
from ui.acting import queue, work
from ui.run_look import named
from ui.text import escaped, untrusted

SHOWN = 5


def section() -> None:
    """Choose among the runs that have finished a stage; what was written before stays to be taken away."""
    with state.database().reading() as session:
        found = [line.run for line in runs.listing(session) if runs.adapters(session, line.run.id)]
        written = jobs.latest(session, SHOWN, kinds=("paper",))
        made = {artifact.id: artifact for artifact in artifacts.listing(session, "export")}
    if not found:
        st.info("No run has finished a stage yet. Start one on the runs page.", icon=":material/monitoring:")
        return
    st.caption(
        "Vector figures (PDF, SVG), every table as CSV and LaTeX, the full configuration, and a methods section filled "
        "with what these runs really did. Read it before you use it."
    )
    names = {run.id: named(run) for run in found}
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    chosen = left.multiselect("Runs", list(names), key="paper_runs", placeholder="choose runs",
                              format_func=names.__getitem__)  # fmt: skip
    why_not = state.why_not("admin")
    barred = not chosen or why_not is not None
    if right.button("Write", icon=":material/article:", key="paper_write", width="stretch", disabled=barred):
        queue(PaperPayload(tuple(chosen)))
    if why_not is not None:
        st.caption(escaped(why_not))
    work("paper")
    for job in written:
        artifact = made.get((job.result or {}).get("artifact_id") or 0)
        if artifact is not None:
            name, size = artifact.rel_path.rpartition("/")[2], artifact.size_bytes / 1e6
            st.link_button(f"Download {escaped(name)} ({size:.2f} MB)", state.sign("exports", artifact.id),
                           icon=":material/download:")  # fmt: skip
        elif job.result:
            untrusted(f"Written to {job.result['folder']}")
