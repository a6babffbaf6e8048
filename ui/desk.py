"""The review desk on a page: the component, its queue, and the outbox that brings decisions to the database.

A decision travels as part of one state value (everything that is not acknowledged yet), never as an event, because
Streamlit merges events that come close together. Each item carries a token and is written once, however often it
arrives; the answer names the tokens that were taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from db import claims, guidelines, opinions, reviews
from db.pair_filters import PairFilter
from db.people import Person
from db.reviews import Conflict, ReviewItem, Saved
from db.session import Database
from tempo_core.errors import DatabaseBusy, NoSpace, TempoError, Unknown
from ui import desk_around, desk_campaign, desk_data, state
from ui.text import escaped

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SCRIPTS = (
    "desk_dom.js",
    "desk_time.js",
    "desk_players.js",
    "desk_map.js",
    "desk_frames.js",
    "desk_text.js",
    "desk_blind.js",
    "desk_keys.js",
    "desk_header.js",
    "desk_panels.js",
    "desk_palette.js",
    "desk_outbox.js",
    "desk_view.js",
    "desk.js",
)
"""One module in pieces: read into one string, so that there is no build step."""

KEY = "desk"
_ACKED, _TAKEN, _TROUBLE = "desk_acked", "desk_taken", "desk_trouble"
_KEPT = "What you decided is kept in this browser and sent again."
_NOTHING: dict[str, Any] = {"beat": 0, "items": []}


def _read(*names: str) -> str:
    return "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


_component = st.components.v2.component(
    "tempo_desk", html='<div class="mount"></div>', css=_read("desk.css"), js=_read(*SCRIPTS)
)

_page = st.components.v2.component("tempo_desk_page", html="<i></i>", css=_read("desk_page.css"), isolate_styles=False)


@st.fragment
def desk(wanted: PairFilter, pinned: Sequence[int] = (), campaign_id: int | None = None) -> None:
    """Review the pending pairs of a filter, or give opinions on those of a campaign.

    The `pinned` pairs of a filter are shown first, whatever was decided about them.
    """
    database, person = state.database(), state.person()
    # One component for each campaign: what it shows is settled when it is made.
    key = KEY if campaign_id is None else f"{KEY}-{campaign_id}"
    if campaign_id is None:
        taken = st.session_state.get(_TAKEN, [])
        first = [pair_id for pair_id in pinned if pair_id not in taken]
        asked = _asked(st.session_state.get(key))
        data = desk_data.desk_data(database, state.home(), person, wanted, state.sign, pinned=first, asked=asked)
    else:
        try:
            data = desk_campaign.campaign_data(database, state.home(), person, campaign_id, state.sign)
        except (DatabaseBusy, NoSpace) as error:
            st.error(f"{escaped(str(error))} {_KEPT}", icon=":material/save:")
            st.button("Try again")
            return
    if trouble := st.session_state.get(_TROUBLE) or data.get("trouble"):
        st.error(f"{escaped(trouble)} {_KEPT}", icon=":material/save:")
    acked = st.session_state.get(_ACKED, {})
    sent = _component(
        key=key,
        # As bytes: looking through a dict for data frames, Streamlit would load pandas and Arrow (60 MB) for nothing.
        data=json.dumps({**data, **desk_around.around(database, person, data["mode"]), "acked": acked}).encode(),
        default={"outbox": _NOTHING},
        on_outbox_change=partial(_take_in_callback, key),
    )
    # After a restart of the server the session is new and no callback fires, so look here too.
    _page(key="desk_page")
    items = _items(sent.outbox)
    # Only when something could be written: on a full disk this would never end.
    if any(item["token"] not in acked for item in items) and take(database, person, items):
        st.rerun(scope="app")


def _asked(before: Any) -> int | None:
    """The number of the pair that the browser wants to see, if it wants one."""
    number = ((before or {}).get("outbox") or {}).get("want")
    return number if isinstance(number, int) and 0 < number < 2**53 else None


def _take_in_callback(key: str) -> None:
    sent = st.session_state[key].get("outbox", _NOTHING)
    take(state.database(), state.person(), _items(sent))


def take(database: Database, person: Person, items: Sequence[Mapping[str, Any]]) -> bool:
    """Write what has not been written and remember the answers to exactly these items; whether one is new."""
    known = st.session_state.get(_ACKED, {})
    acked: dict[str, Any] = {}
    st.session_state[_TROUBLE] = None
    for item in items:
        token = item["token"]
        try:
            answer = known[token] if token in known else _written(database, person, item)
        except (DatabaseBusy, NoSpace) as error:
            # Without an answer the browser keeps the item and sends it again.
            st.session_state[_TROUBLE] = str(error)
            continue
        acked[token] = answer
    st.session_state[_ACKED] = acked
    # What could not be written stays in sight.
    done = {item["pair"] for item in items if item["token"] in acked}
    st.session_state[_TAKEN] = sorted({*st.session_state.get(_TAKEN, []), *done})
    return not acked.keys() <= known.keys()


def _written(database: Database, person: Person, item: Mapping[str, Any]) -> Any:
    """The answer to one item.

    Raises:
        DatabaseBusy, NoSpace: Nothing is wrong with the item; it can be written later.
    """
    try:
        with database.session() as session:
            done = _saved(session, person, item)
    except (DatabaseBusy, NoSpace):
        raise
    except (TempoError, ValueError) as error:
        return {"conflict": {"why": str(error)}}
    if isinstance(done, Conflict):
        return {"conflict": {"by": done.by, "verdict": done.verdict, "age_s": done.age_s, "why": done.text}}
    return "saved"


def _saved(session: Session, person: Person, item: Mapping[str, Any]) -> Saved | Conflict | None:
    """One item as a review, or as an opinion in the campaign that it names."""
    campaign_id, given = item.get("campaign"), _review_item(session, item)
    if campaign_id is None:
        done = reviews.decide(session, person, given)
        if given.act == "undo" and isinstance(done, Saved) and done.status == "pending":
            claims.hold(session, person, given.pair_id)  # after a reload it is the first again
        return done
    if given.act == "hold":
        return None  # a campaign hands the pair out again by itself
    return opinions.give(session, person, campaign_id, given, left_is_chosen=None)


def _review_item(session: Session, item: Mapping[str, Any]) -> ReviewItem:
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
        guideline_sha256=_followed(session, item.get("guideline")),
    )


def _followed(session: Session, sha256: Any) -> str | None:
    """The guidelines that the reviewer had before them, if there are such."""
    if not isinstance(sha256, str):
        return None
    try:
        return guidelines.get(session, sha256).sha256
    except Unknown:
        return None


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
        and isinstance(item.get("campaign"), int | None)
        and isinstance(item.get("dwell_ms"), int | None)
        and all(isinstance(item.get(name), str | None) for name in ("of", "reason", "chosen", "rejected", "note"))
    )
