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


def add(session: Session, subject: str, name: str, role: Role, email: str | None = None) -> Person:
    """`subject` is `issuer|subject` of the login; known subjects keep their row and role."""
    row = session.execute(select(UserRow).where(UserRow.subject == subject)).scalar_one_or_none()
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


def require(person: Person, role: Role) -> None:
    """Raise `NotAllowed` unless the person's role covers `role`."""
    if person.role not in ROLES or ROLES.index(person.role) < ROLES.index(role):
        raise NotAllowed(f"{person.name} is {person.role}; this needs {role}. Ask an admin to change the role.")


def _person(row: UserRow) -> Person:
    return Person(row.id, row.name, row.role if row.active else "inactive")
