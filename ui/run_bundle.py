"""A run that is trained elsewhere: write its bundle, and bring its result back."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from db import jobs, runs
from jobs import launch
from jobs.payloads import BringBackPayload
from tempo_core.errors import TempoError
from ui import state
from ui.acting import may_name_files, queue, start_worker, telling, work
from ui.text import untrusted

SHOWN = 20
WAITING = ("queued", "cancelled", "failed")


def show(run_id: int) -> None:
    """Nothing for a run that is at work here, or done."""
    with state.database().reading() as session:
        run = runs.get(session, run_id)
        found = jobs.latest(session, SHOWN, kinds=("bundle", "bring_back"))
    written = [job for job in found if job.payload.get("run_id") == run_id]
    if run.state not in WAITING:
        return
    at_work = any(not job.ended for job in found if job.payload.get("run_id", run_id) == run_id)
    with st.expander("Train elsewhere", icon=":material/local_shipping:", expanded=at_work):
        st.caption(
            "A bundle holds all that trains this run where only the project's code and the base model are: pairs, "
            "order, settings and the pictures that the model is shown, under one manifest, with the command in its "
            "README. A run that waits leaves the queue."
        )
        if st.button("Write a bundle", icon=":material/inventory_2:", key=f"bundle_{run_id}", disabled=not _may()):
            with telling():
                launch.bundle_run(state.database(), state.person(), run_id)
                start_worker()
                st.rerun()
        work("bundle", "bring_back")
        for folder in dict.fromkeys(str(job.result["folder"]) for job in written if job.result):
            untrusted(f"Written to {folder}")
        _bring_back()


def _bring_back() -> None:
    if not may_name_files("bring-back FOLDER"):
        return
    with st.form("bring_back", border=False):
        left, right = st.columns([5, 2], vertical_alignment="bottom")
        named = left.text_input("Folder of the bundle, or of its result", placeholder="/data/run-1-bundle")
        if right.form_submit_button(
            "Bring back", icon=":material/move_to_inbox:", width="stretch", disabled=not _may()
        ):
            with telling():
                queue(BringBackPayload(str(_folder(named))))


def _folder(named: str) -> Path:
    path = Path(named.strip()).expanduser()
    if not named.strip() or not path.is_dir():
        what = f"{path} is no folder of this machine" if named.strip() else "No folder was named"
        raise TempoError(f"{what}. Copy the trained bundle here, then type its folder.")
    return path.resolve()


def _may() -> bool:
    return state.may("admin")
