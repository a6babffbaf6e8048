"""Filters under a name, for everybody: what a page's address holds, so that opening one is following a link."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import people
from db.people import Person
from db.session import now_ms
from db.tables import SavedViewRow, UserRow
from tempo_core.errors import NotAllowed, TempoError, Unknown

LONGEST = 60


@dataclass(frozen=True, slots=True)
class SavedView:
    id: int
    name: str
    query: dict[str, str]
    by: str
    mine: bool


def listing(session: Session, page: str, person: Person) -> list[SavedView]:
    """The views of a page, by name."""
    v = SavedViewRow
    query = select(v.id, v.name, v.query, UserRow.name, v.created_by == person.id)
    rows = session.execute(query.join(UserRow, UserRow.id == v.created_by).where(v.page == page).order_by(v.name))
    return [SavedView(i, name, dict(asked), by, bool(mine)) for i, name, asked, by, mine in rows]


def save(session: Session, person: Person, page: str, name: str, query: dict[str, str]) -> int:
    """Keep a view.

    Raises:
        TempoError: It has no name, or a view of this page has the same one.
    """
    people.require(person, "reviewer")
    row = SavedViewRow(page=page, name=_free(session, page, name), query=dict(query), created_by=person.id,
                       created_ms=now_ms())  # fmt: skip
    session.add(row)
    session.flush()
    return row.id


def rename(session: Session, person: Person, view_id: int, name: str) -> None:
    row = _own(session, person, view_id)
    if name.strip() != row.name:
        row.name = _free(session, row.page, name)
        session.flush()


def delete(session: Session, person: Person, view_id: int) -> None:
    """Forget the name; pairs are not touched."""
    session.delete(_own(session, person, view_id))
    session.flush()


def _own(session: Session, person: Person, view_id: int) -> SavedViewRow:
    people.require(person, "reviewer")
    row = session.get(SavedViewRow, view_id)
    if row is None:
        raise Unknown("This view is not there any more. Somebody deleted it; nothing was changed.")
    if row.created_by != person.id and person.role != "admin":
        raise NotAllowed(f"The view {row.name!r} is somebody else's. Only they or an admin may change it.")
    return row


def _free(session: Session, page: str, name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST:
        raise TempoError(f"The name of a view has 1 to {LONGEST} characters; this one has {len(name)}.")
    taken = select(SavedViewRow.id).where(SavedViewRow.page == page, SavedViewRow.name == name)
    if session.execute(taken).first() is not None:
        raise TempoError(f"There is a view {name!r} already. Choose another name, or delete that one first.")
    return name
