"""What happens around a button: an error becomes its sentence, and work that runs is shown while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st

from db import jobs
from db.jobs import Job
from db.people import Role
from jobs import launch
from jobs.payloads import Payload
from tempo_core.errors import TempoError
from ui import server, state
from ui.text import escaped

WORDS = {
    "draw": "drawing videos",
    "scan": "scanning",
    "judge": "judging videos again",
    "relink": "finding moved files",
    "copies": "looking for copies",
    "pair": "making pairs",
    "train": "training",
    "estimate": "estimating a run",
    "evaluate": "evaluating",
    "ask": "answering",
    "export": "exporting",
    "import": "importing pairs",
    "export_model": "exporting a model",
    "bundle": "bundling a run",
    "bring_back": "bringing a run back",
    "paper": "writing for a paper",
    "sft": "importing conversations",
    "captions": "reading in captions",
    "check": "checking everything",
}


@contextmanager
def telling() -> Iterator[None]:
    """Show an error that a person can act on, and go on with the page."""
    try:
        yield
    except TempoError as error:
        st.error(escaped(str(error), longest=1500), icon=":material/error:")


def for_role(role: Role, *, unless: bool = False, told: str | None = None) -> dict[str, Any]:
    """`disabled` and `help` of a button that needs this role: greyed out it says why. The verb behind it asks again.

    Args:
        unless: Greyed out in any case.
        told: The help of who may press it.
    """
    why = state.why_not(role)
    return {"disabled": unless or why is not None, "help": told if why is None else escaped(why)}


def may_name_files(command: str) -> bool:
    """Whether this page may be told a path; where others can reach the studio, the command line is named instead."""
    if server.only_this_machine():
        return True
    st.info(
        "Files of this machine may be named here only while the studio listens on this machine alone. On the server "
        "itself:",
        icon=":material/lock:",
    )
    st.code(f"python -m jobs {command}", language="sh")
    return False


def asked_id(name: str) -> int | None:
    """The whole number that the address names, or None; one that is no number is told."""
    asked = st.query_params.get(name, "")
    if not asked:
        return None
    if asked.isascii() and asked.isdigit() and len(asked) < 16:
        return int(asked)
    st.warning(f"There is no {escaped(name)} {escaped(asked)}.")
    return None


def of_address(key: str, options: Sequence[str]) -> None:
    """Start a choice with what the address names, else with its first option; call it before the widget.

    A widget's own `bind` would write labels, which hold counts, into the address.
    """
    asked = st.query_params.get(key, "")
    if st.session_state.get(key) not in options:
        st.session_state[key] = asked if asked in options else options[0]
    if st.session_state[key] == options[0]:
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = st.session_state[key]


def queue(*payloads: Payload) -> None:
    """Queue work for the person on this page, with a worker to do it, and draw the page again to show it."""
    with telling():
        for payload in payloads:
            launch.enqueue(state.database(), payload, state.person())
        start_worker()
        st.rerun()


def start_worker() -> None:
    """See to it that a worker lives. `TEMPO_WORKER=0`: somebody else does."""
    if os.environ.get("TEMPO_WORKER") != "0":
        launch.ensure_worker(state.database(), state.home())


def open_jobs(*kinds: str) -> tuple[Job, ...]:
    """Running and queued jobs, of these kinds or of all."""
    with state.database().reading() as session:
        found = jobs.open_jobs(session)
    return tuple(job for job in found if not kinds or job.kind in kinds)


def work(*kinds: str) -> None:
    """Live progress of what runs and waits. When the last of it ends, the page is drawn anew."""
    last_run(*kinds)
    if open_jobs(*kinds):
        _live(kinds)


def last_run(*kinds: str) -> None:
    """The newest ended job, if it failed: why, and that nothing else was lost."""
    with state.database().reading() as session:
        newest = jobs.latest(session, 1, kinds=kinds)
    if newest and newest[0].state == "failed":
        doing, said = WORDS.get(newest[0].kind, "work"), escaped(newest[0].error or "", longest=1500)
        st.error(f"The last job ({escaped(doing)}) failed: {said}", icon=":material/error:")


@st.fragment(run_every=1.5)
def _live(kinds: tuple[str, ...]) -> None:
    running = open_jobs(*kinds)
    if not running:
        st.rerun(scope="app")
    for job in running:
        left, right = st.columns([6, 1], vertical_alignment="center")
        waiting = "waiting: " if job.state == "queued" else ""
        said = (job.progress_text or "starting") if job.state == "running" else ""
        told = escaped(f"{waiting}{WORDS.get(job.kind, job.kind)}" + (f": {said}" if said else ""))
        left.progress(min(1.0, max(0.0, job.progress or 0.0)), told)
        stopping, why = job.cancel_requested, state.why_not("admin")
        if right.button("Stopping" if stopping else "Stop", key=f"stop{job.id}", disabled=stopping or why is not None):
            with telling():
                launch.cancel(state.database(), state.person(), job.id)
                st.rerun()
