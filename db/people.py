"""Who acts, and what they may do. Without a login there is one person, `local`, who may do everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import UserRow
from tempo_core.errors import NotAllowed, Unknown

Role = Literal["viewer", "reviewer", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "reviewer", "admin")
"""From the least to the most; each may do what those before it may."""

LOCAL = "local|local"


@dataclass(frozen=True, slots=True)
class Person:
    id: int
    name: str
    role: str


def local(session: Session) -> Person:
    """The person of a studio without login. Made by `migrate.upgrade`, so a snapshot finds it too."""
    found = session.execute(select(UserRow).where(UserRow.subject == LOCAL)).scalar_one_or_none()
    return _person(found) if found is not None else add(session, LOCAL, "local", "admin")


def known(session: Session, subject: str) -> Person | None:
    """Who signed in as `issuer|subject` before, or None."""
    row = session.execute(select(UserRow).where(UserRow.subject == subject)).scalar_one_or_none()
    return None if row is None else _person(row)


def add(
    session: Session, subject: str, name: str, role: Role, email: str | None = None, *, at_least: bool = False
) -> Person:
    """`subject` is `issuer|subject` of the login; known subjects keep their row and role.

    Args:
        at_least: Raise a known person to this role, as the list of admins in the settings does.
    """
    row = session.execute(select(UserRow).where(UserRow.subject == subject)).scalar_one_or_none()
    if row is not None and at_least and not may(_person(row), role):
        row.role, row.active = role, True
        session.flush()
    if row is None:
        row = UserRow(subject=subject, email=email, name=name, role=role, created_ms=now_ms())
        session.add(row)
        session.flush()
    return _person(row)


def get(session: Session, person_id: int) -> Person:
    row = session.get(UserRow, person_id)
    if row is None:
        raise Unknown(f"There is no person {person_id}.")
    return _person(row)


@dataclass(frozen=True, slots=True)
class PersonLine:
    """A person in the list. `local`: the one of a studio without login, whom nobody can sign in as."""

    id: int
    name: str
    email: str | None
    role: str
    active: bool
    local: bool
    created_ms: int


def listing(session: Session) -> list[PersonLine]:
    """Everybody who ever entered, in order of arrival."""
    rows = session.execute(select(UserRow).order_by(UserRow.id)).scalars()
    return [PersonLine(r.id, r.name, r.email, r.role, r.active, r.subject == LOCAL, r.created_ms) for r in rows]


def set_role(session: Session, person: Person, person_id: int, role: Role) -> None:
    """Give somebody else a role. Nobody changes their own, so that the last admin cannot lock everybody out."""
    row = _other(session, person, person_id)
    if role not in ROLES:
        raise Unknown(f"There is no role {role}. Known are {', '.join(ROLES)}.")
    row.role = role
    session.flush()


def set_active(session: Session, person: Person, person_id: int, active: bool) -> None:
    """Let somebody else in, or no longer. What they did stays; pairs they hold become free when their lease ends."""
    _other(session, person, person_id).active = active
    session.flush()


def _other(session: Session, person: Person, person_id: int) -> UserRow:
    require(person, "admin")
    row = session.get(UserRow, person_id)
    if row is None:
        raise Unknown(f"There is no person {person_id}.")
    if person_id == person.id:
        raise NotAllowed("Nobody changes their own role. Ask another admin, or name one in [tempo] admins.")
    return row


def may(person: Person, role: Role) -> bool:
    """Whether the person's role covers `role`; for pages that say beforehand what cannot be done."""
    return person.role in ROLES and ROLES.index(person.role) >= ROLES.index(role)


def require(person: Person, role: Role) -> None:
    """Raise `NotAllowed` unless the person's role covers `role`."""
    if not may(person, role):
        raise NotAllowed(f"{person.name} is {person.role}; this needs {role}. Ask an admin to change the role.")


def _person(row: UserRow) -> Person:
    return Person(row.id, row.name, row.role if row.active else "inactive")
