"""Tables to take away: written when somebody asks for them, and sent behind a signed address."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from db import artifacts
from tempo_core.errors import NoSpace, TempoError, disk_is_full
from ui import state
from ui.acting import telling
from ui.text import escaped


def offer(label: str, key: str, make: Callable[[], Mapping[str, str]]) -> None:
    """A button that writes what `make` gives, text by file name, into `exports/`; then a link to each file."""
    why = state.why_not("admin")
    if st.button(escaped(label), icon=":material/table:", key=key, disabled=why is not None, help=escaped(why or "")):
        with telling():
            st.session_state[f"files_of_{key}"] = [_written(name, text) for name, text in make().items()]
    with st.container(horizontal=True):
        for number, name in st.session_state.get(f"files_of_{key}", ()):
            st.link_button(f"Download {escaped(name)}", state.sign("exports", number), icon=":material/download:")


def _written(name: str, text: str) -> tuple[int, str]:
    """The number it is sent by, and its name with nothing in it that a file system minds."""
    name, content = re.sub(r"[^\w.-]+", "-", name), text.encode()
    path = state.home().exports / name
    with state.database().session() as session:
        number = artifacts.offer(session, state.person(), str(path.relative_to(state.home().root)), content)
        _write(path, content)
    return number, name


def _write(path: Path, content: bytes) -> None:
    """Whole under its name, or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if disk_is_full(error):
            raise NoSpace(f"The disk is full: {path} was not written. Free some space, then try again.") from None
        raise TempoError(f"{path} cannot be written ({error.strerror}). Its folder must be writable.") from None
