"""Pairs: make them, find them, and decide on all of a filter at once."""

from __future__ import annotations

import math
from typing import Literal

import streamlit as st

from db import pairs, videos
from db.pair_filters import PairFilter
from db.pair_lists import Facets, PairLine
from db.people import ROLES
from ui import caption_sets, pair_bulk, pair_make, pair_scatter, pair_views, state, tables
from ui.acting import asked_id, of_address, telling, work
from ui.facets import Asked, facets
from ui.facets import of_address as of_address_filter
from ui.pair_detail import detail
from ui.palette import level_word
from ui.text import escaped

PAGE = 50
ORDERS = {"id": "as they were made", "hardest": "hardest first"}
VIEWS = {"list": "List", "points": "Scatter"}


def _order() -> Literal["id", "hardest"]:
    """Kept in the address; another order starts at its first page."""
    now: Literal["id", "hardest"] = "hardest" if st.query_params.get("order") == "hardest" else "id"
    if st.session_state.get("order") != now:
        st.session_state["order"] = now
    st.segmented_control("Order", list(ORDERS), required=True, format_func=ORDERS.__getitem__, key="order",
                         on_change=_reorder, label_visibility="collapsed")  # fmt: skip
    return now


def _reorder() -> None:
    for name in ("after", "before", "order"):
        st.query_params.pop(name, None)
    if st.session_state["order"] == "hardest":
        st.query_params["order"] = "hardest"


def _key(name: str) -> tuple[float, int] | None:
    """Where the page of the address begins or ends; what is no such place is told."""
    asked = st.query_params.get(name, "")
    if not asked:
        return None
    try:
        value, pair_id = asked.split(",")
        key = float(value), int(pair_id)
    except ValueError:
        key = math.nan, 0
    if math.isfinite(key[0]) and 0 <= key[1] < 2**63:
        return key
    st.warning(f"There is no page {escaped(name)} {escaped(asked)}. The first one is shown.")
    return None


def _table(wanted: PairFilter, total: int, *, capped: bool) -> int | None:
    """A page of the filter; the id of the pair that was chosen."""
    order, after, before = _order(), _key("after"), _key("before")
    with state.database().reading() as session:
        found = pairs.listed(session, wanted, after=after, before=None if after else before, limit=PAGE, order=order)
    if not found.lines:
        st.info("No pair is left on this page.", icon=":material/last_page:")
        st.button("To the first page", on_click=_reorder)
        return None
    settings = {
        "clips": st.column_config.ImageColumn(width="medium", help="The clips of the clean video, one picture each"),
        "difficulty": st.column_config.NumberColumn(format="%.2f", help="1 = hard; compare inside a kind only"),
        "length ratio": st.column_config.NumberColumn(format="%.2f", help="Longer over shorter response, characters"),
        "shown order": st.column_config.TextColumn(help="Clips of the clean video as the perturbed side shows them"),
        "chosen": st.column_config.TextColumn(width="medium"),
        "rejected": st.column_config.TextColumn(width="medium"),
    }
    first, last = (f"{value},{pair_id}" for value, pair_id in map(pairs.key_of, (found.lines[0], found.lines[-1])))
    # Another page is another table, or the row chosen on this one would be chosen there.
    rows = [_row(line) for line in found.lines]
    picked = tables.chosen(rows, f"pairs_{order}_{first}_{len(rows)}", column_config=settings, row_height=44)
    if found.first is not None:
        of = f"{total:,}+" if capped else f"{total:,}"
        st.caption(f"{found.first:,} to {found.first + len(rows) - 1:,} of {escaped(of)}")
    tables.pages(found.has_before, found.has_after, first, last)
    return None if picked is None else found.lines[picked].id


def _row(line: PairLine) -> dict[str, object]:
    return {
        "pair": line.id, "clips": None if line.timeline_id is None else state.sign("sprites", line.timeline_id),
        "video": line.video_name, "kind": line.kind, "r": line.magnitude,
        "shown order": " ".join(str(clip + 1) for clip in line.order), "difficulty": line.difficulty,
        "level": level_word(line.level) if line.level else "", "length ratio": line.length_ratio,
        "status": line.status, "chosen": line.chosen, "rejected": line.rejected,
    }  # fmt: skip


def _list(asked: Asked, found: Facets) -> None:
    words = ", ".join(f"{n:,} {status}" for status, n in found.by_status.items())
    more = "+" if found.capped else ""
    st.caption(f"**{found.total:,}{more}** pairs in this filter" + (f": {escaped(words)}" if words else ""))
    if asked.sound:
        pair_bulk.section(asked.wanted, found.total)
    if found.total == 0:
        st.info("No pair matches this filter.", icon=":material/filter_alt_off:")
        return
    of_address("show", list(VIEWS))
    show = st.segmented_control("Show", list(VIEWS), required=True, format_func=VIEWS.__getitem__, key="show",
                                label_visibility="collapsed")  # fmt: skip
    if show == "points":
        pair_scatter.section(asked.wanted)
        return
    chosen = _table(asked.wanted, found.total, capped=found.capped)
    if chosen is not None:
        st.query_params["pair"] = str(chosen)


def main() -> None:
    st.title("Pairs")
    st.caption("One response to the clean order of a video's clips, one to a perturbed order.")
    work("pair")
    with state.database().reading() as session:
        n_kept, n_all = videos.counts(session).get("kept", 0), pairs.count(session)
    if n_kept == 0 and n_all == 0:
        st.info("No video is kept yet. Add some in the library first.", icon=":material/video_library:")
        st.page_link("pages/library.py", label="Open Library", icon=":material/arrow_forward:")
        return
    pair_make.section(n_kept, empty=n_all == 0)
    if state.person().role == ROLES[-1]:
        caption_sets.section()
    if n_all == 0:
        st.info("No pairs yet. Make some with the form above.", icon=":material/table_rows:")
        return
    asked = of_address_filter()
    with telling():
        pair_views.chips()
        with state.database().reading() as session:
            found = pairs.facets(session, asked.wanted)
        facets(asked.wanted, found)
        _list(asked, found)
    pair_id = asked_id("pair")
    if pair_id is not None:
        detail(pair_id)


main()
