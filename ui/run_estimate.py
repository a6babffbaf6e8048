"""What a run would take, asked before it is started: a job counts and times it, and its answer stays with the form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from db import jobs
from db.jobs import Job
from tempo_core.recipes import RunConfig
from ui import state
from ui.text import escaped

JOB, OF = "estimate_job", "estimate_of"


def asked(job_id: int, config: RunConfig, model: Path, of_run: Mapping[str, Any]) -> None:
    """Remember which job was asked, and about what; the answer is shown below the form."""
    st.session_state[JOB], st.session_state[OF] = job_id, _written(config, model, of_run)


def show(config: RunConfig, model: Path, of_run: Mapping[str, Any]) -> None:
    """The newest answer, or how far the question is; said plainly if the form has changed since."""
    if JOB in st.session_state:
        _live(st.session_state[JOB], st.session_state[OF] == _written(config, model, of_run))


def _written(config: RunConfig, model: Path, of_run: Mapping[str, Any]) -> str:
    return json.dumps([asdict(config), str(model), dict(of_run)], sort_keys=True, default=str)


def _live(job_id: int, of_these: bool) -> None:
    with state.database().reading() as session:
        job = jobs.get(session, job_id)
    every = None if job.ended else 1.0
    st.fragment(_told, run_every=every)(job_id, of_these, not job.ended)


def _told(job_id: int, of_these: bool, was_open: bool) -> None:
    with state.database().reading() as session:
        job = jobs.get(session, job_id)
    if was_open and job.ended:
        st.rerun(scope="app")
    if not job.ended:
        st.progress(min(1.0, max(0.0, job.progress)), escaped(_where(job)))
    elif job.state == "succeeded":
        _answer(job.result or {}, of_these)
    else:
        st.error("No estimate: " + escaped(job.error or "it was stopped", longest=1500), icon=":material/error:")


def _where(job: Job) -> str:
    if job.state == "queued":
        return "The estimate waits for the job before it"
    return f"Estimating: {job.progress_text or 'starting'}"


def _answer(found: Mapping[str, Any], of_these: bool) -> None:
    told = f"{found['n_steps']:,} steps over {found['n_pairs']:,} pairs"
    if found["n_too_long"]:
        told += f", {found['n_too_long']:,} left out as too long"
    said = str(found["text"])
    st.info(escaped(f"{said[0].upper()}{said[1:]}. {told}."), icon=":material/timer:")
    if not of_these:
        st.caption("The form has changed since: this is the estimate of the settings before.")
    for text in found["warnings"]:
        st.warning(escaped(text, longest=1500), icon=":material/warning:")
