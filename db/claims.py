"""Who looks at which pair now. A claim is a courtesy of 10 minutes; what keeps reviews safe is `reviews.decide`.

Pairs of withdrawn videos are never handed out. What a person holds keeps its order: the end of a lease is a few
milliseconds later the earlier the pair stands in the queue.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.orm import Session

from db import people, withdrawals
from db.pair_filters import NO_FILTER, PairFilter, where
from db.people import Person
from db.session import now_ms
from db.tables import PairRow

LEASE_MS = 600_000
FIRST_MS = 1000
"""By how much a lease ends later for the pair that its holder wants to see first."""


def claim(session: Session, person: Person, n: int, wanted: PairFilter = NO_FILTER) -> list[tuple[int, int]]:
    """(pair id, version) of up to `n` pending pairs that are this person's now: first those still held, then new ones.

    Pairs that nobody saw come first, then those given back the longest ago.
    """
    people.require(person, "reviewer")
    now, p = now_ms(), PairRow
    matches = [*where(wanted.with_status("pending")), _in_use()]
    held = [pair_id for pair_id, _ in held_by(session, person, n, wanted)]
    free = select(p.id).where(p.claim_until_ms < now, *matches).order_by(p.claim_until_ms, p.id).limit(n - len(held))
    new = list(session.execute(free).scalars()) if len(held) < n else []
    _lease(session, held + new, person.id, now + LEASE_MS)
    versions: dict[int, int] = {i: v for i, v in session.execute(select(p.id, p.version).where(p.id.in_(held + new)))}
    return [(pair_id, versions[pair_id]) for pair_id in held + new]


def held_by(session: Session, person: Person, n: int, wanted: PairFilter = NO_FILTER) -> list[tuple[int, int]]:
    """(pair id, version) of up to `n` pending pairs that are this person's already, in their order. A read."""
    p = PairRow
    matches = [*where(wanted.with_status("pending")), _in_use()]
    mine = select(p.id, p.version).where(p.claimed_by == person.id, p.claim_until_ms >= now_ms(), *matches)
    return [(i, v) for i, v in session.execute(mine.order_by(p.claim_until_ms.desc(), p.id).limit(n))]


def hold(session: Session, person: Person, pair_id: int) -> bool:
    """Make this pending pair the first of the person's queue, unless another holds it; whether it is theirs now."""
    people.require(person, "reviewer")
    now, p = now_ms(), PairRow
    free = (p.claimed_by == person.id) | (p.claim_until_ms < now) | p.claimed_by.is_(None)
    wanted = update(p).where(p.id == pair_id, p.status == "pending", free)
    taken = wanted.values(claimed_by=person.id, claim_until_ms=now + LEASE_MS + FIRST_MS).returning(p.id)
    return session.execute(taken, execution_options={"synchronize_session": False}).first() is not None


def renew(session: Session, person: Person, pair_ids: Collection[int]) -> int:
    """Hold these for another 10 minutes; returns how many were still this person's."""
    people.require(person, "reviewer")
    return _change(session, person, pair_ids, now_ms() + LEASE_MS, keep=True)


def release(session: Session, person: Person, pair_ids: Collection[int] | None = None) -> int:
    """Give these (None: all) back; they come again after pairs that nobody saw."""
    people.require(person, "viewer")
    return _change(session, person, pair_ids, now_ms(), keep=False)


def _change(session: Session, person: Person, pair_ids: Collection[int] | None, until: int, *, keep: bool) -> int:
    mine = update(PairRow).where(PairRow.claimed_by == person.id)
    if pair_ids is not None:
        mine = mine.where(PairRow.id.in_(list(pair_ids)))
    changed = mine.values(claimed_by=person.id if keep else None, claim_until_ms=until).returning(PairRow.id)
    return len(session.execute(changed, execution_options={"synchronize_session": False}).all())


def _lease(session: Session, pair_ids: list[int], person_id: int, until: int) -> None:
    places = {pair_id: until - place for place, pair_id in enumerate(pair_ids)}
    ends = case(places, value=PairRow.id) if places else until
    held = update(PairRow).where(PairRow.id.in_(pair_ids)).values(claimed_by=person_id, claim_until_ms=ends)
    session.execute(held, execution_options={"synchronize_session": False})


def _in_use() -> ColumnElement[bool]:
    return PairRow.video_id.not_in(withdrawals.withdrawn_ids())
