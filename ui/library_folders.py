"""The folders of the library: what is missing of them, and the way back when a folder moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from db import jobs, places
from db.people import ROLES
from db.places import Folder
from jobs.payloads import RelinkPayload, ScanPayload
from tempo_core.errors import TempoError
from ui import state
from ui.acting import may_name_files, queue, telling
from ui.text import escaped

LOOK_EVERY_S = 60


@st.cache_data(ttl=LOOK_EVERY_S, max_entries=4, show_spinner=False)
def _found(home: str, word: str) -> list[Folder]:
    with state.database().reading() as session:
        return places.folders(session)


def found() -> list[Folder]:
    """Every folder, looked at again once a minute and after each job."""
    with state.database().reading() as session:
        newest = jobs.latest(session, 1, kinds=("draw", "scan", "relink"), states=("succeeded",))
    word = str(newest[0].id if newest else 0)
    return _found(str(state.home().root), word)


def banner(folders: Sequence[Folder]) -> None:
    """Said above everything, since nothing of a lost file can be watched, paired or trained."""
    for folder in folders:
        if not folder.n_missing:
            continue
        what = "is gone" if not folder.there else "lost files"
        st.warning(
            f"The folder {escaped(str(folder.root))} {what}: **{folder.n_missing:,} of {folder.n_files:,} files** are "
            f"missing. Their pairs and reviews are kept. Say where they went under **Folders**.",
            icon=":material/folder_off:",
        )


def show(folders: Sequence[Folder]) -> None:
    """Each folder with what is missing, and the two ways: scan again, or say where it went."""
    admin = state.person().role == ROLES[-1]
    for folder in folders:
        with st.container(border=True):
            _folder(folder, admin)
    _last()


def _folder(folder: Folder, admin: bool) -> None:
    st.markdown(f"**{escaped(folder.name)}**")
    st.code(str(folder.root), language=None, wrap_lines=True)
    if folder.n_missing:
        st.markdown(f":material/error: {folder.n_missing:,} of {folder.n_files:,} files are missing.")
        more = (
            ""
            if folder.n_missing <= len(folder.examples)
            else f"\nand {folder.n_missing - len(folder.examples):,} more"
        )
        st.text("\n".join(folder.examples) + more)
        if admin:
            _relink(folder)
    else:
        st.markdown(f":material/check_circle: {folder.n_files:,} files, all there.")
    about = "Finds new files; files that are known are not decoded again"
    again = f"scan_{folder.library_id}"
    if admin and folder.there and st.button("Scan again", key=again, icon=":material/refresh:", help=about):
        queue(ScanPayload(str(folder.root), folder.name))


def _relink(folder: Folder) -> None:
    if not may_name_files("relink OLD NEW"):
        return
    with st.form(f"relink_{folder.library_id}", border=False):
        named = st.text_input("Where did it go?", placeholder="/mnt/disk2/videos", key=f"new_{folder.library_id}")
        st.caption(
            "Files are found by size and hash, under any name, in the folder and below. Nothing is scanned again."
        )
        if st.form_submit_button("Find them", type="primary"):
            with telling():
                queue(RelinkPayload(str(folder.root), _folder_of(named)))


def _folder_of(named: str) -> str:
    path = Path(named.strip()).expanduser()
    if not named.strip():
        raise TempoError("Type the folder that holds the videos now.")
    if not path.is_dir():
        what = "is a file" if path.is_file() else "does not exist on this machine"
        raise TempoError(f"{path} {what}. Type the folder that holds the videos now.")
    return str(path.resolve())


def _last() -> None:
    """What the newest relink came to."""
    with state.database().reading() as session:
        newest = jobs.latest(session, 1, kinds=("relink",), states=("succeeded",))
    if not newest:
        return
    result = newest[0].result or {}
    n_found, n_missing = int(result.get("found", 0)), int(result.get("still_missing", 0))
    st.markdown(f"**Last search**: {n_found:,} files found, {n_missing:,} still missing.")
    if n_missing:
        st.text("\n".join(str(name) for name in result.get("missing_files", [])))
