"""Saved curricula: what orders the pairs, where the levels are cut, and how the stages follow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from db import people
from db.pair_filters import QUARTERS, checked
from db.people import Person
from db.session import now_ms
from db.tables import CurriculumRow, RunRow, UserRow, canonical
from tempo_core.errors import BadSettings, NotAllowed, Unknown
from tempo_core.recipes import PACINGS

LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class CurriculumCard:
    """`thresholds` are percentiles inside the kind."""

    id: int
    sha256: str
    name: str
    axis: str
    thresholds: tuple[float, float, float]
    pacing: str
    created_ms: int
    by: str = ""
    created_by: int = 0
    n_runs: int = 0


def save(
    session: Session,
    person: Person,
    name: str,
    thresholds: tuple[float, float, float],
    axis: str = "measured",
    pacing: str = "strict",
) -> int:
    """The id of this curriculum; the same settings are the same curriculum, whatever the name."""
    people.require(person, "reviewer")
    if pacing not in PACINGS:
        raise ValueError(f"There is no pacing {pacing!r}; known are {', '.join(PACINGS)}.")
    cuts = list(checked(thresholds))
    known = same(session, thresholds, axis, pacing)
    if known is not None:
        return known.id
    row = CurriculumRow(
        sha256=_sha256(thresholds, axis, pacing),
        name=_free(session, name),
        axis=axis,
        thresholds=cuts,
        pacing=pacing,
        created_by=person.id,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    return row.id


def same(
    session: Session, thresholds: tuple[float, float, float], axis: str = "measured", pacing: str = "strict"
) -> CurriculumCard | None:
    """The saved curriculum with these settings."""
    sha256 = _sha256(thresholds, axis, pacing)
    found = session.execute(_curricula().where(CurriculumRow.sha256 == sha256)).one_or_none()
    return None if found is None else _card(found)


def of_version(session: Session, criteria: Mapping[str, Any], difficulty: str, pacing: str) -> CurriculumCard | None:
    """The saved curriculum of a run that trains a version frozen by these criteria in the order of `pacing`."""
    axis = "paper" if difficulty == "paper" else str(criteria.get("level_axis", "measured"))
    first, second, third = QUARTERS if axis == "paper" else criteria.get("level_thresholds", QUARTERS)
    return same(session, (first, second, third), axis, pacing)


def rename(session: Session, person: Person, curriculum_id: int, name: str) -> None:
    """Call a curriculum of one's own otherwise; an admin may rename any."""
    card = _own(session, person, curriculum_id)
    if name.strip() != card.name:
        session.execute(
            update(CurriculumRow).where(CurriculumRow.id == card.id).values(name=_free(session, name, card.id))
        )


def remove(session: Session, person: Person, curriculum_id: int) -> None:
    """Forget a curriculum of one's own that no run names.

    Raises:
        NotAllowed: It is somebody else's, or a run names it.
    """
    card = _own(session, person, curriculum_id)
    if card.n_runs:
        runs = "a run names" if card.n_runs == 1 else f"{card.n_runs} runs name"
        raise NotAllowed(f"{card.name} stays, because {runs} it. Rename it if the name is wrong.")
    session.execute(delete(CurriculumRow).where(CurriculumRow.id == card.id))


def get(session: Session, curriculum_id: int) -> CurriculumCard:
    found = session.execute(_curricula().where(CurriculumRow.id == curriculum_id)).one_or_none()
    if found is None:
        raise Unknown(f"There is no curriculum {curriculum_id}.")
    return _card(found)


def named(session: Session, name: str) -> CurriculumCard:
    """A curriculum by its name or its number, as a command line says it."""
    for card in listing(session):
        if name in (card.name, str(card.id)):
            return card
    raise Unknown(f"There is no curriculum {name!r}. The Curriculum page saves them.")


def listing(session: Session) -> list[CurriculumCard]:
    """Every saved curriculum, the newest first."""
    return [_card(row) for row in session.execute(_curricula().order_by(CurriculumRow.id.desc()))]


def _own(session: Session, person: Person, curriculum_id: int) -> CurriculumCard:
    people.require(person, "reviewer")
    card = get(session, curriculum_id)
    if card.created_by != person.id and person.role != "admin":
        raise NotAllowed(f"{card.name} is {card.by}'s. Save these settings under a name of your own, or ask an admin.")
    return card


def _free(session: Session, name: str, own_id: int | None = None) -> str:
    """The name as it is stored, if nothing else is called so."""
    bare = " ".join(name.split())
    if not bare or len(bare) > LONGEST_NAME:
        raise BadSettings(f"A curriculum's name holds 1 to {LONGEST_NAME} characters; {bare[:90]!r} does not.")
    taken = session.execute(select(CurriculumRow.id).where(CurriculumRow.name == bare)).scalars().all()
    if any(other != own_id for other in taken):
        raise BadSettings(f"Another curriculum is called {bare!r}. Choose a name that tells them apart.")
    return bare


def _sha256(thresholds: tuple[float, float, float], axis: str, pacing: str) -> str:
    settings = {"axis": axis, "thresholds": list(checked(thresholds)), "pacing": pacing}
    return hashlib.sha256(canonical(settings).encode()).hexdigest()


def _curricula() -> Select[Any]:
    c = CurriculumRow
    n_runs = select(func.count()).where(RunRow.curriculum_id == c.id).scalar_subquery()
    columns: tuple[Any, ...] = (
        c.id, c.sha256, c.name, c.axis, c.thresholds, c.pacing, c.created_ms, UserRow.name, c.created_by, n_runs,
    )  # fmt: skip
    return select(*columns).join(UserRow, UserRow.id == c.created_by)


def _card(row: Any) -> CurriculumCard:
    id_, sha256, name, axis, cuts, *rest = row
    first, second, third = cuts
    return CurriculumCard(id_, sha256, name, axis, (first, second, third), *rest)
