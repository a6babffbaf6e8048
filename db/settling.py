"""What follows from a verdict: the pairs that were read become decisions of their readers, the rest is decided in bulk.

The bulk decision is of exactly the frozen members that are still pending, a review row each, undone as one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.orm import Session

from db import bulk, people, reviews, strata, verdicts
from db.opinion_standings import standing
from db.people import Person
from db.reviews import ReviewItem, Saved
from db.session import now_ms
from db.tables import CampaignPairRow, CampaignRow, OpinionRow, PairRow, ReviewRow, StratumRow, UserRow
from db.verdicts import StratumState
from tempo_core.errors import TempoError, Unknown

Rest = Literal["accepted", "rejected", "read"]
"""What becomes of the pairs that nobody read; "read": nothing, only those that were read are decided."""

ACTS = {"good": "accept", "bad": "reject", "unsure": "flag"}
QUIETLY = {"synchronize_session": False}


class NoVerdict(TempoError):
    """A decision about a stratum that its sample does not allow."""


@dataclass(frozen=True, slots=True)
class Settled:
    """`n_read` pairs became decisions of their readers, `n_rest` were decided in bulk under `token`.

    `n_held` are left pending: somebody looked at them at that moment.
    """

    token: str
    n_read: int
    n_rest: int
    n_held: int


def settle(session: Session, person: Person, stratum_id: int, rest: Rest) -> Settled:
    """Decide a stratum after its verdict.

    Raises:
        NoVerdict: Its sample is not complete, or it failed and the rest was to be accepted, or it is decided already.
    """
    people.require(person, "admin")
    strata.fill_up(session, _row(session, stratum_id).campaign_id)
    state = _state(session, stratum_id)
    _check(state, rest)
    token = f"{rest}:{stratum_id}:{secrets.token_hex(6)}"
    n_read = _decide_read(session, state)
    n_decided = 0 if rest == "read" else _decide_rest(session, person, state, rest, token)
    n_held = 0 if rest == "read" else n_rest(session, stratum_id)
    row = _row(session, stratum_id)
    # What is said from here on is about the stratum as it was decided; videos withdrawn later do not change it.
    row.n_pairs, row.n_sample = state.n_pairs, state.n_sample
    row.bulk, row.bound = token, state.bound.share if state.bound is not None and rest == "accepted" else None
    session.flush()
    _close_if_done(session, state.campaign_id)
    return Settled(token, n_read, n_decided, n_held)


def undo(session: Session, person: Person, stratum_id: int) -> int:
    """Take back what was decided about the rest; how many pairs. What readers said of the others stays."""
    people.require(person, "admin")
    state = _state(session, stratum_id)
    if state.bulk is None:
        raise NoVerdict("Nothing was decided about the rest of this stratum, so there is nothing to take back.")
    some = select(ReviewRow.id).where(ReviewRow.bulk == state.bulk).limit(1)
    n = bulk.undo(session, person, state.bulk).n if session.execute(some).first() is not None else 0
    m, row = CampaignPairRow, _row(session, stratum_id)
    row.n_pairs = session.execute(select(func.count()).where(m.stratum_id == stratum_id)).scalar_one()
    row.bulk = row.bound = None
    session.flush()
    return n


def n_rest(session: Session, stratum_id: int) -> int:
    """How many pairs a decision about the rest would reach now."""
    return int(session.execute(_pending(stratum_id).with_only_columns(func.count())).scalar_one())


def _row(session: Session, stratum_id: int) -> StratumRow:
    row = session.get(StratumRow, stratum_id)
    if row is None:
        raise Unknown(f"There is no stratum {stratum_id}.")
    return row


def _state(session: Session, stratum_id: int) -> StratumState:
    row = _row(session, stratum_id)
    return next(s for s in verdicts.states(session, row.campaign_id) if s.id == stratum_id)


def _check(state: StratumState, rest: Rest) -> None:
    if state.bulk is not None:
        raise NoVerdict("This stratum is decided already. Take that back first to decide it otherwise.")
    if state.verdict in ("reading", "waiting"):
        raise NoVerdict(
            f"{state.n_read} of {state.n_sample} pairs are read, and there is no verdict yet. Read the rest first."
        )
    if rest == "accepted" and state.verdict == "refused":
        raise NoVerdict(
            f"{state.bad} of {state.n_read} pairs read were bad, more than this sample may hold. Reject the rest, or "
            "decide its pairs one by one."
        )


def _decide_read(session: Session, state: StratumState) -> int:
    """Good, bad and undecided pairs are accepted, rejected and flagged by who read them, unless decided meanwhile."""
    o, m, p = OpinionRow, CampaignPairRow, PairRow
    here = (m.campaign_id == o.campaign_id) & (m.pair_id == o.pair_id)
    query = (
        standing(o.id, o.pair_id, o.verdict, o.reason, o.note, o.dwell_ms, o.reviewer_id, UserRow.name, p.version)
        .join(m, here)
        .join(p, p.id == o.pair_id)
        .join(UserRow, UserRow.id == o.reviewer_id)
        .where(m.stratum_id == state.id, o.campaign_id == state.campaign_id, m.drawn == 1, p.status == "pending")
    )
    done = 0
    for row in session.execute(query.order_by(m.ordinal)).all():
        # The person was a reviewer when the opinion was given, whatever the role is now.
        reader = Person(row.reviewer_id, row.name, "reviewer")
        item = ReviewItem(
            f"opinion:{row.id}:{row.version}", row.pair_id, row.version, ACTS[row.verdict], reason=row.reason,
            note=row.note, dwell_ms=row.dwell_ms,
        )  # fmt: skip
        done += isinstance(reviews.decide(session, reader, item), Saved)
    return done


def _decide_rest(session: Session, person: Person, state: StratumState, verdict: str, token: str) -> int:
    p = PairRow
    free = (p.claim_until_ms < now_ms()) | (p.claimed_by == person.id)
    note = f"sampled: {state.n_read:,} of {state.n_pairs:,} read, {state.bad} bad"
    values: dict[str, Any] = {
        "pair_id": p.id,
        "pair_version": p.version,
        "reviewer_id": literal(person.id),
        "act": literal(bulk.ACTS[verdict]),
        "verdict": literal(verdict),
        "swapped": literal(False, ReviewRow.swapped.type),
        "note": literal(note),
        "token": literal(token).concat(":").concat(p.id),
        "bulk": literal(token),
        "created_ms": literal(now_ms()),
    }
    rows = _pending(state.id).where(free).with_only_columns(*values.values())
    session.execute(insert(ReviewRow).from_select(list(values), rows, include_defaults=False))
    decided = select(ReviewRow.pair_id).where(ReviewRow.bulk == token)
    moved = update(p).where(p.id.in_(decided))
    after: dict[str, Any] = {"status": verdict, "version": p.version + 1, "claimed_by": None, "claim_until_ms": 0}
    session.execute(moved.values(**after), execution_options=QUIETLY)
    return session.execute(select(func.count()).where(ReviewRow.bulk == token)).scalar_one()


def _pending(stratum_id: int) -> Any:
    """The frozen members that are still pending; those read are decided by their readers."""
    p, m = PairRow, CampaignPairRow
    members = select(m.pair_id).where(m.stratum_id == stratum_id)
    read = standing(OpinionRow.pair_id).where(OpinionRow.pair_id == p.id, OpinionRow.campaign_id.in_(
        select(StratumRow.campaign_id).where(StratumRow.id == stratum_id)
    ))  # fmt: skip
    return select(p.id).where(
        p.id.in_(members), p.status == "pending", p.id.not_in(verdicts.withdrawn_pairs()), ~read.exists()
    )


def _close_if_done(session: Session, campaign_id: int) -> None:
    """A campaign of which every stratum is decided asks nobody any more."""
    s = StratumRow
    open_ones = select(s.id).where(s.campaign_id == campaign_id, s.bulk.is_(None)).limit(1)
    campaign = session.get_one(CampaignRow, campaign_id)
    if session.execute(open_ones).first() is None and campaign.closed_ms is None:
        campaign.closed_ms = now_ms()
        session.flush()
