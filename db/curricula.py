"""Saved curricula: what orders the pairs, where the levels are cut, and how the stages follow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import people
from db.pair_filters import checked
from db.people import Person
from db.session import now_ms
from db.tables import CurriculumRow, canonical
from tempo_core.errors import Unknown
from tempo_core.recipes import PACINGS


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
    sha256 = hashlib.sha256(canonical({"axis": axis, "thresholds": cuts, "pacing": pacing}).encode()).hexdigest()
    known = session.execute(select(CurriculumRow.id).where(CurriculumRow.sha256 == sha256)).scalar_one_or_none()
    if known is not None:
        return known
    row = CurriculumRow(
        sha256=sha256,
        name=name,
        axis=axis,
        thresholds=cuts,
        pacing=pacing,
        created_by=person.id,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    return row.id


def get(session: Session, curriculum_id: int) -> CurriculumCard:
    row = session.get(CurriculumRow, curriculum_id)
    if row is None:
        raise Unknown(f"There is no curriculum {curriculum_id}.")
    return _card(row)


def listing(session: Session) -> list[CurriculumCard]:
    return [_card(row) for row in session.execute(select(CurriculumRow).order_by(CurriculumRow.id.desc())).scalars()]


def _card(row: CurriculumRow) -> CurriculumCard:
    first, second, third = row.thresholds
    return CurriculumCard(row.id, row.sha256, row.name, row.axis, (first, second, third), row.pacing, row.created_ms)
