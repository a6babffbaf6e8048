"""One verdict for all pairs of a filter: a review row per pair, in one transaction, marked as bulk, undone as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.orm import Session

from db import people
from db.pair_filters import PairFilter, where
from db.people import Person
from db.session import now_ms
from db.standings import grouped, rows_of, stack
from db.tables import PairRow, ReviewRow
from tempo_core.errors import Unknown

ACTS = {"accepted": "bulk_accept", "rejected": "bulk_reject", "flagged": "bulk_flag"}
QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class BulkDone:
    """`token` undoes all of it at once."""

    token: str
    n: int


def decide(
    session: Session, person: Person, wanted: PairFilter, verdict: str, *, note: str | None = None, token: str
) -> BulkDone:
    """Decide every pair of a filter that has not this verdict yet and that nobody else holds: a row per pair.

    Without a status the filter means pending pairs. The same token again changes nothing.
    """
    people.require(person, "reviewer")
    if verdict not in ACTS:
        raise ValueError(f"There is no bulk verdict {verdict!r}.")
    before = _bulk_size(session, token)
    if before:
        return BulkDone(token, before)
    p, now = PairRow, now_ms()
    matches = where(wanted if wanted.status else wanted.with_status("pending"))
    free = (p.claim_until_ms < now) | (p.claimed_by == person.id)
    rows: Any = select(
        p.id, p.version, literal(person.id), literal(ACTS[verdict]), literal(verdict),
        literal(False, ReviewRow.swapped.type), literal(note), literal(token).concat(":").concat(p.id), literal(token),
        literal(now),
    ).where(p.status.not_in((verdict, "filtered")), free, *matches)  # fmt: skip
    columns = [
        "pair_id",
        "pair_version",
        "reviewer_id",
        "act",
        "verdict",
        "swapped",
        "note",
        "token",
        "bulk",
        "created_ms",
    ]
    session.execute(insert(ReviewRow).from_select(columns, rows, include_defaults=False))
    _move_on(session, token, status=verdict)
    return BulkDone(token, _bulk_size(session, token))


def undo(session: Session, person: Person, token: str) -> BulkDone:
    """Take a bulk decision back where it still stands; pairs decided again since then keep their newer review."""
    people.require(person, "reviewer")
    undone = f"undo:{token}"
    ids = list(session.execute(select(ReviewRow.pair_id).where(ReviewRow.bulk == token)).scalars())
    if not ids:
        raise Unknown(f"There is no bulk decision {token}.")
    new: list[dict[str, Any]] = []
    for pair_id, rows in grouped(rows_of(session, ids)).items():
        before = stack(rows)
        top = next((row for row in rows if before and row.id in before[-1].review_ids), None)
        if top is None or top.bulk != token:
            continue
        verdict = before[-2].verdict if len(before) > 1 else "pending"
        new.append(
            {
                "pair_id": pair_id,
                "pair_version": rows[-1].pair_version + 1,
                "reviewer_id": person.id,
                "act": "undo",
                "verdict": verdict,
                "of_id": top.id,
                "token": f"{undone}:{pair_id}",
                "bulk": undone,
                "created_ms": now_ms(),
            }
        )
    if new:
        session.execute(insert(ReviewRow), new)
        for verdict in {row["verdict"] for row in new}:
            _move_on(session, undone, status=verdict)
    return BulkDone(undone, len(new))


def _move_on(session: Session, bulk_token: str, *, status: str) -> None:
    decided = select(ReviewRow.pair_id).where(ReviewRow.bulk == bulk_token, ReviewRow.verdict == status)
    moved = update(PairRow).where(PairRow.id.in_(decided))
    values: dict[str, Any] = {"status": status, "version": PairRow.version + 1, "claimed_by": None, "claim_until_ms": 0}
    session.execute(moved.values(**values), execution_options=QUIETLY)


def _bulk_size(session: Session, token: str) -> int:
    return session.execute(select(func.count()).where(ReviewRow.bulk == token)).scalar_one()
