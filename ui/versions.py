"""One frozen version: is it intact, what may be said of it, what changed since another one, who read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from db import dataset_history, datasets, withdrawals
from db.dataset_history import Change, Difference
from db.datasets import DatasetCard
from tempo_core.errors import DatasetDrift
from ui import charts, freezing, state
from ui.acting import of_address, telling
from ui.text import escaped

VIEWS = ("Content", "Difference", "Runs", "Export")
MOST_ROWS = 500
PAIR = "/pairs?pair={}"


def show(card: DatasetCard, others: Mapping[int, DatasetCard]) -> None:
    """Everything about one version."""
    of_address("part", VIEWS)
    view = st.segmented_control("Part", VIEWS, key="part", required=True, label_visibility="collapsed")
    {"Difference": _differences, "Runs": _runs, "Export": _export}.get(view or "", _content)(card, others)


# ---- content --------------------------------------------------------------------------------------------------------
def _content(card: DatasetCard, others: Mapping[int, DatasetCard]) -> None:
    st.caption(escaped(freezing.origin_words(card), longest=600))
    withdrawn(card.id)
    for line in card.stated:
        st.info("Accepted unread: " + escaped(line, longest=400), icon=":material/casino:")
    st.code(card.content_sha256, language=None)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Verify", icon=":material/verified:", help="Reads every pair, plan, video and review again and "
                     "compares the hash of all that with the one that was frozen."):  # fmt: skip
            _verify(card)
    with state.database().reading() as session:
        items = datasets.items(session, card.id)
    axis = str(card.criteria.get("level_axis", "measured"))
    names = charts.level_names(axis)
    counted: dict[int | None, dict[str, int]] = {}
    for item in items:
        of_level = counted.setdefault(item.pair.level, {})
        column = item.pair.kind if item.split == "train" else "held out"
        of_level[column] = of_level.get(column, 0) + 1
    columns = [*sorted({kind for of_level in counted.values() for kind in of_level} - {"held out"}), "held out"]
    st.dataframe(
        [{"level": "imported" if level is None else names[level], **{name: of_level.get(name, 0) for name in columns}}
         for level, of_level in sorted(counted.items(), key=lambda entry: entry[0] or 9)],
        hide_index=True,
    )  # fmt: skip


def _verify(card: DatasetCard) -> None:
    try:
        with state.database().reading() as session:
            datasets.verify(session, card.id)
    except DatasetDrift as error:
        st.error(escaped(str(error), longest=600), icon=":material/error:")
    else:
        st.badge(f"intact: {card.n_pairs:,} pairs read again", icon=":material/verified:", color="green")


def withdrawn(version_id: int) -> None:
    """Say which videos of a version were withdrawn since."""
    with state.database().reading() as session:
        n, gone = datasets.withdrawn(session, version_id), withdrawals.in_version(session, version_id)
    if not n:
        return
    named = ", ".join(name for _, name, _ in gone[:5]) + (" ..." if len(gone) > 5 else "")
    pairs, videos = "pair is" if n == 1 else "pairs are", "a video that was" if len(gone) == 1 else "videos that were"
    st.warning(
        f"{n:,} {pairs} of {videos} withdrawn since: " + escaped(named, longest=300) + ". Freeze a new version for "
        "the next run; this one stays what it was.",
        icon=":material/warning:",
    )


# ---- between two versions -------------------------------------------------------------------------------------------
def _differences(card: DatasetCard, others: Mapping[int, DatasetCard]) -> None:
    if not others:
        st.caption("There is no other version to compare with yet.")
        return
    named = {number: f"{v.name} {v.number}: {v.n_pairs:,} pairs" for number, v in others.items()}
    older = [v.id for v in others.values() if v.name == card.name and v.number < card.number]
    first = max(older) if older else next(iter(others))
    other = st.selectbox("Since version", list(named), list(named).index(first), format_func=named.__getitem__,
                         key=f"since_{card.id}")  # fmt: skip
    with telling():
        with state.database().reading() as session:
            found = dataset_history.difference(session, other, card.id)
        _difference(found)


def _difference(found: Difference) -> None:
    figures = (("Added", len(found.added)), ("Removed", len(found.removed)), ("Changed", len(found.changed)),
               ("The same", found.n_same))  # fmt: skip
    for column, (words, n) in zip(st.columns(4), figures, strict=True):
        column.metric(escaped(words), f"{n:,}")
    if found.counts:
        st.caption(escaped("Changed: " + ", ".join(
            f"{n:,} {dataset_history.WORDS[what]}" for what, n in found.counts.items())))  # fmt: skip
    rows = [*_only(found.added, "added"), *_only(found.removed, "removed"), *map(_changed, found.changed)]
    if not rows:
        st.success("Both hold the same pairs with the same texts, levels and sides.", icon=":material/check:")
        return
    if len(rows) > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS:,} of {len(rows):,} pairs:")
    rows = [{name: value for name, value in row.items() if any(other[name] for other in rows)} for row in rows]
    link = st.column_config.LinkColumn("pair", display_text=r"pair=(\d+)", width="small")
    st.dataframe(rows[:MOST_ROWS], hide_index=True, column_config={"pair": link})


def _only(pair_ids: Sequence[int], what: str) -> list[dict[str, object]]:
    return [{"pair": PAIR.format(pair_id), "what": what, "level": "", "side": ""} for pair_id in pair_ids]


def _changed(change: Change) -> dict[str, object]:
    words = ", ".join(dataset_history.WORDS[what] for what in change.what)
    levels = " → ".join("none" if level is None else f"{level}" for level in change.levels)
    sides = " → ".join(side.replace("_", " ") for side in change.splits)
    return {
        "pair": PAIR.format(change.pair_id), "what": words, "level": levels if "level" in change.what else "",
        "side": sides if "split" in change.what else "",
    }  # fmt: skip


# ---- who read it ----------------------------------------------------------------------------------------------------
def _runs(card: DatasetCard, others: Mapping[int, DatasetCard]) -> None:
    with state.database().reading() as session:
        uses = dataset_history.uses(session).get(card.id, [])
    if not uses:
        st.caption("No run has read this version yet.")
        st.page_link("pages/runs.py", label="Start one on Runs", icon=":material/arrow_forward:")
        return
    for use in uses:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link("pages/runs.py", label=f"run {use.run_id:d}: {escaped(use.name)}",
                         icon=":material/monitoring:", query_params={"run": str(use.run_id)})  # fmt: skip
            st.badge(escaped(use.state), color="green" if use.state == "succeeded" else "gray")
            if use.n_figures:
                figures = "figure" if use.n_figures == 1 else "figures"
                st.page_link("pages/evaluate.py", label=f"{use.n_figures:,} {figures}", icon=":material/fact_check:",
                             query_params={"run": str(use.run_id)})  # fmt: skip


# ---- export ---------------------------------------------------------------------------------------------------------
def _export(card: DatasetCard, others: Mapping[int, DatasetCard]) -> None:
    withdrawn(card.id)
    st.caption("Files for other trainers and for the Hugging Face hub are made on Exchange.")
    st.page_link("pages/exchange.py", label="Export this version", icon=":material/upload:",
                 query_params={"part": "Export", "version": str(card.id)})  # fmt: skip
