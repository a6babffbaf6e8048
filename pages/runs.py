"""Runs: start, watch, stop, resume. The charts read the database, so a reload or a restart disturbs no run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st

from db import datasets, jobs, metrics, runs
from db.runs import RunCard, RunLine, StageLine
from jobs import launch, starting
from tempo_core.recipes import PACINGS, PRESETS, RECIPES, RunConfig
from tempo_core.settings import EMBEDDED_MODEL
from ui import charts, state, words
from ui.acting import start_worker, telling
from ui.palette import Palette, palette
from ui.text import escaped, untrusted

PER_LEVEL = (("loss", "Preference loss"), ("margin", "Reward margin"), ("accuracy", "Accuracy"))
MORE = (("reward_chosen", "Chosen reward"), ("accuracy_per_token", "Accuracy per token"), ("sft_loss", "Chosen loss"))
PARTS = ("sft/loss", "dpo/sft_loss", "chosen_only/loss")
STATES = {
    "queued": ":material/schedule: waiting", "running": ":material/play_arrow: running",
    "succeeded": ":material/check_circle: done", "failed": ":material/error: failed",
    "cancelled": ":material/stop_circle: stopped",
}  # fmt: skip
ERROR, SKIP, SMALLER = "is an error", "is left out", "trains one smaller step"
Curves = dict[str, list[tuple[int, float | None]]]


def _start(empty: bool) -> None:
    """A new run: data, recipe, preset, and the few numbers one changes."""
    with state.database().reading() as session:
        frozen = {version.id: version for version in datasets.listing(session)}
    if not frozen:
        st.info("Nothing is frozen yet. Accept pairs, then freeze them on the curriculum page.", icon=":material/lock:")
        st.page_link("pages/curriculum.py", label="Open Curriculum", icon=":material/arrow_forward:")
        return
    with st.expander("New run", icon=":material/add_circle:", expanded=empty):
        left, right = st.columns(2)
        named = {number: f"{v.name} {v.number}: {v.n_pairs - v.n_held_out:,} pairs" for number, v in frozen.items()}
        version = left.selectbox("Dataset version", list(frozen), format_func=named.__getitem__)
        recipe = right.selectbox("Recipe", list(RECIPES), format_func=words.recipe)
        preset = left.selectbox("Preset", list(PRESETS), list(PRESETS).index("embedded"),
                                help="All other numbers; each can be changed under Settings")  # fmt: skip
        pacing = right.selectbox("Order of levels", PACINGS, PACINGS.index(PRESETS[preset].pacing),
                                 key=f"pacing{preset}", format_func=words.pacing)  # fmt: skip
        model = st.text_input("Model folder", str(EMBEDDED_MODEL))
        few = st.radio("A level with fewer pairs than one step", (ERROR, SKIP, SMALLER), horizontal=True)
        with st.container(horizontal=True):
            config = _settings(replace(PRESETS[preset], recipe=recipe, pacing=pacing))
            if not st.button("Start", type="primary", icon=":material/play_arrow:"):
                return
        with telling():
            run_id = starting.start_run(
                state.database(), state.person(), config, Path(model.strip()).expanduser(), version_id=version,
                skip_small=few == SKIP, smaller_step=few == SMALLER,
            )  # fmt: skip
            start_worker()
            st.session_state["run_shown"] = run_id
            st.rerun()


def _settings(config: RunConfig) -> RunConfig:
    with st.popover("Settings", icon=":material/tune:"):
        st.caption("From the preset. The run stores every number.")
        key, number = config.preset, st.number_input
        return replace(
            config,
            dpo_lr=number("Learning rate of DPO", 0.0, 1.0, config.dpo_lr, format="%g", key=f"lr{key}"),
            sft_lr=number("Learning rate of SFT", 0.0, 1.0, config.sft_lr, format="%g", key=f"slr{key}"),
            sft_weight=number("Weight of the SFT term beside DPO", 0.0, 10.0, config.sft_weight, key=f"sw{key}"),
            beta=number("beta", 0.0, 10.0, config.beta, format="%g", key=f"beta{key}"),
            pairs_per_step=int(number("Pairs a step", 1, 1024, config.pairs_per_step, key=f"pps{key}")),
            dpo_epochs=int(number("Epochs", 1, 20, config.dpo_epochs, key=f"ep{key}")),
            seed=int(number("Seed", 0, 2**31 - 1, config.seed, key=f"seed{key}")),
        )


def _choose(lines: list[RunLine]) -> int:
    """The run that is shown: the one of the address, so that a reload keeps it, else the newest."""
    named = {line.run.id: _name(line.run) for line in lines}
    asked = st.query_params.get("run", "")
    if st.session_state.get("run_shown") not in named:
        known = asked.isdigit() and int(asked) in named
        st.session_state["run_shown"] = int(asked) if known else lines[0].run.id
        if asked and not known:
            st.warning(f"There is no run {escaped(asked)}. The newest one is shown.")
    chosen = int(st.selectbox("Run", list(named), key="run_shown", format_func=named.__getitem__))
    st.query_params["run"] = str(chosen)
    return chosen


def _name(run: RunCard) -> str:
    order = run.config.pacing.replace("_", " ")
    return f"{run.id}: {words.recipe(run.recipe)}, {order}, {run.preset}, seed {run.config.seed}"


def _watch(run_id: int, live: bool) -> None:
    """State, stages, curves and log; everything is read anew from the database."""
    with state.database().reading() as session:
        run, stages, series = runs.get(session, run_id), runs.stages(session, run_id), metrics.series(session, run_id)
        job = jobs.get(session, run.job_id) if run.job_id else None
        data = datasets.get(session, run.dataset_version_id) if run.dataset_version_id else None
    if live and run.state not in ("queued", "running"):
        st.rerun()
    _head(run, job)
    _strip(stages)
    colours = palette(st.context.theme.type)
    axis = "paper" if run.config.difficulty == "paper" else str(data.criteria["level_axis"]) if data else "measured"
    names = charts.level_names(axis)
    if series:
        smooth = st.slider("Average over steps", 1, 30, 5, key="smooth", width=320)
        _charts(PER_LEVEL, series, colours, smooth, names)
        with st.expander("More curves"):
            _charts(MORE, series, colours, smooth, names)
            parts = {key: points for key, points in series.items() if key in PARTS}
            if parts:
                st.plotly_chart(charts.curves("Likelihood loss of each phase", parts, colours, smooth), key="parts")
    elif run.state in ("queued", "running"):
        st.caption("The curves begin with the first step. Leaving this page does not disturb the run.")
    if job is not None:
        with st.expander("Log", expanded=run.state in ("queued", "running", "failed")):
            untrusted(launch.log_tail(state.home(), job.id, max(1, job.attempt)) or "Nothing yet.", height=220)


def _head(run: RunCard, job: jobs.Job | None) -> None:
    left, middle, right = st.columns([2, 6, 2], vertical_alignment="center")
    left.markdown(f"**{STATES[run.state]}**")
    if job is not None and run.state in ("queued", "running"):
        middle.progress(min(1.0, job.progress or 0.0), escaped(job.progress_text or "starting"))
        if right.button("Stop", icon=":material/stop:", disabled=job.cancel_requested, help="Saves a checkpoint first"):
            launch.cancel(state.database(), job.id)
            st.rerun()
    elif run.state in ("failed", "cancelled"):
        middle.text(run.error or (job.error if job else "") or "")
        if right.button("Resume", icon=":material/play_arrow:", help="Goes on from the last checkpoint"):
            with telling():
                launch.resume_run(state.database(), state.person(), run.id)
                start_worker()
                st.rerun()
    elif run.state == "succeeded":
        right.page_link("pages/evaluate.py", label="Evaluate", icon=":material/fact_check:",
                        query_params={"run": str(run.id)})  # fmt: skip


def _strip(stages: tuple[StageLine, ...]) -> None:
    """The chain of adapters, one box a stage."""
    if not stages:
        return
    for column, stage in zip(st.columns(len(stages)), stages, strict=True):
        with column.container(border=True):
            name = stage.phase if stage.name == stage.phase else f"{stage.phase} {stage.name}"
            steps = "" if stage.first_step is None else f", steps {stage.first_step} to {stage.last_step}"
            st.markdown(f"**{escaped(name)}**: {escaped(stage.state)}")
            unit = "examples" if stage.phase == "sft" else "pairs"
            st.caption(escaped(f"{stage.n_items:,} {unit}{steps}" + (f". {stage.reason}" if stage.reason else "")))


def _charts(
    wanted: tuple[tuple[str, str], ...], series: Curves, colours: Palette, smooth: int, names: dict[int, str]
) -> None:
    found = []
    for name, title in wanted:
        of_level = {key.split("/")[0]: points for key, points in series.items() if key.endswith(f"/{name}")}
        of_level = {key: of_level[key] for key in of_level if key == "imported" or key[1:].isdigit()}
        if of_level:
            found.append((name, charts.curves(title, of_level, colours, smooth, names)))
    for column, (name, figure) in zip(st.columns(max(1, len(found))), found, strict=False):
        column.plotly_chart(figure, key=name)


def _all(lines: list[RunLine]) -> None:
    """Every run with its last accuracy on each level, to compare."""
    rows = [
        {"run": line.run.id, "recipe": line.run.recipe, "preset": line.run.preset, "order": line.run.config.pacing,
         "seed": line.run.config.seed, "state": line.run.state, "steps": line.n_steps}
        | {f"accuracy l{i}": line.last.get(f"l{i}/accuracy", (0, None))[1] for i in charts.LEVELS}
        for line in lines
    ]  # fmt: skip
    form = {f"accuracy l{i}": st.column_config.NumberColumn(format="%.2f") for i in charts.LEVELS}
    with st.expander("All runs", icon=":material/table_rows:"):
        st.dataframe(rows, hide_index=True, column_config=form)


def main() -> None:
    st.title("Runs")
    st.caption("Preference training and fine-tuning on frozen pairs; a run goes on when this page is closed.")
    with state.database().reading() as session:
        lines = runs.listing(session)
    _start(empty=not lines)
    if not lines:
        return
    run_id = _choose(lines)
    live = next(line.run.state for line in lines if line.run.id == run_id) in ("queued", "running")
    st.fragment(_watch, run_every=2 if live else None)(run_id, live)
    _all(lines)


main()
