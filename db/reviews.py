"""Decisions about pairs: append-only rows, told apart by a token, so that nothing is lost and nothing counts twice.

Undo and a reason given later are new rows. What stands is read from the rows in order: `standings`.
Invariant: `pair.version - 1` is the number of the pair's reviews.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db import claims, people
from db.people import Person
from db.session import now_ms
from db.standings import rows_of, stack
from db.tables import CommentRow, PairRow, ReviewRow, UserRow
from tempo_core.errors import TempoError, Unknown

VERDICTS = {"accept": "accepted", "swap": "accepted", "edit": "accepted", "reject": "rejected", "flag": "flagged"}
ABOUT_ANOTHER = ("undo", "reason")
QUIETLY = {"synchronize_session": False}
LONGEST_TEXT = 100_000
"""Characters of an edited answer or a note (our choice): every page that shows the pair would carry more."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One thing a reviewer did. `of` is the token of the review that undo or reason speaks about.

    `chosen` and `rejected` are the texts after an edit; `version` is the pair's as the reviewer saw it;
    `guideline_sha256` names the guidelines that the reviewer had before them.
    """

    token: str
    pair_id: int
    version: int
    act: str
    of: str | None = None
    reason: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    note: str | None = None
    dwell_ms: int | None = None
    swapped: bool = False
    guideline_sha256: str | None = None

    def __post_init__(self) -> None:
        for text in (self.reason, self.chosen, self.rejected, self.note):
            if text is not None and len(text) > LONGEST_TEXT:
                raise TempoError(
                    f"{text[:40]!r}... has {len(text):,} characters; an answer or a note holds at most "
                    f"{LONGEST_TEXT:,}. Shorten it."
                )


@dataclass(frozen=True, slots=True)
class Saved:
    """`review_id` is None for what makes no review (skip, hold, comment); `repeated`: it had been saved before."""

    token: str
    pair_id: int
    status: str
    version: int
    review_id: int | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """Not saved, and not to be sent again: somebody else was first."""

    token: str
    pair_id: int
    by: str
    verdict: str
    age_s: int
    text: str


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """One row of a pair's history; `undone`: it no longer counts."""

    id: int
    act: str
    verdict: str
    by: str
    reason: str | None
    note: str | None
    swapped: bool
    edited_chosen: str | None
    edited_rejected: str | None
    version: int
    token: str
    created_ms: int
    undone: bool


@dataclass(frozen=True, slots=True)
class Past:
    """A decision that its author may still take back."""

    pair_id: int
    act: str
    token: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Counts:
    """One reviewer's progress: `done` pairs decided one by one, of `total` = done and still pending."""

    done: int
    total: int
    median_dwell_s: float


def decide(session: Session, person: Person, item: ReviewItem) -> Saved | Conflict:
    """Save one item. The same token again is the same review, whatever happened in between."""
    people.require(person, "reviewer")
    pair = _pair(session, item.pair_id)
    if item.act == "comment":
        return _comment(session, person, item, pair)
    before = session.execute(select(ReviewRow).where(ReviewRow.token == item.token)).scalar_one_or_none()
    if before is not None:
        if (before.reviewer_id, before.pair_id) != (person.id, item.pair_id):
            return _conflict(session, item, f"The token {item.token} belongs to another review.")
        return Saved(item.token, item.pair_id, pair.status, pair.version, before.id, repeated=True)
    if item.act == "skip":
        claims.release(session, person, [item.pair_id])
        return Saved(item.token, item.pair_id, pair.status, pair.version)
    if item.act == "hold":
        claims.hold(session, person, item.pair_id)
        return Saved(item.token, item.pair_id, pair.status, pair.version)
    if pair.status == "filtered":
        text = "A rule refused this pair, so it cannot be decided. Its checks tell which."
        return Conflict(item.token, item.pair_id, "a rule", "filtered", 0, text)
    if item.act in ABOUT_ANOTHER:
        return _about_another(session, person, item, pair)
    if item.act not in VERDICTS:
        raise ValueError(f"There is no act {item.act!r}.")
    if item.version != pair.version and _others_came_first(session, person, item):
        return _conflict(session, item)
    chosen, rejected = _edited(session, item)
    swapped = item.act == "swap" or item.swapped
    return _append(
        session, person, item, pair, VERDICTS[item.act], swapped=swapped, edited_chosen=chosen, edited_rejected=rejected
    )


def _pair(session: Session, pair_id: int) -> Any:
    found = session.execute(select(PairRow.id, PairRow.version, PairRow.status).where(PairRow.id == pair_id))
    pair = found.one_or_none()
    if pair is None:
        raise Unknown(f"There is no pair {pair_id}.")
    return pair


def _comment(session: Session, person: Person, item: ReviewItem, pair: Any) -> Saved:
    known = session.execute(select(CommentRow.id).where(CommentRow.token == item.token)).first() is not None
    if not known:
        note = (item.note or "").strip()
        if not note:
            raise TempoError("A comment needs some text.")
        session.add(CommentRow(pair_id=pair.id, author_id=person.id, text=note, token=item.token, created_ms=now_ms()))
        session.flush()
    return Saved(item.token, pair.id, pair.status, pair.version, repeated=known)


def _others_came_first(session: Session, person: Person, item: ReviewItem) -> bool:
    """One's own newer reviews are no conflict: a queue of items may carry an old version."""
    newer = ReviewRow.pair_id == item.pair_id, ReviewRow.pair_version >= item.version
    others = select(ReviewRow.id).where(*newer, ReviewRow.reviewer_id != person.id).limit(1)
    return session.execute(others).first() is not None


def _edited(session: Session, item: ReviewItem) -> tuple[str | None, str | None]:
    """The texts that differ from what the pair holds; only an edit has any."""
    if item.act != "edit":
        return None, None
    chosen, rejected = session.execute(select(PairRow.chosen, PairRow.rejected).where(PairRow.id == item.pair_id)).one()
    shown = (rejected, chosen) if item.swapped else (chosen, rejected)
    for given in (item.chosen, item.rejected):
        if given is not None and not given.strip():
            raise TempoError("An edited answer must not be empty. Reject the pair, or write the answer.")
    return item.chosen if item.chosen != shown[0] else None, item.rejected if item.rejected != shown[1] else None


def _about_another(session: Session, person: Person, item: ReviewItem, pair: Any) -> Saved | Conflict:
    """Undo and reason count while the review they speak about is what stands; undo brings back what stood before."""
    of = session.execute(select(ReviewRow).where(ReviewRow.token == (item.of or ""))).scalar_one_or_none()
    counting = stack(rows_of(session, [item.pair_id]))
    if of is None or not counting or of.id not in counting[-1].review_ids:
        return _conflict(session, item)
    if of.reviewer_id != person.id and person.role != "admin":
        return _conflict(session, item)
    if item.act == "reason":
        return _append(session, person, item, pair, counting[-1].verdict, of_id=of.id)
    verdict = counting[-2].verdict if len(counting) > 1 else "pending"
    return _append(session, person, item, pair, verdict, of_id=of.id)


def _append(session: Session, person: Person, item: ReviewItem, pair: Any, verdict: str, **more: Any) -> Saved:
    """Move the pair on by compare-and-swap, then write the row; UNIQUE(pair_id, pair_version) is the second wall."""
    swap = update(PairRow).where(PairRow.id == pair.id, PairRow.version == pair.version)
    values = {"status": verdict, "version": pair.version + 1, "claimed_by": None, "claim_until_ms": 0}
    moved = session.execute(swap.values(**values).returning(PairRow.id), execution_options=QUIETLY).first()
    if moved is None:
        raise TempoError(f"Pair {pair.id} changed at this very moment; nothing was saved, try again.")
    row = ReviewRow(
        pair_id=pair.id,
        pair_version=pair.version,
        reviewer_id=person.id,
        act=item.act,
        verdict=verdict,
        reason=item.reason,
        note=item.note,
        dwell_ms=item.dwell_ms,
        token=item.token,
        created_ms=now_ms(),
        guideline_sha256=item.guideline_sha256,
        **more,
    )
    session.add(row)
    session.flush()
    return Saved(item.token, pair.id, verdict, pair.version + 1, row.id)


def _conflict(session: Session, item: ReviewItem, text: str | None = None) -> Conflict:
    newest = session.execute(
        select(UserRow.name, ReviewRow.verdict, ReviewRow.created_ms)
        .join(UserRow, UserRow.id == ReviewRow.reviewer_id)
        .where(ReviewRow.pair_id == item.pair_id)
        .order_by(ReviewRow.pair_version.desc())
        .limit(1)
    ).first()
    if newest is None:
        told = text or "There is no review of this pair to speak about."
        return Conflict(item.token, item.pair_id, "", "pending", 0, told)
    name, verdict, created_ms = newest
    age_s = max(0, (now_ms() - created_ms) // 1000)
    did = "took back a review of" if verdict == "pending" else verdict
    return Conflict(item.token, item.pair_id, name, verdict, age_s, text or f"{name} {did} this {age_s} s ago.")


def history(session: Session, pair_id: int) -> list[ReviewLine]:
    """Every review of a pair, oldest first."""
    counting = {i for entry in stack(rows_of(session, [pair_id])) for i in entry.review_ids}
    r = ReviewRow
    rows = session.execute(
        select(r, UserRow.name)
        .join(UserRow, UserRow.id == r.reviewer_id)
        .where(r.pair_id == pair_id)
        .order_by(r.pair_version)
    )
    return [
        ReviewLine(
            row.id, row.act, row.verdict, name, row.reason, row.note, row.swapped, row.edited_chosen,
            row.edited_rejected, row.pair_version, row.token, row.created_ms,
            undone=row.act != "undo" and row.id not in counting,
        )
        for row, name in rows
    ]  # fmt: skip


def made_by(session: Session, review_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """(person, act) of these reviews."""
    found: dict[int, tuple[int, str]] = {}
    for start in range(0, len(review_ids), 10_000):
        part = list(review_ids[start : start + 10_000])
        rows = session.execute(select(ReviewRow.id, ReviewRow.reviewer_id, ReviewRow.act).where(ReviewRow.id.in_(part)))
        found |= {review_id: (person, act) for review_id, person, act in rows}
    return found


def latest(session: Session, person: Person, n: int = 20) -> list[Past]:
    """This person's newest decisions that stand, one by one (bulk left out), the newest last."""
    r, p = ReviewRow, PairRow
    newest = (p.id == r.pair_id) & (r.pair_version == p.version - 1)
    query = (
        select(r.pair_id, r.act, r.token, r.created_ms)
        .join(p, newest)
        .where(r.reviewer_id == person.id, r.bulk.is_(None), r.act.in_((*VERDICTS, "reason")))
        .order_by(r.created_ms.desc(), r.id.desc())
        .limit(n)
    )
    return [Past(*row) for row in reversed(session.execute(query).all())]


def comment_counts(session: Session, pair_ids: Sequence[int]) -> dict[int, int]:
    """How many comments each of these pairs has; those without any are left out."""
    c = CommentRow
    query = select(c.pair_id, func.count()).where(c.pair_id.in_(pair_ids)).group_by(c.pair_id)
    return dict(session.execute(query).all())


def comments(session: Session, pair_id: int) -> list[tuple[str, str, int]]:
    """(author, text, unix ms) of a pair's comments, oldest first."""
    c = CommentRow
    query = select(UserRow.name, c.text, c.created_ms).join(UserRow, UserRow.id == c.author_id)
    return [(name, said, at) for name, said, at in session.execute(query.where(c.pair_id == pair_id).order_by(c.id))]


def progress(session: Session, person: Person) -> Counts:
    """How far this reviewer is, one by one (bulk decisions are not counted), and the median time a decision took."""
    r, p = ReviewRow, PairRow
    newest = (p.id == r.pair_id) & (r.pair_version == p.version - 1)
    mine = select(func.count()).select_from(r).join(p, newest)
    done = session.execute(mine.where(r.reviewer_id == person.id, r.bulk.is_(None), p.status != "pending")).scalar_one()
    pending = session.execute(select(func.count()).where(p.status == "pending")).scalar_one()
    last = (
        select(r.dwell_ms).where(r.reviewer_id == person.id, r.dwell_ms.is_not(None)).order_by(r.id.desc()).limit(200)
    )
    dwell = [ms for ms in session.execute(last).scalars() if ms is not None]
    return Counts(done, done + pending, median(dwell) / 1000 if dwell else 0.0)
