"""Take a run's model away: its adapters as a zip, or one merged model as a folder on this machine."""

from __future__ import annotations

import streamlit as st

from db import artifacts, jobs, runs
from db.jobs import Job
from jobs.payloads import ExportModelPayload
from ui import state
from ui.acting import for_role, queue, work
from ui.text import escaped, untrusted

FORMS = {"adapter": "Adapters only (small; needs the base model)", "merged": "Merged model (loads by itself)"}
SHOWN = 20


def show(run_id: int) -> None:
    """Both forms, what is being written, and what was written before; nothing until a stage is done."""
    with state.database().reading() as session:
        links = runs.adapters(session, run_id)
        made = artifacts.listing(session, "export", run_id=run_id)
        written = [job for job in jobs.latest(session, SHOWN, kinds=("export_model",)) if _is_of(job, run_id)]
    if not links:
        return
    with st.expander("Export the model", icon=":material/download:", expanded=bool(_open(written))):
        st.caption(
            f"{len(links):d} trained stages, each checked against its hash, with a model card: data, settings, curves, "
            "figures before and after, and what got worse."
        )
        left, right = st.columns([5, 2], vertical_alignment="bottom")
        form = left.radio("Form", list(FORMS), format_func=FORMS.__getitem__, key=f"export_form_{run_id}")
        if right.button("Export", icon=":material/download:", key=f"export_{run_id}", width="stretch",
                        **for_role("admin")):  # fmt: skip
            queue(ExportModelPayload(run_id, form))
        work("export_model")
        for artifact in made:
            name, size = artifact.rel_path.rpartition("/")[2], artifact.size_bytes / 1e6
            st.link_button(
                f"Download {escaped(name)} ({size:.2f} MB)", state.sign("exports", artifact.id),
                icon=":material/download:",
            )  # fmt: skip
        for folder in dict.fromkeys(str(job.result["folder"]) for job in written if job.result):
            untrusted(f"Written to {folder}")


def _is_of(job: Job, run_id: int) -> bool:
    return job.payload.get("run_id") == run_id


def _open(written: list[Job]) -> list[Job]:
    return [job for job in written if not job.ended]
