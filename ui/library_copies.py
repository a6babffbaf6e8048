"""The same video twice: byte for byte at several places, or the same footage in several files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from db import jobs, videos, withdrawals
from db.people import ROLES
from db.videos import VideoCard
from jobs.payloads import CopiesPayload
from ui import state
from ui.acting import queue
from ui.library_videos import verdict_of, withdraw_form
from ui.text import escaped

SHOWN = 20
"""Groups a page; those that still hold two videos in use come first."""


def show() -> None:
    st.markdown("**One file at several places.** It is one video; nothing is used twice.")
    with state.database().reading() as session:
        places = videos.in_several_places(session)
        names = videos.cards(session, places)
        newest = jobs.latest(session, 1, kinds=("copies",), states=("succeeded",))
    if places:
        rows = [
            {"video": names[i].name, "places": len(at), "where": "\n".join(map(str, at))} for i, at in places.items()
        ]
        st.dataframe(rows, hide_index=True, column_config={"where": st.column_config.TextColumn(width="large")})
    else:
        st.caption("None: every file lies at one place.")
    st.markdown("**The same footage in several files**: encoded again, scaled, or cut at its ends.")
    st.caption(
        "Compared are tiny pictures, two a second, that the scan kept. Mirrored or newly framed footage is not found, "
        "and two takes of one still scene may look alike: look before you withdraw."
    )
    if state.person().role == ROLES[-1] and st.button("Look for copies", icon=":material/content_copy:"):
        queue(CopiesPayload())
    if newest:
        _groups(newest[0].result or {})


def _groups(result: Mapping[str, object]) -> None:
    found: Sequence[Sequence[int]] = result.get("groups", [])  # type: ignore[assignment]
    if not found:
        st.success(f"No copies among {int(str(result.get('videos', 0))):,} videos.", icon=":material/check_circle:")
        return
    with state.database().reading() as session:
        cards = videos.cards(session, [i for group in found for i in group])
    groups = [[cards[i] for i in group if i in cards] for group in found]
    groups = sorted((group for group in groups if len(group) > 1), key=lambda group: -_in_use(group))
    n_double = sum(max(0, _in_use(group) - 1) for group in groups)
    are = "group" if len(groups) == 1 else "groups"
    doubles = "1 video is" if n_double == 1 else f"{n_double:,} videos are"
    st.markdown(f"{len(groups):,} {are}; {doubles} in use although another of their group is.")
    pages = -(-len(groups) // SHOWN)
    page = st.number_input("Page", 1, pages, key="copies_page") if pages > 1 else 1
    shares = {tuple(sorted(row[:2])): row[2] for row in result.get("alike", [])}  # type: ignore[attr-defined]
    for group in groups[SHOWN * (page - 1) : SHOWN * page]:
        _group(group, shares)


def _in_use(group: Sequence[VideoCard]) -> int:
    return sum(card.status == "ok" for card in group)


def _group(group: Sequence[VideoCard], shares: Mapping[tuple[int, ...], float]) -> None:
    """Keep the one with most pairs, then the biggest picture; the choice can be changed."""
    order = sorted(group, key=lambda c: (c.status != "ok", -c.n_pairs, -(c.width or 0) * (c.height or 0), c.id))
    first = order[0]
    with st.container(border=True):
        rows = [
            {
                "video": card.name, "state": verdict_of(card)[0], "picture": f"{card.width} x {card.height}",
                "seconds": card.duration_s, "pairs": card.n_pairs,
                "shared": shares.get(tuple(sorted((card.id, first.id)))),
                "open": f"/library?view=videos&video={card.id}",
            }
            for card in order
        ]  # fmt: skip
        st.dataframe(rows, hide_index=True, column_config={
            "seconds": st.column_config.NumberColumn(format="%.1f"),
            "shared": st.column_config.NumberColumn(format="percent", help="With the first of the group"),
            "open": st.column_config.LinkColumn(display_text="open"),
        })  # fmt: skip
        if _in_use(group) > 1 and state.person().role == ROLES[-1]:
            used = {card.id: card for card in order if card.status == "ok"}
            kept = st.selectbox("Keep", list(used), format_func=lambda i: f"{used[i].name} (video {i})",
                                key=f"keep_{first.id}")  # fmt: skip
            others = [i for i in used if i != kept]
            with st.popover(f"Withdraw the other {len(others):,}", icon=":material/block:"):
                withdraw_form(others, f"copies_{first.id}", f"Copy of video {kept}", cause="other")
        elif all(card.reason == withdrawals.REASON or card.id == first.id for card in order):
            st.caption(f":material/check: Only {escaped(first.name)} is in use.")
