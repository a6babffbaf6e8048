"""Campaigns: who is asked about which pairs. A second opinion of pairs that were decided, or samples of strata.

Which pairs, in which order, is drawn once by a stored seed. A lease of 10 minutes keeps two readers apart; what keeps
opinions safe is `opinions.give`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from statistics import median
from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from db import people, strata, verdicts, withdrawals
from db.claims import LEASE_MS
from db.opinion_standings import Given, of_campaign
from db.pair_filters import NO_FILTER, PairFilter, where
from db.people import Person
from db.reviews import Counts
from db.session import now_ms
from db.tables import CampaignPairRow, CampaignRow, PairRow, ReviewRow, UserRow
from db.verdicts import bounds
from tempo_core import acceptance
from tempo_core.errors import BadSettings, TooFew, Unknown

__all__ = ["CampaignCard", "bounds", "card", "claim", "close", "left_is_chosen", "listing", "progress", "second"]

QUIETLY = {"synchronize_session": False}
Kind = Literal["second", "sample"]


@dataclass(frozen=True, slots=True)
class CampaignCard:
    """`n_asked` opinions are wanted, `n_done` of them are there. `blind`: readers see the clean video alone."""

    id: int
    name: str
    kind: str
    settings: Mapping[str, Any]
    seed: int
    created_by: str
    created_ms: int
    closed_ms: int | None
    n_asked: int
    n_done: int

    @property
    def blind(self) -> bool:
        return self.kind == "sample"

    @property
    def open(self) -> bool:
        return self.closed_ms is None


def listing(session: Session) -> list[CampaignCard]:
    """Every campaign, the newest first."""
    ids = session.execute(select(CampaignRow.id).order_by(CampaignRow.id.desc())).scalars()
    return [card(session, campaign_id) for campaign_id in ids]


def card(session: Session, campaign_id: int) -> CampaignCard:
    query = select(CampaignRow, UserRow.name).join(UserRow, UserRow.id == CampaignRow.created_by)
    found = session.execute(query.where(CampaignRow.id == campaign_id)).one_or_none()
    if found is None:
        raise Unknown(f"There is no campaign {campaign_id}.")
    row, by = found
    n_asked, n_done = _size(session, row)
    return CampaignCard(
        row.id, row.name, row.kind, row.settings, row.seed, by, row.created_ms, row.closed_ms, n_asked, n_done
    )


def readers(settings: Mapping[str, Any]) -> int:
    """How many people are asked about each pair."""
    return int(settings.get("readers", 1))


def left_is_chosen(campaign_id: int, pair_id: int, person_id: int) -> bool:
    """On which side of a blind desk this reader sees the chosen response: as if by chance, and always the same."""
    return hashlib.sha256(f"side {campaign_id} {pair_id} {person_id}".encode()).digest()[0] % 2 == 0


# ---- making and ending ----------------------------------------------------------------------------------------------
def second(
    session: Session,
    person: Person,
    name: str,
    wanted: PairFilter = NO_FILTER,
    *,
    n: int | None = None,
    share: float | None = None,
    readers: int = 1,
    seed: int | None = None,
) -> int:
    """Ask for a second opinion of pairs that people decided one by one: `n` of them, or a share, or all.

    Raises:
        BadSettings: A name that is taken, or a number that makes no sense.
        TooFew: No pair of the filter was decided one by one.
    """
    people.require(person, "admin")
    ids = decided(session, wanted)
    if not ids:
        raise TooFew("No pair of this filter was decided one by one yet. Review some first, or widen the filter.")
    if share is not None and not 0 < share <= 1:
        raise BadSettings(f"A share of {share:g} of the pairs makes no sense; say more than 0 and at most 1.")
    if readers < 1 or (n is not None and n < 1):
        raise BadSettings("A second opinion needs at least one pair and one reader.")
    n_drawn = n if n is not None else len(ids) if share is None else ceil(Fraction(str(share)) * len(ids))
    settings = {"filter": wanted.as_query(), "readers": readers}
    row = new(session, person, name, "second", settings, seed)
    drawn = acceptance.drawn_order(ids, row.seed)[:n_drawn]
    values = [
        {"campaign_id": row.id, "pair_id": pair_id, "ordinal": place, "drawn": True, "claim_until_ms": 0}
        for place, pair_id in enumerate(drawn)
    ]
    session.execute(insert(CampaignPairRow), values)
    return row.id


def decided(session: Session, wanted: PairFilter = NO_FILTER) -> list[int]:
    """The pairs of a filter whose decision now is one that a person made about this pair alone."""
    r, p = ReviewRow, PairRow
    newest = (p.id == r.pair_id) & (r.pair_version == p.version - 1)
    query = select(p.id).join(r, newest).where(r.bulk.is_(None), p.status.in_(("accepted", "rejected", "flagged")))
    query = query.where(p.video_id.not_in(withdrawals.withdrawn_ids()), *where(wanted))
    return list(session.execute(query.order_by(p.id)).scalars())


def sample(session: Session, person: Person, name: str, wanted: PairFilter, asked: strata.Asked, **more: Any) -> int:
    """Draw a sample of every stratum of a filter's pending pairs. See `strata.draw`; the campaign's id."""
    people.require(person, "admin")
    seed = more.pop("seed", None)
    row = new(session, person, name, "sample", {"filter": wanted.as_query(), "asked": asked.as_json()}, seed)
    strata.draw(session, row, wanted, asked, **more)
    return row.id


def check_rules(
    session: Session, person: Person, name: str, n: int, wanted: PairFilter = NO_FILTER, *, seed: int | None = None
) -> int:
    """Ask blind about `n` pairs that a rule refused, drawn at random, mixed with as many that no rule refused.

    They tell how often the rules are right; no pair's status changes.

    Raises:
        TooFew: No rule refused a pair of this filter.
    """
    people.require(person, "admin")
    if n < 1:
        raise BadSettings("Ask about one refused pair or more.")
    row = new(session, person, name, "sample", {"filter": wanted.as_query(), "purpose": "rules"}, seed)
    p, refused = PairRow, PairRow.status == "filtered"
    matches = p.video_id.not_in(withdrawals.withdrawn_ids()), *where(wanted.with_status(None))
    sides = [
        list(session.execute(select(p.id).where(condition, *matches)).scalars()) for condition in (refused, ~refused)
    ]
    if not sides[0]:
        raise TooFew("No rule refused a pair of this filter, so there is nothing to check.")
    drawn = [pair_id for i, ids in enumerate(sides) for pair_id in acceptance.drawn_order(ids, row.seed + i)[:n]]
    values = [
        {"campaign_id": row.id, "pair_id": pair_id, "ordinal": place, "drawn": True, "claim_until_ms": 0}
        for place, pair_id in enumerate(acceptance.drawn_order(drawn, row.seed + 2))
    ]
    session.execute(insert(CampaignPairRow), values)
    return row.id


def new(
    session: Session, person: Person, name: str, kind: Kind, settings: dict[str, Any], seed: int | None
) -> CampaignRow:
    """A campaign without pairs. Nobody chooses the seed by hand, so that nobody can choose the sample."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80:
        raise BadSettings(f"A campaign needs a name of 1 to 80 characters; this has {len(name)}.")
    if session.execute(select(CampaignRow.id).where(CampaignRow.name == name)).first() is not None:
        raise BadSettings(f"There is a campaign {name} already. Choose another name.")
    row = CampaignRow(
        name=name,
        kind=kind,
        settings=settings,
        seed=secrets.randbelow(2**31) if seed is None else seed,
        created_by=person.id,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    return row


def close(session: Session, person: Person, campaign_id: int) -> None:
    """Ask nobody any more. Opinions stay; strata without a verdict stay without one."""
    people.require(person, "admin")
    row = session.get(CampaignRow, campaign_id)
    if row is None:
        raise Unknown(f"There is no campaign {campaign_id}.")
    if row.closed_ms is None:
        row.closed_ms = now_ms()
        session.flush()


# ---- reading --------------------------------------------------------------------------------------------------------
def claim(session: Session, person: Person, campaign_id: int, n: int) -> list[tuple[int, int]]:
    """(pair id, version) of up to `n` pairs that this person is asked about: first those still held, then new ones.

    Left out are pairs with all their opinions, those the person has judged here or (second opinions) decided
    before, pairs of withdrawn videos and of strata that have failed already.
    """
    people.require(person, "reviewer")
    row = session.get(CampaignRow, campaign_id)
    if row is None:
        raise Unknown(f"There is no campaign {campaign_id}.")
    if row.closed_ms is not None:
        return []
    if row.kind == "sample":
        strata.fill_up(session, campaign_id)
    now = now_ms()
    open_to_me = _open_to(session, person, row)
    held = [m.pair_id for m in open_to_me if m.claimed_by == person.id and m.claim_until_ms >= now][:n]
    free = [m for m in open_to_me if m.claim_until_ms < now]
    # A reader of samples may have decided a pair in the open once and taken it back: such pairs come last.
    known = _decided_here(session, person, row.id) if row.kind == "sample" else set()
    free.sort(key=lambda m: (m.pair_id in known, m.claim_until_ms, m.ordinal))
    new = [m.pair_id for m in free][: n - len(held)]
    _lease(session, campaign_id, held + new, person.id, now + LEASE_MS)
    p = PairRow
    versions = dict(session.execute(select(p.id, p.version).where(p.id.in_(held + new))).all())
    return [(pair_id, versions[pair_id]) for pair_id in held + new]


def release(
    session: Session,
    person: Person,
    campaign_id: int,
    pair_ids: Collection[int] | None = None,
    *,
    seen: bool = False,
) -> None:
    """Give these (None: all) back; they come again after pairs that nobody saw, or (`seen`) need not come again."""
    people.require(person, "viewer")
    m = CampaignPairRow
    mine = update(m).where(m.campaign_id == campaign_id, m.claimed_by == person.id)
    if pair_ids is not None:
        mine = mine.where(m.pair_id.in_(list(pair_ids)))
    values = {"claimed_by": None, "claim_until_ms": 0 if seen else now_ms()}
    session.execute(mine.values(**values), execution_options=QUIETLY)


def progress(session: Session, campaign_id: int, person: Person) -> Counts:
    """How far this reader is: `done` judged here, `total` with those that are still to come."""
    row = session.get(CampaignRow, campaign_id)
    if row is None:
        raise Unknown(f"There is no campaign {campaign_id}.")
    given = of_campaign(session, campaign_id)
    mine = sorted((said[person.id] for said in given.values() if person.id in said), key=lambda o: o.origin)
    left = len(_open_to(session, person, row, given)) if row.closed_ms is None else 0
    dwell = [opinion.dwell_ms for opinion in mine[-200:] if opinion.dwell_ms is not None]
    return Counts(len(mine), len(mine) + left, median(dwell) / 1000 if dwell else 0.0)


def decided_by(session: Session, person: Person, pair_id: int) -> bool:
    """Whether this person ever decided this pair alone (not in bulk)."""
    r = ReviewRow
    query = select(r.id).where(r.pair_id == pair_id, r.reviewer_id == person.id, r.bulk.is_(None)).limit(1)
    return session.execute(query).first() is not None


def _decided_here(session: Session, person: Person, campaign_id: int) -> set[int]:
    """Pairs of a campaign that this person ever decided alone."""
    m, r = CampaignPairRow, ReviewRow
    mine = select(m.pair_id).join(r, r.pair_id == m.pair_id).where(m.campaign_id == campaign_id, m.drawn == 1)
    return set(session.execute(mine.where(r.reviewer_id == person.id, r.bulk.is_(None))).scalars())


def _open_to(session: Session, person: Person, row: CampaignRow, given: Given | None = None) -> list[Any]:
    """The rows of `campaign_pair` that this person may be asked about, in drawn order."""
    m, wanted = CampaignPairRow, readers(row.settings)
    given = of_campaign(session, row.id) if given is None else given
    out = verdicts.withdrawn_in(session, row.id)
    columns: tuple[Any, ...] = (m.pair_id, m.stratum_id, m.ordinal, m.claimed_by, m.claim_until_ms)
    drawn = session.execute(select(*columns).where(m.campaign_id == row.id, m.drawn == 1).order_by(m.ordinal)).all()
    if row.kind == "second":
        ended, out = set[int](), out | _decided_here(session, person, row.id)
    else:
        read = verdicts.counted(((asked[0], asked[1]) for asked in drawn), given, out)
        ended = verdicts.ended(session, row.id, read)
    out |= {pair_id for pair_id, said in given.items() if len(said) >= wanted or person.id in said}
    return [asked for asked in drawn if asked[0] not in out and asked[1] not in ended]


def _size(session: Session, row: CampaignRow) -> tuple[int, int]:
    """Opinions asked for and given. A stratum that failed early asks for no more than it has."""
    given = of_campaign(session, row.id)
    found = verdicts.states(session, row.id, given)
    if found:
        done = sum(s.n_read for s in found)
        return done + sum(s.n_sample - s.n_read for s in found if not s.ended), done
    m, out = CampaignPairRow, verdicts.withdrawn_in(session, row.id)
    drawn = session.execute(select(m.pair_id).where(m.campaign_id == row.id, m.drawn == 1)).scalars()
    asked = [pair_id for pair_id in drawn if pair_id not in out]
    return len(asked) * readers(row.settings), sum(len(given.get(pair_id, ())) for pair_id in asked)


def _lease(session: Session, campaign_id: int, pair_ids: list[int], person_id: int, until: int) -> None:
    m = CampaignPairRow
    held = update(m).where(m.campaign_id == campaign_id, m.pair_id.in_(pair_ids))
    session.execute(held.values(claimed_by=person_id, claim_until_ms=until), execution_options=QUIETLY)
