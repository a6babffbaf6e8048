"""One verdict for all pairs of a filter: a review row per pair, marked as bulk by one token, undone as one.

`decide` and `undo` are one transaction. `decide_all` and `undo_all` do the same in short ones, so that a decision about
100,000 pairs keeps nobody else from writing; what stands at each moment is under the same token, so an interrupted one
can be taken back, or finished by asking again with its token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from db import pair_columns, pair_lists, pair_masks, people, videos
from db.pair_filters import STATUSES, PairFilter, where
from db.people import Person
from db.session import Database, now_ms
from db.standings import grouped, rows_of, stack
from db.tables import PairRow, ReviewRow, UserRow
from tempo_core.errors import NotAllowed, Unknown

ACTS = {"accepted": "bulk_accept", "rejected": "bulk_reject", "flagged": "bulk_flag", "pending": "bulk_pending"}
QUIETLY = {"synchronize_session": False}
CHUNK = 500
"""Pairs in one transaction; a single decision waits behind it for a few tenths of a second at most."""
UNDO = "undo:"


@dataclass(frozen=True, slots=True)
class BulkDone:
    """`token` undoes all of it at once."""

    token: str
    n: int


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """What a decision would do: `n` change, the others stay for the reason named."""

    n: int
    held: int
    """By other reviewers at this moment."""
    decided: int
    """Some other way; they change only where the decision says so."""
    same: int
    refused: int
    """By a rule; those are never decided."""


@dataclass(frozen=True, slots=True)
class BulkLine:
    """A bulk decision that was made. `n_undone` of its `n` pairs were brought back."""

    token: str
    verdict: str
    by: str
    n: int
    n_undone: int
    note: str | None
    created_ms: int
    mine: bool


def preview(
    session: Session, person: Person, wanted: PairFilter, verdict: str, *, redecide: bool = False
) -> BulkPreview:
    p, found = PairRow, _by_status(session, wanted)
    # Few pairs are held at any moment, so the filter is asked about those alone.
    locked = list(session.execute(select(p.id).where(~_free(person), p.claimed_by.is_not(None))).scalars())
    held: dict[str, int] = {}
    if locked:
        ours = select(p.status, func.count()).where(p.id.in_(videos.id_list(str(locked))), *where(wanted, session))
        held = {status: n for status, n in session.execute(ours.group_by(p.status))}
    changing = _from(wanted, verdict, redecide=redecide)
    n_held = sum(held.get(status, 0) for status in changing)
    refused, same = found.pop("filtered", 0), found.pop(verdict, 0)
    n = sum(found.get(status, 0) for status in changing)
    return BulkPreview(n - n_held, n_held, sum(found.values()) - n, same, refused)


def decide(
    session: Session, person: Person, wanted: PairFilter, verdict: str, *, note: str | None = None, token: str,
    redecide: bool = False,
) -> BulkDone:  # fmt: skip
    """Decide every pair of a filter that has not this verdict yet and that nobody else holds: a row per pair.

    Without a status the filter means pending pairs (for the verdict "pending": decided ones), with `redecide` those
    that were decided otherwise too. The same token again changes nothing.
    """
    people.require(person, "reviewer")
    changing = _from(wanted, verdict, redecide=redecide)
    before = _bulk_size(session, token)
    if before:
        return BulkDone(token, before)
    _write(session, person, verdict, note, token, [PairRow.status.in_(changing), *where(wanted, session)])
    return BulkDone(token, _bulk_size(session, token))


def decide_all(
    database: Database, person: Person, wanted: PairFilter, verdict: str, *, note: str | None = None, token: str,
    redecide: bool = False,
) -> BulkDone:  # fmt: skip
    """As `decide`, in short transactions. A pair that somebody decided or took in between is left as it is."""
    people.require(person, "reviewer")
    changing = PairRow.status.in_(_from(wanted, verdict, redecide=redecide))
    with database.reading() as session:
        ids = _found(session, wanted, _from(wanted, verdict, redecide=redecide))
    for part in _chunks(ids):
        with database.session() as session:
            _write(session, person, verdict, note, token, [PairRow.id.in_(videos.id_list(str(part))), changing])
    with database.reading() as session:
        return BulkDone(token, _bulk_size(session, token))


def _by_status(session: Session, wanted: PairFilter) -> dict[str, int]:
    """Exact, also where a search has more hits than the lists count."""
    if not wanted.search.strip():
        return dict(pair_lists.counts(session, wanted).status)
    query = select(PairRow.status, func.count()).where(*where(wanted, session)).group_by(PairRow.status)
    return {status: n for status, n in session.execute(query)}


def _found(session: Session, wanted: PairFilter, statuses: Sequence[str]) -> list[int]:
    if not wanted.search.strip():
        c = pair_columns.columns(session)
        changing = np.isin(c.status, [STATUSES.index(status) for status in statuses])
        return list(c.ids[changing & pair_masks.chosen(session, c, wanted)].tolist())
    matches = PairRow.status.in_(statuses), *where(wanted, session)
    return list(session.execute(select(PairRow.id).where(*matches).order_by(PairRow.id)).scalars())


def _from(wanted: PairFilter, verdict: str, *, redecide: bool) -> tuple[str, ...]:
    """The statuses whose pairs change."""
    if verdict not in ACTS:
        raise ValueError(f"There is no bulk verdict {verdict!r}.")
    others = tuple(status for status in STATUSES if status not in (verdict, "filtered"))
    if wanted.status is not None:
        return (wanted.status,) if wanted.status in others else ()
    return others if redecide or verdict == "pending" else ("pending",)


def _free(person: Person) -> ColumnElement[bool]:
    return or_(PairRow.claim_until_ms < now_ms(), PairRow.claimed_by == person.id)


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _write(
    session: Session, person: Person, verdict: str, note: str | None, token: str, which: Sequence[ColumnElement[bool]]
) -> None:
    p, now = PairRow, now_ms()
    values: dict[str, Any] = {
        "pair_id": p.id,
        "pair_version": p.version,
        "reviewer_id": literal(person.id),
        "act": literal(ACTS[verdict]),
        "verdict": literal(verdict),
        "swapped": literal(False, ReviewRow.swapped.type),
        "note": literal(note),
        "token": literal(token).concat(":").concat(p.id),
        "bulk": literal(token),
        "created_ms": literal(now),
    }
    last = session.execute(select(func.coalesce(func.max(ReviewRow.id), 0))).scalar_one()
    rows = select(*values.values()).where(_free(person), *which)
    session.execute(insert(ReviewRow).from_select(list(values), rows, include_defaults=False))
    _move_on(session, token, last, status=verdict)


def undo(session: Session, person: Person, token: str) -> BulkDone:
    """Take a bulk decision back where it still stands; pairs decided again since then keep their newer review."""
    ids = _undoable(session, person, token)
    return BulkDone(UNDO + token, _take_back(session, person, token, ids))


def undo_all(database: Database, person: Person, token: str) -> BulkDone:
    """As `undo`, in short transactions."""
    with database.reading() as session:
        ids, n = _undoable(session, person, token), 0
    for part in _chunks(ids):
        with database.session() as session:
            n += _take_back(session, person, token, part)
    return BulkDone(UNDO + token, n)


def _undoable(session: Session, person: Person, token: str) -> list[int]:
    """The pairs of a decision, if this person may take it back: it is their own, or they are an admin."""
    people.require(person, "reviewer")
    r = ReviewRow
    by = session.execute(select(r.reviewer_id).where(r.bulk == token).limit(1)).scalar_one_or_none()
    if by is None:
        raise Unknown(f"There is no bulk decision {token}.")
    if by != person.id and person.role != "admin":
        raise NotAllowed("This bulk decision is somebody else's. Only they or an admin may take it back.")
    return list(session.execute(select(r.pair_id).where(r.bulk == token).order_by(r.pair_id)).scalars())


def _take_back(session: Session, person: Person, token: str, ids: Sequence[int]) -> int:
    last = session.execute(select(func.coalesce(func.max(ReviewRow.id), 0))).scalar_one()
    new: list[dict[str, Any]] = []
    for pair_id, rows in grouped(rows_of(session, ids)).items():
        before = stack(rows)
        top = next((row for row in rows if before and row.id in before[-1].review_ids), None)
        if top is None or top.bulk != token:
            continue
        new.append({
            "pair_id": pair_id, "pair_version": rows[-1].pair_version + 1, "reviewer_id": person.id, "act": "undo",
            "verdict": before[-2].verdict if len(before) > 1 else "pending", "of_id": top.id,
            "token": f"{UNDO}{token}:{pair_id}", "bulk": UNDO + token, "created_ms": now_ms(),
        })  # fmt: skip
    if new:
        session.execute(insert(ReviewRow), new)
        for verdict in {row["verdict"] for row in new}:
            _move_on(session, UNDO + token, last, status=verdict)
    return len(new)


def _move_on(session: Session, bulk_token: str, last: int, *, status: str) -> None:
    """Bring the pairs of the reviews after `last` to their verdict."""
    r = ReviewRow
    # An expression, to keep SQLite from reading all rows of the token again for each part of it.
    decided = select(r.pair_id).where(r.id > last, r.bulk.concat("") == bulk_token, r.verdict == status)
    moved = update(PairRow).where(PairRow.id.in_(decided))
    values: dict[str, Any] = {"status": status, "version": PairRow.version + 1, "claimed_by": None, "claim_until_ms": 0}
    session.execute(moved.values(**values), execution_options=QUIETLY)


def _bulk_size(session: Session, token: str) -> int:
    return session.execute(select(func.count()).where(ReviewRow.bulk == token)).scalar_one()


def recent(session: Session, person: Person, n: int = 5) -> list[BulkLine]:
    """The last bulk decisions, newest first."""
    r, firsts = ReviewRow, list[int]()
    token = session.execute(select(func.min(r.bulk))).scalar_one()
    while token is not None:  # from token to token: each is a short look into the index, however many pairs it has
        if not token.startswith(UNDO):
            firsts.append(session.execute(select(func.min(r.id)).where(r.bulk == token)).scalar_one())
        token = session.execute(select(func.min(r.bulk)).where(r.bulk > token)).scalar_one()
    query = select(r.bulk, r.act, UserRow.name, r.note, r.created_ms, r.reviewer_id)
    query = query.join(UserRow, UserRow.id == r.reviewer_id).where(r.id.in_(sorted(firsts)[-n:]))
    verdicts = {act: verdict for verdict, act in ACTS.items()}
    return [
        BulkLine(
            str(bulk), verdicts.get(act, act), by, _bulk_size(session, str(bulk)),
            _bulk_size(session, f"{UNDO}{bulk}"), note, at, reviewer_id == person.id,
        )
        for bulk, act, by, note, at, reviewer_id in session.execute(query.order_by(r.id.desc()))
    ]  # fmt: skip
