"""What reviewers are asked to do. A changed text is a new row, so each review names the text that it followed.

Rows are never changed; which of them holds now is a setting, so that an earlier text can hold again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db import people, settings
from db.people import Person
from db.session import now_ms
from db.tables import GuidelineRow, ReviewRow, UserRow
from tempo_core.errors import BadSettings, Unknown

CURRENT = "guideline"
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Guideline:
    """One text. `sha256` of it is what reviews and opinions hold; `number` counts the texts from 1."""

    sha256: str
    text: str
    created_ms: int
    number: int = 1
    by: str = ""


def current(session: Session) -> Guideline | None:
    """The text that holds now, or None while nobody wrote one."""
    named = settings.read(session, CURRENT)
    return get(session, named[0]) if named else None


def write(session: Session, person: Person, text: str) -> Guideline:
    """Let this text hold from now on; one that was written before keeps its row.

    Raises:
        BadSettings: The text is empty or too long.
    """
    people.require(person, "admin")
    text = text.strip().replace("\r\n", "\n")
    if not text or len(text) > LONGEST:
        raise BadSettings(
            f"Guidelines hold 1 to {LONGEST:,} characters; these hold {len(text):,}. Say what to look for, when to "
            "reject and when to flag."
        )
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if session.execute(select(GuidelineRow.id).where(GuidelineRow.sha256 == sha256)).first() is None:
        session.add(GuidelineRow(sha256=sha256, text=text, created_by=person.id, created_ms=now_ms()))
        session.flush()
    if settings.read(session, CURRENT) != [sha256]:
        settings.write(session, person, CURRENT, [sha256])
    return get(session, sha256)


def get(session: Session, sha256: str) -> Guideline:
    found = session.execute(_guidelines().where(GuidelineRow.sha256 == sha256)).one_or_none()
    if found is None:
        raise Unknown(f"There are no guidelines {sha256[:12]}.")
    return Guideline(*found)


def versions(session: Session) -> list[Guideline]:
    """Every text, the newest first."""
    return [Guideline(*row) for row in session.execute(_guidelines().order_by(GuidelineRow.id.desc()))]


def followed(session: Session) -> dict[str, int]:
    """How many reviews followed each text, by its hash."""
    r = ReviewRow.guideline_sha256
    rows = session.execute(select(r, func.count()).where(r.is_not(None)).group_by(r))
    return {str(sha256): n for sha256, n in rows}


def _guidelines() -> Select[Any]:
    g = GuidelineRow
    columns: tuple[Any, ...] = (g.sha256, g.text, g.created_ms, g.id, UserRow.name)
    return select(*columns).join(UserRow, UserRow.id == g.created_by)
