"""Try it: any question on any video of the library, two checkpoints beside each other, answers as they come.

Models live in a job's process only. The page writes the question into the job's folder and reads what grows there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from db import jobs, sheets, videos
from db.jobs import Job
from db.people import ROLES
from jobs import launch
from jobs.payloads import AskPayload
from tempo_core import trying
from tempo_core.trying import Said, Seen, Trial
from tempo_core.worlds.vocabulary import DESCRIBE
from ui import evaluation_choice, state
from ui.acting import asked_id, start_worker, telling
from ui.evaluation_choice import named
from ui.strip import picture_strip
from ui.text import escaped, untrusted

FIRST = 10
"""Of the queue: somebody waits for the answer."""
FINISHED = {"stop": "", "length": "cut off at its longest length", "stopped": "stopped", "error": "refused"}


def show() -> None:
    with state.database().reading() as session:
        found, names = sheets.available(session), videos.names(session)
    if not found:
        st.info("No trained run yet. Start one on the runs page.", icon=":material/monitoring:")
        return
    if not names:
        st.info("No video in the library yet.", icon=":material/video_library:")
        return
    chosen = evaluation_choice.two(found)
    if chosen is None:
        return
    video_id = _video(names)
    asked = st.text_area("Question", DESCRIBE[2], key="try_question", height=80)
    if state.person().role != ROLES[-1]:
        st.caption(escaped(state.why_not("admin") or ""))
        return
    if st.button("Ask both", type="primary", icon=":material/forum:", disabled=not asked.strip()):
        with telling():
            _ask([c.key for c in chosen], Trial(video_id, asked.strip()))
    trial = st.session_state.get("trial")
    if trial is not None:
        open_ = _is_open(*trial)
        st.fragment(_watch, run_every=0.5 if open_ else None)({c.key: named(c) for c in found}, open_)


def _video(names: dict[int, str]) -> int:
    asked = asked_id("video")
    if asked is not None and asked not in names:
        st.warning(f"There is no video {asked:d} whose file can be read.")
    if st.session_state.get("try_video") not in names:
        st.session_state["try_video"] = asked if asked in names else next(iter(names))
    chosen = int(st.selectbox("Video", list(names), key="try_video", format_func=lambda n: f"{n}: {names[n]}"))
    st.query_params["video"] = str(chosen)
    return chosen


def _ask(keys: Sequence[str], trial: Trial) -> None:
    """Put the question to the job that holds these models, or to a new one."""
    payload = AskPayload(tuple(keys))
    job_id = launch.enqueue(state.database(), payload, state.person(), priority=FIRST)
    start_worker()
    st.session_state["trial"] = (job_id, trying.ask(_folder(job_id), trial), tuple(keys))


def _folder(job_id: int) -> Path:
    return state.home().runs / "jobs" / str(job_id)


def _job(job_id: int) -> Job:
    with state.database().reading() as session:
        return jobs.get(session, job_id)


def _is_open(job_id: int, trial_id: str, keys: Sequence[str]) -> bool:
    """Whether more is to come. A job that ended as the question came in is followed by another one."""
    if trying.look(_folder(job_id), trial_id, len(keys)).done:
        return False
    job = _job(job_id)
    if job.state == "succeeded":
        _ask(keys, trying.read(_folder(job_id), trial_id))
        return True
    return not job.ended


def _watch(names: Mapping[str, str], was_open: bool) -> None:
    """What was said so far; when all is said the page is drawn once more and rests."""
    job_id, trial_id, keys = st.session_state["trial"]
    if was_open and not _is_open(job_id, trial_id, keys):
        st.rerun(scope="app")
    job_id, trial_id, keys = st.session_state["trial"]
    seen, job = trying.look(_folder(job_id), trial_id, len(keys)), _job(job_id)
    if was_open:
        _head(job, job_id, trial_id)
    elif job.state == "failed" and not seen.done:
        st.error(escaped(job.error or "The job failed.", longest=1500), icon=":material/error:")
    elif job.state == "cancelled" and not seen.done:
        st.caption("Stopped before all was said.")
    if seen.strip:
        st.caption(f"The {len(seen.frames):,} pictures that both were shown")
        picture_strip(seen.strip, [f"frame {number:,}" for number in seen.frames], "try_frames")
    _answers([names.get(key, key) for key in keys], seen)


def _head(job: Job, job_id: int, trial_id: str) -> None:
    left, right = st.columns([6, 1], vertical_alignment="center")
    left.progress(min(1.0, max(0.0, job.progress)), escaped(_doing(job)))
    if right.button("Stop", icon=":material/stop:", key="try_stop"):
        trying.stop(_folder(job_id), trial_id)
        if job.state == "queued":
            with telling():
                launch.cancel(state.database(), state.person(), job_id)


def _doing(job: Job) -> str:
    if job.state == "queued":
        with state.database().reading() as session:
            busy = [other for other in jobs.running(session) if other.needs == job.needs]
        return f"waiting: job {busy[0].id} ({busy[0].kind}) has the place for models" if busy else "starting"
    return job.progress_text or "starting: libraries and models are loaded"


def _answers(names: Sequence[str], seen: Seen) -> None:
    """Beside each other, as plain text; a cursor stands where more is to come."""
    for column, name, said in zip(st.columns(len(names)), names, seen.said, strict=False):
        with column.container(border=True):
            told = FINISHED.get(said.finish, "")
            tokens = f"{said.n_tokens:,} token{'' if said.n_tokens == 1 else 's'}" if said.n_tokens else ""
            st.caption(" · ".join(part for part in (f"**{escaped(name)}**", escaped(told), tokens) if part))
            _text(said)


def _text(said: Said) -> None:
    if said.finish == "error":
        st.error(escaped(said.text, longest=1500), icon=":material/block:")
    else:
        untrusted(said.text + ("" if said.finish else " ▌"))
