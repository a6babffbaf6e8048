"""Freeze the next version of a data set: which pairs, which levels, which videos held out, and what that would hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st

from db import curricula, datasets
from db.curricula import CurriculumCard
from db.datasets import DatasetCard, Preview
from db.pair_filters import QUARTERS, PairFilter
from jobs.payloads import CopiesPayload
from tempo_core.errors import TempoError
from tempo_core.level_checks import held_out_warning
from ui import charts, state, training_order, when
from ui import curricula as curriculum_words
from ui.acting import asked_id, for_role, queue, telling, work
from ui.text import escaped

HELD_OUT = 20
ALL, OF_PAGE = "every accepted pair", "the filter of the Pairs page"
LAST_NAME = "pairs"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the panel asks for."""

    wanted: PairFilter
    thresholds: tuple[float, float, float]
    axis: str
    share: float
    seed: int
    origin: Mapping[str, Any]

    def settings(self) -> dict[str, Any]:
        return {
            "held_out_share": self.share, "seed": self.seed, "thresholds": self.thresholds, "axis": self.axis,
        }  # fmt: skip


def panel(frozen: list[DatasetCard], views: Mapping[str, Mapping[str, str]]) -> None:
    """The panel; what was frozen is shown by the page afterwards.

    Args:
        views: Saved views of the Pairs page by name, each as the query of its address.
    """
    with telling():
        st.caption("Training reads frozen versions only, and nothing changes them later.")
        left, middle, right = st.columns(3, gap="large")
        name = left.text_input("Name", frozen[0].name if frozen else LAST_NAME, key="freeze_name",
                               max_chars=datasets.LONGEST_NAME)  # fmt: skip
        wanted, view = _pairs(middle, views)
        card = _levels(right)
        wish = _wish(wanted, view, card)
        with state.database().reading() as session:
            seen = datasets.preview(session, wish.wanted, **wish.settings())
        _preview(seen, wish)
        may = state.may("admin")
        if not may:
            st.caption("Freezing is for admins.")
        if st.button("Freeze", type="primary", icon=":material/lock:", disabled=not (seen.n_pairs and may)):
            _freeze(name, wish)


def _pairs(place: Any, views: Mapping[str, Mapping[str, str]]) -> tuple[PairFilter, str | None]:
    """Which pairs: the accepted ones of a saved view or of the filter that the Pairs page shows."""
    asked = dict(parse_qsl(st.query_params.get("filter", "")))
    options = [ALL, *([OF_PAGE] if asked else []), *views]
    start = st.query_params.get("view", "")
    first = start if start in views else OF_PAGE if asked else ALL
    chosen = place.selectbox("Pairs", options, options.index(first), key="freeze_pairs",
                             help="Of these the accepted ones are frozen. Save a view on the Pairs page.")  # fmt: skip
    if chosen == ALL:
        return PairFilter(), None
    query = asked if chosen == OF_PAGE else dict(views[chosen])
    try:
        wanted = datasets.filter_of(query)
    except TempoError as error:
        st.warning(escaped(f"{error} Every accepted pair is taken instead."), icon=":material/warning:")
        return PairFilter(), None
    if told := ", ".join(f"{name} {value}" for name, value in wanted.as_query().items()):
        place.caption(escaped(f"Accepted pairs with {told}"))
    return wanted, None if chosen == OF_PAGE else chosen


def _levels(place: Any) -> CurriculumCard | None:
    """Whose levels: a saved curriculum's, or quarters."""
    with state.database().reading() as session:
        saved = {card.id: card for card in curricula.listing(session)}
    asked = asked_id("curriculum")
    options = [None, *saved]
    chosen = place.selectbox(
        "Levels", options, options.index(asked) if asked in saved else 0, key="freeze_curriculum",
        format_func=lambda number: "quarters, by measured difficulty" if number is None else saved[number].name,
        help="Where levels begin. Save a curriculum on the Curriculum page.",
    )  # fmt: skip
    card = saved.get(chosen) if chosen is not None else None
    if card is not None:
        place.caption(escaped(curriculum_words.told(card.axis, card.thresholds, card.pacing)))
    return card


def _wish(wanted: PairFilter, view: str | None, card: CurriculumCard | None) -> Wish:
    left, middle, _ = st.columns(3, gap="large", vertical_alignment="bottom")
    share = left.slider("Videos held out for evaluation", 0, 50, HELD_OUT, 5, format="%d %%", key="freeze_share")
    seed = int(middle.number_input("Seed", 0, 2**31 - 1, 0, key="freeze_seed", help="Which videos are drawn"))
    origin: dict[str, Any] = {} if view is None else {"view": view}
    if card is not None:
        origin |= {"curriculum": card.name, "curriculum_id": card.id}
    cuts, axis = (card.thresholds, card.axis) if card is not None else (QUARTERS, "measured")
    return Wish(wanted, cuts, axis, share / 100, seed, origin)


def _preview(seen: Preview, wish: Wish) -> None:
    """What the version would hold, before anything is stored."""
    if not seen.n_pairs:
        st.info("No accepted pair is here. Review some, or accept a filter in bulk on the Pairs page.",
                icon=":material/compare:")  # fmt: skip
        st.page_link("pages/pairs.py", label="Open Pairs", icon=":material/arrow_forward:")
        return
    figures = (
        ("Pairs to train on", seen.n_pairs - seen.n_held_out), ("Pairs held out", seen.n_held_out),
        ("Videos to train on", seen.n_videos - seen.n_videos_held_out), ("Videos held out", seen.n_videos_held_out),
    )  # fmt: skip
    for column, (words, n) in zip(st.columns(4), figures, strict=True):
        column.metric(escaped(words), f"{n:,}")
    names = charts.level_names(wish.axis)
    st.dataframe(
        [{"level": "imported" if level is None else names[level], "to train on": train, "held out": held_out,
          "videos to train on": seen.videos_of_level.get(level, 0)}
         for level, (train, held_out) in seen.levels.items() if level is not None or train or held_out],
        hide_index=True,
    )  # fmt: skip
    told = held_out_warning(seen.n_videos_held_out, seen.n_videos)
    empty = [f"l{level} holds no pair to train on; a run would skip it." for level, (train, _) in seen.levels.items()
             if level is not None and not train]  # fmt: skip
    training_order.tell([*([told] if told else []), *empty], names)
    if seen.n_withdrawn:
        pairs = "pair is" if seen.n_withdrawn == 1 else "pairs are"
        st.caption(f"{seen.n_withdrawn:,} accepted {pairs} left out: the video was withdrawn.")
    _copies(seen)


def _copies(seen: Preview) -> None:
    """Whether videos that share footage stay on one side; where nobody looked, the way to look."""
    work("copies")
    if seen.copies_job is not None:
        said = f"{seen.n_together:,} videos stay with others that show the same footage" if seen.n_together else (
            "no two of these videos were found to show the same footage")  # fmt: skip
        st.caption(f"Look-alikes: {said}.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Nobody has looked for the same footage in several files, so only equal files count as one video.")
        if st.button("Look for copies", icon=":material/content_copy:", type="tertiary", **for_role("admin")):
            queue(CopiesPayload())


def _freeze(name: str, wish: Wish) -> None:
    with state.database().session() as session:
        before = {version.id for version in datasets.listing(session)}
        version = datasets.freeze(session, state.person(), name, wish.wanted, origin=wish.origin, **wish.settings())
    st.session_state["frozen"] = "again" if version in before else "new"
    st.session_state["version"] = version
    st.rerun()


def origin_words(card: DatasetCard) -> str:
    """Where a version's pairs and levels come from, in plain text."""
    kept = card.criteria
    cuts = ", ".join(f"{100 * cut:g}" for cut in kept.get("level_thresholds", ()))
    levels = "nominal r" if kept.get("level_axis") == "paper" else f"levels begin at {cuts} %"
    parts = [
        f"Frozen by {card.by}, {when.told(card.frozen_ms)}",
        f"curriculum {kept['curriculum']} ({levels})" if kept.get("curriculum") else levels,
        f"view {kept['view']}" if kept.get("view") else "",
        f"{kept.get('held_out_share', 0):.0%} of the videos held out with seed {card.seed}",
        "" if kept.get("copies_job") is None else "same footage kept on one side",
    ]
    return ". ".join(part[0].upper() + part[1:] for part in parts if part) + "."
