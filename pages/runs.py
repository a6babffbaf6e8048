"""Runs: start, watch, stop, resume. The charts read the database, so a reload or a restart disturbs no run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st

from db import datasets, jobs, metrics, runs
from db.runs import RunCard, StageLine
from jobs import launch, starting
from tempo_core.recipes import PACINGS, PRESETS, RECIPES, RunConfig
from tempo_core.settings import EMBEDDED_MODEL
from ui import charts, state
from ui.acting import telling
from ui.palette import palette
from ui.text import escaped, untrusted

PER_LEVEL = (("loss", "preference loss"), ("margin", "reward margin"), ("accuracy", "accuracy"))
MORE = (("reward_chosen", "chosen reward"), ("accuracy_per_token", "accuracy per token"))
STATES = {
    "queued": ":material/schedule: waiting", "running": ":material/play_arrow: running",
    "succeeded": ":material/check_circle: done", "failed": ":material/error: failed",
    "cancelled": ":material/stop_circle: stopped",
}  # fmt: skip


def _start() -> None:
    """A new run: data, recipe, preset, and the few numbers one changes."""
    with state.database().reading() as session:
        frozen = datasets.listing(session)
    if not frozen:
        st.info("Nothing is frozen yet. Accept pairs, then freeze them on the curriculum page.", icon=":material/lock:")
        return
    with st.expander("New run", icon=":material/add_circle:", expanded=not st.query_params.get("run")):
        left, middle, right = st.columns(3)
        version = left.selectbox("Dataset version", frozen, format_func=lambda v: escaped(f"{v.name} {v.number}"))
        recipe = middle.selectbox("Recipe", list(RECIPES), format_func=lambda name: name.replace("_", " → "))
        preset = right.selectbox("Preset", list(PRESETS), list(PRESETS).index("embedded"))
        config = _settings(replace(PRESETS[preset], recipe=recipe))
        model = st.text_input("Model folder", str(EMBEDDED_MODEL))
        few = st.radio(
            "A level with fewer pairs than one step", ("is an error", "is left out", "trains one smaller step"),
            horizontal=True,
        )  # fmt: skip
        if st.button("Start", type="primary", icon=":material/play_arrow:"):
            with telling():
                run_id = starting.start_run(
                    state.database(), state.person(), config, Path(model.strip()).expanduser(), version_id=version.id,
                    skip_small=few == "is left out", smaller_step=few == "trains one smaller step",
                )  # fmt: skip
                launch.ensure_worker(state.database(), state.home())
                st.query_params["run"] = str(run_id)
                st.rerun()


def _settings(config: RunConfig) -> RunConfig:
    with st.popover("Settings", icon=":material/tune:"):
        st.caption("From the preset. The run stores every number.")
        key = f"{config.preset}"
        return replace(
            config,
            pacing=st.selectbox("Order", PACINGS, PACINGS.index(config.pacing), key=f"pacing{key}"),
            dpo_lr=st.number_input("Learning rate of DPO", 0.0, 1.0, config.dpo_lr, format="%g", key=f"lr{key}"),
            sft_lr=st.number_input("Learning rate of SFT", 0.0, 1.0, config.sft_lr, format="%g", key=f"slr{key}"),
            sft_weight=st.number_input(
                "Weight of the SFT term beside DPO", 0.0, 10.0, config.sft_weight, key=f"sw{key}"
            ),
            beta=st.number_input("beta", 0.0, 10.0, config.beta, format="%g", key=f"beta{key}"),
            pairs_per_step=int(st.number_input("Pairs a step", 1, 1024, config.pairs_per_step, key=f"pps{key}")),
            dpo_epochs=int(st.number_input("Epochs", 1, 20, config.dpo_epochs, key=f"ep{key}")),
            seed=int(st.number_input("Seed", 0, 2**31 - 1, config.seed, key=f"seed{key}")),
        )


def _choose() -> int | None:
    with state.database().reading() as session:
        lines = runs.listing(session)
    if not lines:
        return None
    ids = [line.run.id for line in lines]
    names = {line.run.id: _name(line.run) for line in lines}
    asked = st.query_params.get("run", "")
    if asked and not (asked.isdigit() and int(asked) in ids):
        st.warning(f"There is no run {escaped(asked)}. The newest one is shown.")
    place = ids.index(int(asked)) if asked.isdigit() and int(asked) in ids else 0
    chosen = st.selectbox("Run", ids, place, format_func=names.__getitem__)
    if str(chosen) != asked:
        st.query_params["run"] = str(chosen)
    return int(chosen)


def _name(run: RunCard) -> str:
    return escaped(f"{run.id}: {run.recipe.replace('_', ' → ')}, {run.preset}, seed {run.config.seed}, {run.state}")


@st.fragment(run_every=2)
def _watch(run_id: int) -> None:
    """State, stages, curves and log; everything is read anew from the database."""
    with state.database().reading() as session:
        run, stages, series = runs.get(session, run_id), runs.stages(session, run_id), metrics.series(session, run_id)
        job = jobs.get(session, run.job_id) if run.job_id else None
    _head(run, job)
    _strip(stages)
    colours = palette(st.context.theme.type)
    smooth = st.slider("Average over steps", 1, 30, 5, key="smooth")
    _charts(PER_LEVEL, series, colours, smooth)
    sft = {key: points for key, points in series.items() if key in ("sft/loss", "dpo/sft_loss", "chosen_only/loss")}
    if sft:
        st.plotly_chart(charts.curves("SFT parts", sft, colours, smooth), key="sft")
    with st.expander("More curves"):
        _charts(MORE, series, colours, smooth)
    if job is not None:
        with st.expander("Log", expanded=run.state in ("queued", "running", "failed")):
            untrusted(launch.log_tail(state.home(), job.id, max(1, job.attempt)) or "Nothing yet.", height=220)


def _head(run: RunCard, job: jobs.Job | None) -> None:
    left, middle, right = st.columns([3, 6, 2], vertical_alignment="center")
    left.markdown(f"**{STATES.get(run.state, run.state)}**")
    if job is not None and run.state in ("queued", "running"):
        middle.progress(min(1.0, job.progress or 0.0), escaped(job.progress_text or "") or "starting")
        if right.button("Stop", icon=":material/stop:", disabled=job.cancel_requested, help="Saves a checkpoint first"):
            launch.cancel(state.database(), job.id)
            st.rerun(scope="fragment")
    elif run.state in ("failed", "cancelled"):
        middle.text(run.error or (job.error if job else "") or "")
        if right.button("Resume", icon=":material/play_arrow:", help="Goes on from the last checkpoint"):
            with telling():
                launch.resume_run(state.database(), state.person(), run.id)
                launch.ensure_worker(state.database(), state.home())
                st.rerun(scope="fragment")
    elif run.state == "succeeded":
        right.page_link("pages/evaluate.py", label="Evaluate", icon=":material/fact_check:")


def _strip(stages: tuple[StageLine, ...]) -> None:
    """The chain of adapters, one box a stage."""
    if not stages:
        return
    for column, stage in zip(st.columns(len(stages)), stages, strict=True):
        with column.container(border=True):
            st.markdown(f"**{escaped(stage.phase)} {escaped(stage.name)}**")
            st.caption(f"{stage.n_items} rows, steps {stage.first_step} to {stage.last_step}: {stage.state}")


def _charts(wanted: tuple[tuple[str, str], ...], series: dict, colours, smooth: int) -> None:  # type: ignore[no-untyped-def, type-arg]
    for column, (name, title) in zip(st.columns(len(wanted)), wanted, strict=True):
        of_level = {key.split("/")[0]: points for key, points in series.items() if key.endswith(f"/{name}")}
        of_level = {key: points for key, points in of_level.items() if key.startswith("l") or key == "imported"}
        if of_level:
            column.plotly_chart(charts.curves(title, of_level, colours, smooth), key=name)


def main() -> None:
    st.title("Runs")
    _start()
    run_id = _choose()
    if run_id is None:
        st.caption("No run yet.")
        return
    _watch(run_id)


main()
