"""Curriculum: where easy ends and hard begins, and what would train when. Freezing is the next page's."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db import datasets, difficulties, pairs, splits
from db.datasets import DatasetCard
from db.pair_filters import PairFilter
from jobs import starting
from tempo_core import levels
from tempo_core.level_checks import LevelCount, held_out_warning, level_counts, level_warnings
from tempo_core.types import PairRef
from ui import charts, curricula, state, training_order
from ui.acting import of_address, telling
from ui.curricula import Choice
from ui.palette import palette

BINS = 40
WHICH = {"accepted": "accepted", "all": "all that passed"}
AXES = {"measured": "measured difficulty", "paper": "nominal r, as in the paper"}
BEGINS = ("Medium", "Hard", "Hardest")
USUAL = (25, 50, 75)
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
    cuts = []
    for column, key, word, usual in zip(st.columns(3, gap="large"), curricula.CUT_KEYS, BEGINS, USUAL, strict=True):
        _start(key, usual)
        cuts.append(column.slider(f"{word} begins at", 0, 100, format="%d %%", key=key) / 100)
        if st.session_state[key] == usual:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = str(st.session_state[key])
    levels.Thresholds(*cuts)  # says what is wrong with them
    return axis, (cuts[0], cuts[1], cuts[2])


def _start(key: str, usual: int) -> None:
    """Begin a slider with what the address names; a curriculum that was loaded has set it already."""
    if key not in st.session_state:
        asked = st.query_params.get(key, "")
        known = asked.isascii() and asked.isdigit() and int(asked) <= 100
        st.session_state[key] = int(asked) if known else usual


def _levels(axis: str, cuts: Cuts, wanted: PairFilter) -> list[PairRef]:
    """Histogram by kind, what each level holds, and what to know of it; the pairs themselves."""
    with state.database().reading() as session:
        refs = difficulties.refs(session, cuts, axis, wanted)
        bins = difficulties.histogram(session, BINS, wanted)
        raw = difficulties.raw_thresholds(session, cuts)
    colours, names, counts = palette(st.context.theme.type), charts.level_names(axis), level_counts(refs)
    if axis == "paper":
        kinds = sorted({pair.kind for pair in refs})
        per_level = {kind: [count.kinds.get(kind, 0) for count in counts if count.level] for kind in kinds}
        st.plotly_chart(charts.by_level(per_level, names, colours), key="by_level")
    else:
        figures = charts.histogram(bins, raw, colours)
        with st.container(key="level_histograms"):
            for column, (kind, figure) in zip(st.columns(max(1, len(figures))), figures.items(), strict=False):
                column.plotly_chart(figure, key=f"hist_{kind}")
    st.dataframe(_table(counts, names), hide_index=True)
    training_order.tell(level_warnings(counts), names)
    training_order.length_table(refs, names)
    return refs


def _table(counts: Sequence[LevelCount], names: dict[int, str]) -> list[dict[str, object]]:
    """A row per level: pairs of each kind, and of how many videos."""
    kinds = sorted({kind for count in counts for kind in count.kinds})
    return [
        {"level": "imported" if count.level is None else names[count.level],
         **{kind: count.kinds.get(kind, 0) for kind in kinds}, "pairs": count.n_pairs, "videos": count.n_videos,
         "most of one video": count.n_of_one_video}
        for count in counts
    ]  # fmt: skip


def _order(axis: str, refs: list[PairRef], frozen: dict[int, DatasetCard]) -> None:
    """What a run would train when: of the pairs above, before anything is saved, or of a frozen version."""
    st.subheader("What would train when")
    sources = {0: "the pairs above, with these levels"} if refs else {}
    sources |= {number: f"version {v.name} {v.number}" for number, v in frozen.items()}
    left, middle, right = st.columns([3, 2, 1], gap="large", vertical_alignment="bottom")
    chosen = left.selectbox("Pairs to put in order", list(sources), format_func=sources.__getitem__, key="order_of")
    if chosen:
        axis = str(frozen[chosen].criteria.get("level_axis"))
        with state.database().reading() as session:
            refs = starting.refs(session, chosen)
    else:
        share = middle.slider("Videos held out", 0, 50, 20, 5, format="%d %%", key="held_out_share")
        seed = int(right.number_input("Seed", 0, 2**31 - 1, 0, key="held_out_seed"))
        refs = _without_held_out(refs, share / 100, seed)
    training_order.section(refs, charts.level_names(axis), "paper" if axis == "paper" else "measured")


def _without_held_out(refs: list[PairRef], share: float, seed: int) -> list[PairRef]:
    shas = {pair.video_key for pair in refs}
    with state.database().reading() as session:
        _, together = splits.copies(session)
    kept_back = splits.held_out(shas, share, seed, together)
    videos = "video" if len(kept_back) == 1 else "videos"
    st.caption(f"Without the {len(kept_back):,} {videos} of {len(shas):,} that a version frozen so would hold out.")
    told = held_out_warning(len(kept_back), len(shas))
    training_order.tell([told] if told and share else [], charts.level_names())
    return [pair for pair in refs if pair.video_key not in kept_back]


def main() -> None:
    st.title("Curriculum")
    st.caption("Where easy ends and hard begins, and what would train when.")
    with state.database().reading() as session:
        counts, frozen = pairs.counts(session), datasets.listing(session)
    n_accepted = counts.status.get("accepted", 0)
    if counts.total == 0:
        st.info("No pairs yet. Make some on the pairs page.", icon=":material/stairs_2:")
        st.page_link("pages/pairs.py", label="Open Pairs", icon=":material/arrow_forward:")
        return
    left, right = st.columns(2, gap="large")
    which = left.segmented_control("Pairs", list(WHICH), default="accepted", required=True,
                                   format_func=WHICH.__getitem__, key="of")  # fmt: skip
    wanted = PairFilter(status="accepted") if which == "accepted" else PairFilter()
    with telling():
        with right:
            loaded = curricula.pick()
        axis, cuts = _thresholds()
        curricula.bar(axis, cuts, loaded)
        refs: list[PairRef] = []
        if which == "accepted" and n_accepted == 0:
            st.info("Nothing is accepted yet. Review some pairs, or accept a filter in bulk on the pairs page.",
                    icon=":material/compare:")  # fmt: skip
        else:
            refs = _levels(axis, cuts, wanted)
        if refs or frozen:
            _order(axis, refs, {version.id: version for version in frozen})
        if refs:
            curricula.compare(wanted, Choice(axis, cuts, training_order.chosen_pacing()))
    st.page_link("pages/datasets.py", label="Freeze these pairs on the Datasets page", icon=":material/lock:")


main()
