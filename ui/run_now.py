"""The card of a run: where it stands, how long it will take, its stages, its notes, and how fast it is."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from db.jobs import Job
from db.runs import StageLine
from db.session import now_ms
from jobs import launch
from tempo_core import curves
from tempo_core.curves import TimeLeft
from ui import state
from ui.acting import start_worker, telling
from ui.run_look import Look, is_level
from ui.text import escaped

STATES = {
    "queued": ":material/schedule: waiting", "running": ":material/play_arrow: running",
    "succeeded": ":material/check_circle: done", "failed": ":material/error: failed",
    "cancelled": ":material/stop_circle: stopped",
}  # fmt: skip
STAGES = {
    "queued": ":gray[:material/radio_button_unchecked:] waiting", "running": ":blue[:material/play_circle:] running",
    "succeeded": ":green[:material/check_circle:] done", "failed": ":red[:material/error:] failed",
    "skipped": ":gray[:material/skip_next:] left out", "cancelled": ":orange[:material/stop_circle:] stopped here",
}  # fmt: skip
NOTES = {"too_long": ":material/straighten:", "memory": ":material/memory:", "plan": ":material/event_note:"}
SILENT_S = 60
GB = 1e9


def card(look: Look) -> None:
    """Everything above the curves."""
    _head(look)
    _strip(look)
    for note in look.notes:
        st.caption(f"{NOTES.get(note.kind, ':material/info:')} {escaped(note.text, longest=400)}")
    _falling(look)
    _counters(look)


# ---- where it stands -------------------------------------------------------------------------------------------------
def _head(look: Look) -> None:
    run, job = look.run, look.job
    left, middle, right = st.columns([2, 6, 3], vertical_alignment="center")
    left.markdown(f"**{STATES[run.state]}**")
    with right.container(horizontal=True, horizontal_alignment="right"):
        if job is not None and look.is_open:
            barred = job.cancel_requested or not state.may("admin")
            if st.button("Stop", icon=":material/stop:", disabled=barred, help="Saves a checkpoint first"):
                with telling():
                    launch.cancel(state.database(), state.person(), job.id)
                    st.rerun()
        elif run.state in ("failed", "cancelled"):
            _resume(run.id)
        elif run.state == "succeeded":
            st.page_link("pages/evaluate.py", label="Evaluate", icon=":material/fact_check:",
                         query_params={"run": str(run.id)})  # fmt: skip
        if st.button("Clone", icon=":material/content_copy:", help="A new run with these settings, to change"):
            clone(run.id)
    if job is not None and look.is_open:
        doing = "stopping after this step" if job.cancel_requested else job.progress_text or "starting"
        middle.progress(min(1.0, max(0.0, job.progress or 0.0)), escaped(doing))
        if run.state == "running":
            middle.caption(escaped(pace(look)))
        if job.stalled:
            _stalled(middle, job)
    elif run.state in ("failed", "cancelled"):
        middle.text(run.error or (job.error if job else "") or "")


def _stalled(place: DeltaGenerator, job: Job) -> None:
    """Alive by its heartbeat, but silent: what it waits for is in its log, if anywhere."""
    place.badge(f"Stalled: nothing for {escaped(curves.words_for(job.silent_s))}", icon=":material/hourglass_empty:",
                color="orange")  # fmt: skip
    place.caption("Its process lives. Look at the end of its log; Stop, then Resume goes on from the last checkpoint.")


def _resume(run_id: int) -> None:
    if st.button("Resume", icon=":material/play_arrow:", help="Goes on from the last checkpoint"):
        with telling():
            launch.resume_run(state.database(), state.person(), run_id)
            start_worker()
            st.rerun()


def clone(run_id: int, sft_weight: float | None = None) -> None:
    """Open the form for a new run with this run's settings, one of them changed if given."""
    st.session_state["clone_of"] = run_id
    st.session_state["clone_sft_weight"] = sft_weight
    st.rerun(scope="app")


def pace(look: Look) -> str:
    """The step, the pace and the time left; what is not known is said to be so."""
    attempt = look.job.attempt if look.job else 1
    beats = [beat for beat in look.beats if beat.attempt == attempt]
    steps = [(s.phase, s.first_step, s.last_step) for s in look.stages if s.first_step and s.last_step]
    total = max((last for _, _, last in steps), default=0)
    at = f"Step {look.step:,} of {total:,}" if total else f"Step {look.step:,}"
    if not beats:
        return f"{at}. The pace is known after the first steps."
    left = curves.time_left(beats, [(p, first, last) for p, first, last in steps])
    silent_s = (now_ms() - beats[-1].at_ms) / 1000
    quiet = silent_s > max(SILENT_S, 10 * (left.a_step_s or 0.0))
    return f"{at}. {_left(left)}" + (f" No step for {curves.words_for(silent_s)}." if quiet else "")


def _left(left: TimeLeft) -> str:
    if left.seconds is None:
        return "The time left is known after three steps."
    about = f"{left.a_step_s:.2g} s a step, about {curves.words_for(left.seconds)} left"
    later = " and ".join(left.then).replace("_", " ")
    return f"{about}, then {later}, whose pace is not known yet." if later else f"{about}."


# ---- stages ----------------------------------------------------------------------------------------------------------
def _strip(look: Look) -> None:
    """The chain of adapters, one box a stage."""
    with st.container(horizontal=True, gap="small"):
        for stage in look.stages:
            with st.container(border=True, width=200, gap=None):
                st.markdown(f"**{escaped(_named(look, stage))}**")
                st.markdown(STAGES[_state(look, stage)])
                st.caption(escaped(_extent(look, stage) + (f". {stage.reason}" if stage.reason else "")))


def _named(look: Look, stage: StageLine) -> str:
    phase = stage.phase.replace("_", " ")
    if stage.name == stage.phase:
        return phase
    return f"{phase} {look.name_of(stage.name)}" if is_level(stage.name) else f"{phase} {stage.name}"


def _state(look: Look, stage: StageLine) -> str:
    """A stage that was in progress when its run ended is where it will go on."""
    ended = stage.state == "running" and not look.is_open
    return look.run.state if ended and look.run.state in STAGES else stage.state


def _extent(look: Look, stage: StageLine) -> str:
    rows = f"{stage.n_items:,} {'examples' if stage.phase == 'sft' else 'pairs'}"
    if stage.first_step is None or stage.last_step is None:
        return rows
    n_steps = stage.last_step - stage.first_step + 1
    done = min(n_steps, max(0, look.step - stage.first_step + 1))
    if stage.state == "running" and done < n_steps:
        return f"{rows}, step {done:,} of {n_steps:,}"
    return f"{rows}, steps {stage.first_step:,} to {stage.last_step:,}"


# ---- what to look out for --------------------------------------------------------------------------------------------
def _falling(look: Look) -> None:
    """The chosen answers become less likely: said with its remedy."""
    rewards = look.by_level("reward_chosen")
    falling = [look.name_of(key) for key, series in rewards.items() if curves.is_falling(series)]
    if not falling:
        return
    weight = look.run.config.sft_weight
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.badge("Chosen is falling", icon=":material/trending_down:", color="orange")
        st.markdown(f"In level {escaped(', '.join(falling))} the model finds the chosen answers less and less likely.")
        if weight == 0:
            st.caption("Remedy: the SFT term, which holds their likelihood up while DPO widens the distance.")
            if st.button("Clone with the SFT term", icon=":material/healing:"):
                clone(look.run.id, 1.0)
        else:
            st.caption(f"Remedy: a larger SFT term (it is {weight:g}) or a smaller learning rate of DPO.")
            if st.button(f"Clone with SFT term {2 * weight:g}", icon=":material/healing:"):
                clone(look.run.id, 2 * weight)


# ---- how fast --------------------------------------------------------------------------------------------------------
def _counters(look: Look) -> None:
    """Means of the last steps, each with its unit; only what the run told."""
    told = counters(look)
    if not told:
        return
    with st.container(horizontal=True, gap="medium"):
        for name, value, about in told:
            st.markdown(f":gray[{escaped(name)}]  \n**{escaped(value)}**", help=escaped(about), width="content")


def counters(look: Look) -> list[tuple[str, str, str]]:
    """(name, value with unit, what it means)"""
    last = {key: curves.last_mean(series) for key, series in look.series.items() if not is_level(key.partition("/")[0])}
    found = []
    for unit in ("pairs", "examples"):
        # Of two phases the one that trains now.
        if (speed := last.get(f"speed/{unit}_per_s")) is not None and _is_new(look, f"speed/{unit}_per_s"):
            found.append(("Speed", f"{speed:.3g} {unit}/s", "Mean of the last steps"))
    tokens, shared = last.get("speed/tokens"), last.get("speed/shared_tokens")
    if tokens:
        found.append(("Tokens a step", f"{tokens:,.0f}", "Tokens that went through the model"))
    if tokens and shared:
        about = f"Separate rows would have needed {shared:,.0f} tokens more a step"
        found.append(("Saved by sharing", f"{(tokens + shared) / tokens:.1f} times", about))
    for key, name, about in (
        ("cache/feature_hits", "Videos from the cache", "Their encoded frames were on disk or in memory"),
        ("cache/reference_hits", "References from the store", "No forward pass of the reference was needed"),
    ):
        if (share := last.get(key)) is not None:
            found.append((name, f"{share:.0%}", about))
    for key in ("canary/margin_moved", "canary/moved"):
        if (moved := last.get(key)) is not None:
            about = "How far the answers' likelihood moved when the frames were replaced; 0: the video is not seen"
            found.append(("Canary moved by", f"{moved:.2g}", about))
    return found + _memory(look, last)


def _is_new(look: Look, key: str) -> bool:
    return look.series[key][-1][0] >= look.step


def _memory(look: Look, last: dict[str, float | None]) -> list[tuple[str, str, str]]:
    found = []
    if look.is_open and look.job and (held := launch.memory_bytes(look.job)):
        found.append(("Memory", f"{held[0] / GB:.1f} of {held[1] / GB:.0f} GB", "Of the run's processes, now"))
    gpu, total = last.get("memory/gpu_bytes"), last.get("memory/gpu_total_bytes")
    if gpu is not None:
        of = f" of {total / GB:.0f}" if total else ""
        found.append(("GPU memory", f"{gpu / GB:.1f}{of} GB", "The largest amount, as the run told it"))
    return found
