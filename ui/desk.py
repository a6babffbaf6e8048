"""The review desk on a page: the component, its queue, and the outbox that brings decisions to the database.

A decision travels as part of one state value (everything that is not acknowledged yet), never as an event, because
Streamlit merges events that come close together. Each item carries a token and is written once, however often it
arrives; the answer names the tokens that were taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from db import reviews
from db.pair_filters import PairFilter
from db.people import Person
from db.reviews import Conflict, ReviewItem
from db.session import Database
from tempo_core.errors import DatabaseBusy, TempoError
from ui import desk_data, state

REASONS = (
    "no visible change",
    "responses equivalent",
    "chosen is wrong",
    "rejected is right",
    "bad video",
    "other",
)
"""Why a pair was rejected, keys 1-6. Never asked for before the next pair is shown."""

SCRIPTS = (
    "desk_dom.js",
    "desk_time.js",
    "desk_players.js",
    "desk_map.js",
    "desk_text.js",
    "desk_outbox.js",
    "desk.js",
)
"""One module in pieces: read into one string, so that there is no build step."""

KEY = "desk"
_ACKED, _TAKEN = "desk_acked", "desk_taken"
_NOTHING: dict[str, Any] = {"beat": 0, "items": []}


def _read(*names: str) -> str:
    return "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


_component = st.components.v2.component(
    "tempo_desk", html='<div class="mount"></div>', css=_read("desk.css"), js=_read(*SCRIPTS)
)

_page = st.components.v2.component("tempo_desk_page", html="<i></i>", css=_read("desk_page.css"), isolate_styles=False)


@st.fragment
def desk(wanted: PairFilter, pinned: Sequence[int] = ()) -> None:
    """Review the pending pairs of a filter. The `pinned` ones are shown first, whatever was decided about them."""
    database, person = state.database(), state.person()
    taken = st.session_state.get(_TAKEN, [])
    first = [pair_id for pair_id in pinned if pair_id not in taken]
    data = desk_data.desk_data(database, state.home(), person, wanted, state.sign, pinned=first)
    acked = st.session_state.get(_ACKED, {})
    sent = _component(
        key=KEY,
        # As bytes: looking through a dict for data frames, Streamlit would load pandas and Arrow (60 MB) for nothing.
        data=json.dumps({**data, "acked": acked, "reasons": list(REASONS)}).encode(),
        default={"outbox": _NOTHING},
        on_outbox_change=_take_in_callback,
    )
    # After a restart of the server the session is new and no callback fires, so look here too.
    _page(key="desk_page")
    items = _items(sent.outbox)
    if any(item["token"] not in acked for item in items):
        take(database, person, items)
        st.rerun(scope="app")


def _take_in_callback() -> None:
    sent = st.session_state[KEY].get("outbox", _NOTHING)
    take(state.database(), state.person(), _items(sent))


def take(database: Database, person: Person, items: Sequence[Mapping[str, Any]]) -> None:
    """Write what has not been written and remember the answers to exactly these items."""
    known = st.session_state.get(_ACKED, {})
    acked: dict[str, Any] = {}
    for item in items:
        token = item["token"]
        answer = known[token] if token in known else _written(database, person, item)
        if answer is not None:
            acked[token] = answer
    st.session_state[_ACKED] = acked
    st.session_state[_TAKEN] = sorted({*st.session_state.get(_TAKEN, []), *(item["pair"] for item in items)})


def _written(database: Database, person: Person, item: Mapping[str, Any]) -> Any:
    """The answer to one item, or None while the database is busy: the browser keeps the item and sends it again."""
    try:
        with database.session() as session:
            done = reviews.decide(session, person, _review_item(item))
    except DatabaseBusy:
        return None
    except (TempoError, ValueError) as error:
        return {"conflict": {"why": str(error)}}
    if isinstance(done, Conflict):
        return {"conflict": {"by": done.by, "verdict": done.verdict, "age_s": done.age_s, "why": done.text}}
    return "saved"


def _review_item(item: Mapping[str, Any]) -> ReviewItem:
    return ReviewItem(
        token=item["token"],
        pair_id=item["pair"],
        version=item["version"],
        act=item["act"],
        of=item.get("of"),
        reason=item.get("reason"),
        chosen=item.get("chosen"),
        rejected=item.get("rejected"),
        note=item.get("note"),
        dwell_ms=item.get("dwell_ms"),
    )


def _items(outbox: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What the browser sent, as far as it has the right shape: it is input like any other."""
    items = (outbox or _NOTHING).get("items", [])
    return [item for item in items if isinstance(item, Mapping) and _whole(item)]


def _whole(item: Mapping[str, Any]) -> bool:
    return (
        isinstance(item.get("token"), str)
        and isinstance(item.get("act"), str)
        and isinstance(item.get("pair"), int)
        and isinstance(item.get("version"), int)
    )
