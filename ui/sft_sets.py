"""SFT sets: what is there, which videos of it are gone, and a form that imports a file of conversations.

The file is read by a job, because each of its videos is known by the hash of its bytes.
"""

from __future__ import annotations

import streamlit as st

from db import datasets, jobs, sft_sets
from db.jobs import Job
from db.sft_sets import SftLine
from jobs.payloads import SftPayload
from ui import state
from ui.acting import may_name_files, queue, work
from ui.text import escaped, untrusted

SOURCES = {"world": "drawn world", "jsonl": "imported"}
FORM = (
    "One conversation a line, as LLaVA writes them: "
    '`{"id": "1", "video": "a.mp4", "conversations": [{"from": "human", "value": "<video>\\nWhat happens?"}, '
    '{"from": "gpt", "value": "..."}]}`. A video is known by its bytes and must have been scanned.'
)


def show() -> None:
    """The table of sets with the import below it."""
    with state.database().reading() as session:
        lines = sft_sets.lines(session)
        frozen = {version.id: f"{version.name} {version.number}" for version in datasets.listing(session)}
        last = jobs.latest(session, 1, kinds=("sft",))
    going_on = bool(last) and not last[0].ended
    failed = bool(last) and last[0].state == "failed"
    with st.expander("SFT sets", icon=":material/forum:", expanded=going_on or failed):
        if lines:
            _table(lines)
        else:
            st.caption("No set yet. Recipes with an SFT phase take the drawn world's own examples, or a set from here.")
        _form(frozen)
        work("sft")
        if last and last[0].state == "succeeded":
            _came_of(last[0])


def _table(lines: list[SftLine]) -> None:
    st.dataframe(
        [
            {"set": line.card.id, "name": f"{line.card.name} {line.card.number}", "examples": line.card.n_items,
             "videos found": line.n_videos - len(line.missing), "videos missing": len(line.missing),
             "missing": ", ".join(line.missing[:5]) + (" ..." if len(line.missing) > 5 else ""),
             "from": SOURCES.get(line.card.kind, line.card.kind), "content hash": line.card.content_sha256[:16]}
            for line in lines
        ],
        hide_index=True,
    )  # fmt: skip


def _form(frozen: dict[int, str]) -> None:
    if not may_name_files("sft FILE"):
        return
    st.caption(FORM)
    left, right = st.columns(2)
    file = left.text_input("JSONL file", key="sft_file", placeholder="/data/conversations.jsonl")
    folder = right.text_input("Folder of its videos", key="sft_folder", placeholder="the file's own folder")
    name = left.text_input("Name of the set", key="sft_name", placeholder="the file's name")
    without = right.selectbox(
        "Leave out the held-out videos of", [None, *frozen], key="sft_without",
        format_func=lambda number: "no dataset version" if number is None else frozen[number],
        help="A run refuses a set that holds videos on which it is measured.",
    )  # fmt: skip
    skip = st.checkbox("Leave out videos that were not scanned", key="sft_skip", help="Otherwise the file is refused")
    if st.button("Import", icon=":material/upload_file:", key="sft_import", disabled=not file.strip()):
        queue(SftPayload(file.strip(), folder.strip() or None, name.strip() or None, skip, without))


def _came_of(job: Job) -> None:
    """The last import: how much of it there is, and by name what is not in it."""
    result = job.result or {}
    said = f"Set {result.get('sft_set_id')}: {result.get('examples')} examples about {result.get('videos')} videos."
    st.success(escaped(said), icon=":material/check_circle:")
    if left_out := result.get("left_out"):
        named = result.get("left_out_named", [])
        more = (
            f"\nand {left_out - len(named)} more; all are in the log of job {job.id}" if left_out > len(named) else ""
        )
        st.warning(f"{left_out:,} videos of the file were left out:", icon=":material/videocam_off:")
        untrusted("\n".join(str(line) for line in named) + more)
