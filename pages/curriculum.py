"""Curriculum: where easy ends and hard begins, what would train when, and the version that training will read."""

from __future__ import annotations

import streamlit as st

from db import artifacts, datasets, difficulties, pairs
from db.datasets import DatasetCard
from db.pair_filters import PairFilter
from jobs import starting
from jobs.payloads import ExportPayload
from tempo_core import levels
from tempo_core.types import PairRef
from ui import charts, state, training_order
from ui.acting import of_address, queue, telling, work
from ui.palette import palette
from ui.text import escaped

BINS = 40
HELD_OUT = 20
FORMATS = {"ms_swift": "ms-swift JSONL", "hub": "Hugging Face parquet"}
WHICH = {"accepted": "accepted pairs", "all": "all that passed the filters"}
AXES = {"measured": "measured difficulty", "paper": "nominal r, as in the paper"}
BEGINS = ("Medium", "Hard", "Hardest")
Cuts = tuple[float, float, float]


def _thresholds() -> tuple[str, Cuts]:
    """The axis and where levels 2, 3 and 4 begin, kept in the address; crossing sliders are refused."""
    of_address("axis", list(AXES))
    axis = st.segmented_control(
        "Order pairs by", list(AXES), key="axis", required=True,
        format_func=AXES.__getitem__, help="Measured: how far the plan disturbs the order, compared inside each kind.",
    ) or "measured"  # fmt: skip
    if axis == "paper":
        st.caption("Level 1 = r16, 2 = r8, 3 = r4, 4 = r2: the stronger the disturbance, the easier the pair.")
        return axis, (0.25, 0.5, 0.75)
    st.caption("Percentiles inside each kind: what lies left of the first slider is level 1, easy.")
    cuts = [
        column.slider(f"{word} begins at", 0, 100, default, format="%d %%", key=f"cut{i}", bind="query-params") / 100
        for column, i, word, default in zip(st.columns(3, gap="large"), (2, 3, 4), BEGINS, (25, 50, 75), strict=True)
    ]
    levels.Thresholds(*cuts)  # says what is wrong with them
    return axis, (cuts[0], cuts[1], cuts[2])


def _levels(axis: str, cuts: Cuts, wanted: PairFilter) -> list[PairRef]:
    """Histogram by kind, how many pairs each level holds and what their lengths tell; the pairs themselves."""
    with state.database().reading() as session:
        refs = difficulties.refs(session, cuts, axis, wanted)
        per_level = difficulties.per_level(session, cuts, axis, wanted)
        bins = difficulties.histogram(session, BINS, wanted)
        raw = difficulties.raw_thresholds(session, cuts)
    colours, names = palette(st.context.theme.type), charts.level_names(axis)
    if axis == "paper":
        st.plotly_chart(charts.by_level(per_level, names, colours), key="by_level")
    else:
        figures = charts.histogram(bins, raw, colours)
        for column, (kind, figure) in zip(st.columns(max(1, len(figures))), figures.items(), strict=False):
            column.plotly_chart(figure, key=f"hist_{kind}")
    st.dataframe(
        [{"kind": kind, **{names[i]: n for i, n in enumerate(counts, 1)}, "all": sum(counts)}
         for kind, counts in per_level.items()],
        hide_index=True,
    )  # fmt: skip
    for level, name in names.items():
        if not any(counts[level - 1] for counts in per_level.values()):
            st.warning(f"Level {escaped(name)} holds no pair; a run would skip it.", icon=":material/warning:")
    training_order.length_table(refs, names)
    return refs


def _order(axis: str, refs: list[PairRef], frozen: dict[int, DatasetCard]) -> None:
    """What a run would train when: of the pairs above, before anything is saved, or of a frozen version."""
    st.subheader("What would train when")
    sources = {0: "the pairs above, with these levels"} if refs else {}
    sources |= {number: f"version {v.name} {v.number}" for number, v in frozen.items()}
    left, right = st.columns(2, gap="large", vertical_alignment="bottom")
    chosen = left.selectbox("Pairs to put in order", list(sources), format_func=sources.__getitem__, key="order_of")
    if chosen:
        axis = str(frozen[chosen].criteria.get("level_axis"))
        with state.database().reading() as session:
            refs = starting.refs(session, chosen)
    else:
        share, seed = st.session_state.get("freeze_share", HELD_OUT), st.session_state.get("freeze_seed", 0)
        held_out = datasets.held_out({pair.video_key for pair in refs}, share / 100, seed)
        refs = [pair for pair in refs if pair.video_key not in held_out]
        videos = "video" if len(held_out) == 1 else "videos"
        right.caption(f"Without the {len(held_out):,} {videos} that would be held out ({share:d} %, below).")
    training_order.section(refs, charts.level_names(axis))


def _freeze(axis: str, cuts: Cuts, n_accepted: int) -> None:
    with st.container(border=True):
        st.markdown(f"**Freeze** the {n_accepted:,} accepted pairs with these levels. Training reads nothing else.")
        left, middle, right = st.columns(3, gap="large")
        name = left.text_input("Name", "demo", key="freeze_name")
        share = middle.slider("Videos held out for evaluation", 0, 50, HELD_OUT, 5, format="%d %%", key="freeze_share")
        seed = right.number_input("Seed", 0, 2**31 - 1, 0, key="freeze_seed")
        if st.button("Freeze", type="primary", disabled=n_accepted == 0):
            with telling():
                with state.database().session() as session:
                    version = datasets.freeze(
                        session, state.person(), name.strip() or "demo", held_out_share=share / 100, seed=int(seed),
                        thresholds=cuts, axis=axis,
                    )  # fmt: skip
                st.session_state["frozen"] = st.session_state["version"] = version
                st.rerun()


def _versions(frozen: dict[int, DatasetCard]) -> None:
    st.subheader("Frozen versions")
    if (new := frozen.get(st.session_state.pop("frozen", 0))) is not None:
        told = f"{new.n_pairs:,} pairs from {new.n_videos:,} videos, {new.n_held_out:,} of them held out."
        st.success(f"Frozen as {escaped(new.name)} {new.number:d}: {told}", icon=":material/lock:")
    st.dataframe(
        [
            {"version": f"{v.name} {v.number}", "pairs": v.n_pairs, "held out": v.n_held_out, "videos": v.n_videos,
             "levels by": v.criteria.get("level_axis"), "content hash": v.content_sha256[:16], "by": v.by}
            for v in frozen.values()
        ],
        hide_index=True,
    )  # fmt: skip
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    named = {number: f"{v.name} {v.number}" for number, v in frozen.items()}
    chosen = left.selectbox("Version", list(frozen), format_func=named.__getitem__, key="version")
    form = middle.selectbox("Export as", list(FORMATS), format_func=FORMATS.__getitem__)
    if right.button("Export", icon=":material/download:", width="stretch"):
        queue(ExportPayload(chosen, form))
    work("export")
    with state.database().reading() as session:
        made = artifacts.listing(session, "export", dataset_version_id=chosen)
    for artifact in made:
        name = artifact.rel_path.rpartition("/")[2]
        st.link_button(f"Download {escaped(name)}", state.sign("exports", artifact.id), icon=":material/download:")


def main() -> None:
    st.title("Curriculum")
    st.caption("Where easy ends and hard begins, and the frozen version that a run reads.")
    with state.database().reading() as session:
        counts, frozen = pairs.counts(session), datasets.listing(session)
    n_accepted = counts.status.get("accepted", 0)
    if counts.total == 0:
        st.info("No pairs yet. Make some on the pairs page.", icon=":material/stairs_2:")
        st.page_link("pages/pairs.py", label="Open Pairs", icon=":material/arrow_forward:")
        return
    which = st.segmented_control("Show", list(WHICH), default="accepted", required=True, format_func=WHICH.__getitem__,
                                 key="of")  # fmt: skip
    with telling():
        axis, cuts = _thresholds()
        refs: list[PairRef] = []
        if which == "accepted" and n_accepted == 0:
            st.info("Nothing is accepted yet. Review some pairs, or accept a filter in bulk on the pairs page.",
                    icon=":material/compare:")  # fmt: skip
        else:
            refs = _levels(axis, cuts, PairFilter(status="accepted") if which == "accepted" else PairFilter())
        if refs or frozen:
            _order(axis, refs, {version.id: version for version in frozen})
        _freeze(axis, cuts, n_accepted)
    if frozen:
        _versions({version.id: version for version in frozen})


main()
