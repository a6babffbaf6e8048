"""Captions that data sets bring along: which sets there are, and a form that reads in a file.

The file is read by a job, because each of its videos is known by the hash of its bytes.
"""

from __future__ import annotations

import streamlit as st

from db import caption_sets, jobs
from db.jobs import Job
from jobs.payloads import CaptionsPayload
from tempo_core.caption_matching import MIN_SHARE
from ui import state
from ui.acting import may_name_files, queue, work
from ui.text import escaped, untrusted

FORM = (
    "JSONL or CSV with `video`, `start_s`, `end_s`, `caption`, one row a caption, or LLaVA-Video-178K's JSON. A "
    f"caption goes to the clip that holds at least {MIN_SHARE:.0%} of it; a clip needs captions over at least "
    f"{MIN_SHARE:.0%} of it. Pairs can be made of videos whose every clip has one, without asking a model for captions."
)


def section() -> None:
    """The table of sets with the form below it."""
    with state.database().reading() as session:
        sets = caption_sets.listing(session)
        last = jobs.latest(session, 1, kinds=("captions",))
    going_on = bool(last) and not last[0].ended
    failed = bool(last) and last[0].state == "failed"
    with st.expander("Captions of data sets", icon=":material/subtitles:", expanded=going_on or failed):
        if sets:
            st.dataframe(
                [{"set": card.id, "name": card.name, "clips described": card.n_captions, "videos": card.n_timelines,
                  "file": str(card.file), "content hash": card.sha256[:16]} for card in sets],
                hide_index=True,
            )  # fmt: skip
        _form()
        work("captions")
        if last and last[0].state == "succeeded":
            _came_of(last[0])


def _form() -> None:
    if not may_name_files("captions FILE"):
        return
    st.caption(FORM)
    left, right = st.columns(2)
    file = left.text_input("File of captions", key="captions_file", placeholder="/data/segments.jsonl")
    folder = right.text_input("Folder of its videos", key="captions_folder", placeholder="the file's own folder")
    name = left.text_input("Name of the set", key="captions_name", placeholder="the file's name")
    skip = right.checkbox("Leave out videos that were not scanned", key="captions_skip",
                          help="Otherwise the file is refused")  # fmt: skip
    if st.button("Import", icon=":material/upload_file:", key="captions_import", disabled=not file.strip()):
        queue(CaptionsPayload(file.strip(), folder.strip() or None, name.strip() or None, skip))


def _came_of(job: Job) -> None:
    """The last reading: how much of the file is of use, and why the rest is not."""
    found = job.result or {}
    st.success(
        escaped(
            f"Set {found.get('set_id')}: {found.get('n_matched')} of {found.get('n_read')} captions describe "
            f"{found.get('n_clips')} clips of {found.get('n_videos')} videos; of {found.get('n_whole')} every clip."
        ),
        icon=":material/check_circle:",
    )
    for reason, n in found.get("unmatched", {}).items():
        st.caption(escaped(f"{n:,} not used: {reason}"))
    if left_out := found.get("left_out"):
        named = [str(line) for line in found.get("left_out_named", [])]
        more = (
            f"\nand {left_out - len(named)} more; all are in the log of job {job.id}" if left_out > len(named) else ""
        )
        st.warning(f"{left_out:,} videos of the file were left out:", icon=":material/videocam_off:")
        untrusted("\n".join(named) + more)
