"""Curriculum: where easy ends and hard begins, what would train when, and the version that training will read."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from db import artifacts, datasets, difficulties, pairs
from db.datasets import DatasetCard
from db.pair_filters import PairFilter
from jobs import starting
from jobs.payloads import ExportPayload
from tempo_core import curriculum
from tempo_core.errors import TempoError
from tempo_core.recipes import PACINGS, PRESETS
from ui import charts, state
from ui.acting import queue, telling, work
from ui.palette import level_word, palette
from ui.text import escaped

BINS = 40
FORMATS = {"ms_swift": "ms-swift JSONL", "hub": "Hugging Face parquet"}
Cuts = tuple[float, float, float]


def _thresholds() -> tuple[str, Cuts]:
    """The axis and where levels 2, 3 and 4 begin; crossing sliders are refused with a sentence."""
    axis = st.segmented_control(
        "What orders the pairs", ["measured", "paper"], default="measured", key="axis",
        help="measured: difficulty of the plan, compared inside each kind. paper: the nominal magnitude r.",
    ) or "measured"  # fmt: skip
    if axis == "paper":
        st.caption("Level 1 = r16, 2 = r8, 3 = r4, 4 = r2.")
        return axis, (0.25, 0.5, 0.75)
    columns = st.columns(3)
    cuts = [
        column.slider(f"{word} begins at percentile", 0, 100, default, 1, format="%d %%", key=f"cut{i}") / 100
        for i, (column, word, default) in enumerate(
            zip(columns, ("Medium", "Hard", "Hardest"), (25, 50, 75), strict=True)
        )
    ]
    curriculum.Thresholds(*cuts)  # says what is wrong with them
    return axis, (cuts[0], cuts[1], cuts[2])


def _levels(axis: str, cuts: Cuts, wanted: PairFilter) -> None:
    """Histogram by kind, and how many pairs each level holds."""
    with state.database().reading() as session:
        per_level = difficulties.per_level(session, cuts, axis, wanted)
        bins = difficulties.histogram(session, BINS, wanted)
        raw = difficulties.raw_thresholds(session, cuts)
    figures = charts.histogram(bins, raw, palette(st.context.theme.type))
    for column, (kind, figure) in zip(st.columns(max(1, len(figures))), figures.items(), strict=False):
        column.plotly_chart(figure, key=f"hist_{kind}")
    rows = [
        {"kind": kind, **{f"{i} {level_word(i)}": n for i, n in enumerate(counts, start=1)}, "all": sum(counts)}
        for kind, counts in per_level.items()
    ]
    st.dataframe(rows, hide_index=True)
    empty = [i for i in (1, 2, 3, 4) if sum(counts[i - 1] for counts in per_level.values()) == 0]
    for level in empty:
        st.warning(f"Level {level} ({level_word(level)}) holds no pair; a run would skip it.")


def _freeze(axis: str, cuts: Cuts, n_accepted: int) -> None:
    with st.form("freeze", border=True):
        st.markdown(f"**Freeze** the {n_accepted:,} accepted pairs with these levels. Training reads nothing else.")
        left, middle, right = st.columns(3)
        name = left.text_input("Name", "demo")
        share = middle.slider("Held out for evaluation", 0, 50, 20, 5, format="%d %% of the videos")
        seed = right.number_input("Seed", 0, 2**31 - 1, 0)
        if st.form_submit_button("Freeze", type="primary", disabled=n_accepted == 0):
            with telling():
                with state.database().session() as session:
                    version = datasets.freeze(
                        session, state.person(), name.strip() or "demo", held_out_share=share / 100, seed=int(seed),
                        thresholds=cuts, axis=axis,
                    )  # fmt: skip
                    card = datasets.get(session, version)
                st.success(f"{escaped(card.name)} {card.number}: {card.n_pairs:,} pairs, {card.n_held_out:,} held out")


def _versions(frozen: list[DatasetCard]) -> None:
    st.subheader("Frozen versions")
    st.dataframe(
        [
            {"version": f"{v.name} {v.number}", "pairs": v.n_pairs, "held out": v.n_held_out, "videos": v.n_videos,
             "content hash": v.content_sha256[:16], "by": v.by}
            for v in frozen
        ],
        hide_index=True,
    )  # fmt: skip
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    chosen = left.selectbox("Version", frozen, format_func=lambda v: escaped(f"{v.name} {v.number}"))
    form = middle.selectbox("Format", list(FORMATS), format_func=FORMATS.__getitem__)
    if right.button("Export", icon=":material/download:"):
        queue(ExportPayload(chosen.id, form))
    work("export")
    with state.database().reading() as session:
        made = artifacts.listing(session, "export", dataset_version_id=chosen.id)
    for artifact in made:
        name = escaped(artifact.rel_path.rpartition("/")[2])
        st.link_button(f"Download {name}", state.sign("exports", artifact.id), icon=":material/download:")
    _preview(chosen)


def _preview(version: DatasetCard) -> None:
    """What a run would train when: the same function that training uses."""
    left, right = st.columns(2)
    preset = left.selectbox("Preset", list(PRESETS))
    pacing = right.selectbox("Order", PACINGS, PACINGS.index(PRESETS[preset].pacing))
    config = replace(PRESETS[preset], pacing=pacing)
    with telling(), state.database().reading() as session:
        plan = starting.preview(session, version.id, config)
        st.plotly_chart(charts.shares(curriculum.steps_of_share(plan), palette(st.context.theme.type)), key="shares")
        stages = ", then ".join(stage.name for stage in plan.stages)
        st.caption(f"{plan.n_steps} steps of {config.pairs_per_step} pairs; stages: {stages}")
        for note in plan.notes:
            st.caption(escaped(note))


def main() -> None:
    st.title("Curriculum")
    with state.database().reading() as session:
        counts, frozen = pairs.counts(session), datasets.listing(session)
    n_accepted = counts.status.get("accepted", 0)
    if counts.total == 0:
        st.info("No pairs yet. Make some on the pairs page.", icon=":material/stairs_2:")
        return
    which = st.segmented_control("Pairs", ["accepted", "all that passed the filters"], default="accepted", key="of")
    wanted = PairFilter(status="accepted") if which == "accepted" else PairFilter()
    try:
        axis, cuts = _thresholds()
    except TempoError as error:
        st.error(escaped(str(error)))
        return
    if which == "accepted" and n_accepted == 0:
        st.info("Nothing is accepted yet. Review some pairs, or accept a filter in bulk.", icon=":material/compare:")
    else:
        _levels(axis, cuts, wanted)
    _freeze(axis, cuts, n_accepted)
    if frozen:
        _versions(frozen)


main()
