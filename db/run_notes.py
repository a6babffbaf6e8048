"""What a person should be told of a run: notes it wrote, pairs it left out, and that it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, or_, select
from sqlalchemy.orm import Session

from db import dialect, people
from db.people import Person
from db.session import now_ms
from db.tables import JobRow, RunLeftOutRow, RunNoteRow, RunRow, RunSeenRow, UserRow

NEWS = 3
"""Ends of runs that are told at once; older ones are on the runs page."""


@dataclass(frozen=True, slots=True)
class Note:
    """`kind` is an open word, such as "plan", "too_long" or "memory"."""

    kind: str
    text: str
    attempt: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a run that somebody does not know of yet."""

    run_id: int
    recipe: str
    state: str
    error: str | None
    ended_ms: int


def add(session: Session, run_id: int, kind: str, text: str, attempt: int = 1) -> None:
    """Keep a note; the same text again, as a resumed attempt says it, is the same note."""
    values = {"run_id": run_id, "kind": kind, "text": text, "attempt": attempt, "created_ms": now_ms()}
    written = dialect.insert_for(session)(RunNoteRow).values(**values)
    session.execute(written.on_conflict_do_nothing(index_elements=["run_id", "kind", "text"]))


def listing(session: Session, run_id: int) -> tuple[Note, ...]:
    """In the order in which they were written."""
    n = RunNoteRow
    query = select(n.kind, n.text, n.attempt, n.created_ms).where(n.run_id == run_id).order_by(n.id)
    return tuple(Note(*row) for row in session.execute(query))


def leave_out(
    session: Session, run_id: int, n_tokens: Mapping[int, int], n_pairs: int, reason: str = "too_long"
) -> None:
    """Keep which of the `n_pairs` pairs are too long and how long each is, with one note that counts them."""
    if not n_tokens:
        return
    known = set(session.execute(select(RunLeftOutRow.pair_id).where(RunLeftOutRow.run_id == run_id)).scalars())
    rows = [
        {"run_id": run_id, "pair_id": pair_id, "reason": reason, "n_tokens": n}
        for pair_id, n in n_tokens.items()
        if pair_id not in known
    ]
    if rows:
        session.execute(insert(RunLeftOutRow), rows)
    add(session, run_id, reason, too_long(len(n_tokens), n_pairs, max(n_tokens.values())))


def too_long(n: int, n_pairs: int, longest: int) -> str:
    """In the words of the design: nothing is ever cut, so the count must be seen."""
    are = "is" if n == 1 else "are"
    return f"{n:,} of {n_pairs:,} pairs {are} too long and left out (longest {longest:,} tokens)"


def left_out(session: Session, run_id: int, limit: int = 200) -> dict[int, int]:
    """Tokens of the pairs that were left out, the longest first."""
    row = RunLeftOutRow
    query = select(row.pair_id, row.n_tokens).where(row.run_id == run_id)
    return {pair_id: n for pair_id, n in session.execute(query.order_by(row.n_tokens.desc(), row.pair_id).limit(limit))}


# ---- the end of a run ------------------------------------------------------------------------------------------------
def news(session: Session, person: Person) -> tuple[Ended, ...]:
    """The newest runs that ended since this person is here and that the person has not seen ended."""
    r, seen = RunRow, RunSeenRow
    columns: tuple[Any, ...] = (r.id, r.recipe, r.state, func.coalesce(r.error, JobRow.error), r.ended_ms)
    query = (
        select(*columns)
        .join(UserRow, UserRow.id == person.id)
        .outerjoin(JobRow, JobRow.id == r.job_id)
        .outerjoin(seen, (seen.run_id == r.id) & (seen.user_id == person.id))
        .where(r.ended_ms >= UserRow.created_ms, or_(seen.ended_ms.is_(None), seen.ended_ms < r.ended_ms))
        .order_by(r.ended_ms.desc(), r.id)
        .limit(NEWS)
    )
    return tuple(Ended(*row) for row in session.execute(query))


def saw(session: Session, person: Person, run_id: int) -> None:
    """This person knows how the run ended; nothing happens to one that goes on."""
    people.require(person, "viewer")
    ended_ms = session.execute(select(RunRow.ended_ms).where(RunRow.id == run_id)).scalar_one_or_none()
    if ended_ms is None:
        return
    written = dialect.insert_for(session)(RunSeenRow).values(run_id=run_id, user_id=person.id, ended_ms=ended_ms)
    fresh = {"ended_ms": written.excluded.ended_ms}
    session.execute(written.on_conflict_do_update(index_elements=["run_id", "user_id"], set_=fresh))
