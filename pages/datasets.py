"""Datasets: frozen versions, which training reads; what each holds, how two differ, and which runs read which."""

from __future__ import annotations

import streamlit as st

from db import dataset_history, datasets, pairs, withdrawals
from db.datasets import DatasetCard
from ui import freezing, state, versions, when
from ui.acting import asked_id
from ui.text import escaped


def _choose(frozen: dict[int, DatasetCard]) -> DatasetCard:
    """The version of the address, so that it can be sent; else the newest."""
    asked = asked_id("version")
    if asked is not None and asked not in frozen:
        st.warning(f"There is no version {asked:d}. The newest one is shown.", icon=":material/warning:")
    if st.session_state.get("version") not in frozen:
        st.session_state["version"] = asked if asked in frozen else next(iter(frozen))
    named = {number: f"{v.name} {v.number}" for number, v in frozen.items()}
    chosen = st.selectbox("Version", list(named), key="version", format_func=named.__getitem__, width=420)
    st.query_params["version"] = str(chosen)
    return frozen[chosen]


def _table(frozen: dict[int, DatasetCard]) -> None:
    with state.database().reading() as session:
        gone, uses = withdrawals.of_versions(session), dataset_history.uses(session)
    rows = [
        {"version": f"{v.name} {v.number}", "pairs": v.n_pairs, "held out": v.n_held_out, "videos": v.n_videos,
         "levels by": v.criteria.get("curriculum") or v.criteria.get("level_axis"),
         "runs": len(uses.get(number, [])), "withdrawn pairs": gone.get(number, 0),
         "content hash": v.content_sha256[:12], "frozen": when.told(v.frozen_ms), "by": v.by}
        for number, v in frozen.items()
    ]  # fmt: skip
    if not any(gone.get(number) for number in frozen):
        rows = [{name: value for name, value in row.items() if name != "withdrawn pairs"} for row in rows]
    st.dataframe(rows, hide_index=True)


def _said(frozen: dict[int, DatasetCard]) -> None:
    """What pressing Freeze came to."""
    said, new = st.session_state.pop("frozen", ""), frozen.get(st.session_state.get("version", 0))
    if new is None or not said:
        return
    told = f"{new.n_pairs:,} pairs from {new.n_videos:,} videos, {new.n_held_out:,} of them held out."
    if said == "new":
        st.success(f"Frozen as {escaped(new.name)} {new.number:d}: {told}", icon=":material/lock:")
        st.page_link("pages/runs.py", label="Train on it", icon=":material/arrow_forward:")
    else:
        st.info(f"Nothing is new since {escaped(new.name)} {new.number:d}: {told}", icon=":material/lock:")


def main() -> None:
    st.title("Datasets")
    st.caption("Frozen versions of the accepted pairs: what runs read, whatever is reviewed later.")
    with state.database().reading() as session:
        counts, listed, views = pairs.counts(session), datasets.listing(session), datasets.views(session)
    frozen = {version.id: version for version in listed}
    if not counts.status.get("accepted", 0) and not frozen:
        st.info("Nothing is accepted yet. Review some pairs, or accept a filter in bulk on the pairs page; then freeze "
                "them here.", icon=":material/lock:")  # fmt: skip
        st.page_link("pages/review.py", label="Open Review", icon=":material/arrow_forward:")
        return
    _said(frozen)
    with st.expander("New version", icon=":material/add_circle:", expanded=not frozen or "curriculum" in st.query_params
                     or "filter" in st.query_params or "view" in st.query_params):  # fmt: skip
        freezing.panel(listed, views)
    if frozen:
        _table(frozen)
        card = _choose(frozen)
        versions.show(card, {number: version for number, version in frozen.items() if number != card.id})


main()
