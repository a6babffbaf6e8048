"""What the samples of a campaign say: a verdict and a bound for each stratum, once its sample is complete or failed.

Before that nothing of good and bad is told, only how many were read: nobody peeks. A pair that readers could not call
either way counts as bad.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db import withdrawals
from db.opinion_standings import Given, of_campaign
from db.tables import CampaignPairRow, CampaignRow, ModelRow, PairRow, ReviewRow, StratumRow
from tempo_core import acceptance
from tempo_core.acceptance import Bound

Verdict = Literal["reading", "waiting", "accepted", "refused"]
"""Waiting: the sample is complete, and it depends on the other strata (Holm) whether it passes."""


@dataclass(frozen=True, slots=True)
class StratumState:
    """A stratum as it stands. `bad` and `bound` are None until there is a verdict: nobody peeks.

    `n_pairs` and `n_sample` are without pairs of videos withdrawn since. `done` is what was decided about the rest:
    "accepted", "rejected", "read" (the pairs that were read alone), or None.
    """

    id: int
    campaign_id: int
    kind: str
    level: int | None
    model: str
    n_pairs: int
    n_sample: int
    max_bad: int
    tolerated: float
    confidence: float
    n_read: int
    verdict: Verdict
    bad: int | None
    bound: Bound | None
    done: str | None
    bulk: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be read."""
        return self.n_read >= self.n_sample or self.verdict == "refused" or self.bulk is not None


def states(session: Session, campaign_id: int, given: Given | None = None) -> list[StratumState]:
    """Every stratum of a campaign, with verdicts as far as there are any."""
    query = select(StratumRow, ModelRow.name).join(ModelRow, ModelRow.id == StratumRow.model_id)
    rows = session.execute(query.where(StratumRow.campaign_id == campaign_id).order_by(StratumRow.id)).all()
    read, gone = counts(session, campaign_id, given), _gone(session, campaign_id)
    found = [_counted(row, name, read.get(row.id, (0, 0)), gone.get(row.id, 0)) for row, name in rows]
    sampled = [c for c in found if c.row.n_sample < c.row.n_pairs]
    passed = {c.row.id: c.p == 0.0 for c in found}
    if sampled:
        let = acceptance.holm_accepts([c.p for c in sampled], sampled[0].row.confidence)
        passed |= {c.row.id: ok for c, ok in zip(sampled, let, strict=True)}
    being_read = any(not c.complete and not c.failed for c in sampled)
    return [_state(c, passed[c.row.id], being_read, max(1, len(sampled))) for c in found]


@dataclass(frozen=True, slots=True)
class _Counted:
    row: StratumRow
    model: str
    n_pairs: int
    n_sample: int
    n_read: int
    bad: int

    @property
    def complete(self) -> bool:
        return self.n_read >= self.n_sample

    @property
    def failed(self) -> bool:
        return self.bad > self.row.max_bad

    @property
    def p(self) -> float:
        """A sample that is not complete, or that failed before its end, cannot pass and helps no other to pass."""
        if not self.complete or self.failed or not self.n_pairs:
            return 1.0
        return acceptance.p_value(self.n_pairs, self.n_read, self.bad, self.row.tolerated)


def _counted(row: StratumRow, model: str, read: tuple[int, int], gone: int) -> _Counted:
    n_pairs = row.n_pairs - gone
    return _Counted(row, model, n_pairs, min(row.n_sample, n_pairs), *read)


def _state(c: _Counted, passed: bool, being_read: bool, n_strata: int) -> StratumState:
    row, verdict = c.row, _verdict(c, passed, being_read)
    told = verdict in ("accepted", "refused")
    bound = None
    if told and c.complete:
        bound = acceptance.bound(c.n_pairs, c.n_read, c.bad, row.confidence, n_strata)
    return StratumState(
        row.id, row.campaign_id, row.kind, row.level, c.model, c.n_pairs, c.n_sample, row.max_bad, row.tolerated,
        row.confidence, c.n_read, verdict, c.bad if told else None, bound,
        None if row.bulk is None else row.bulk.split(":", 1)[0], row.bulk,
    )  # fmt: skip


def _verdict(c: _Counted, passed: bool, being_read: bool) -> Verdict:
    if c.failed:
        return "refused"
    if not c.complete:
        return "reading"
    if passed:
        return "accepted"
    return "waiting" if being_read and c.row.n_sample < c.row.n_pairs else "refused"


def counts(session: Session, campaign_id: int, given: Given | None = None) -> dict[int, tuple[int, int]]:
    """(pairs read, bad among them) of each stratum, as of now; a pair that could not be called counts as bad."""
    given = of_campaign(session, campaign_id) if given is None else given
    m, gone = CampaignPairRow, withdrawn_in(session, campaign_id)
    query = select(m.pair_id, m.stratum_id).where(m.campaign_id == campaign_id, m.drawn == 1, m.stratum_id.is_not(None))
    return counted(session.execute(query), given, gone)


def counted(drawn: Iterable[tuple[int, int | None]], given: Given, gone: Container[int]) -> dict[int, tuple[int, int]]:
    """As `counts`, of (pair, stratum) rows that are at hand."""
    found: dict[int, tuple[int, int]] = {}
    for pair_id, stratum_id in drawn:
        said = given.get(pair_id)
        if said and stratum_id is not None and pair_id not in gone:
            n, bad = found.get(stratum_id, (0, 0))
            found[stratum_id] = n + 1, bad + any(opinion.verdict != "good" for opinion in said.values())
    return found


def ended(session: Session, campaign_id: int, read: Mapping[int, tuple[int, int]]) -> set[int]:
    """Strata of which nothing more is to be read: more bad ones than can pass, or decided."""
    s = StratumRow
    rows = session.execute(select(s.id, s.max_bad, s.bulk).where(s.campaign_id == campaign_id))
    return {i for i, max_bad, bulk in rows if bulk is not None or read.get(i, (0, 0))[1] > max_bad}


def withdrawn_pairs() -> Select[int]:
    return select(PairRow.id).where(PairRow.video_id.in_(withdrawals.withdrawn_ids()))


def withdrawn_in(session: Session, campaign_id: int) -> set[int]:
    """Pairs of a campaign whose video was withdrawn after they were drawn; what was decided before stays as it was."""
    m, s = CampaignPairRow, StratumRow
    if session.execute(withdrawals.withdrawn_ids().limit(1)).first() is None:
        return set()
    query = select(m.pair_id).outerjoin(s, s.id == m.stratum_id).where(m.campaign_id == campaign_id, s.bulk.is_(None))
    return set(session.execute(query.where(m.pair_id.in_(withdrawn_pairs()))).scalars())


def _gone(session: Session, campaign_id: int) -> dict[int, int]:
    """How many such pairs each stratum has."""
    m, gone = CampaignPairRow, withdrawn_in(session, campaign_id)
    found: dict[int, int] = {}
    if gone:
        query = select(m.pair_id, m.stratum_id).where(m.campaign_id == campaign_id, m.pair_id.in_(withdrawn_pairs()))
        for pair_id, stratum_id in session.execute(query):
            if pair_id in gone and stratum_id is not None:
                found[stratum_id] = found.get(stratum_id, 0) + 1
    return found


# ---- what a data set says of pairs that nobody read ------------------------------------------------------------------
def bounds(session: Session, pair_ids: Sequence[int]) -> list[dict[str, Any]]:
    """What is known of those of these pairs that were accepted unread: an entry per stratum, for a version's card.

    Each entry: stratum (words), n_pairs, n_read, bad (found in the sample), bound (share of the whole stratum that may
    be bad), confidence, tolerated, campaign, campaign_id, stratum_id, n_here (of these pairs, accepted unread),
    at_most_here (bad ones among those), again (sampled a second time), text.
    """
    s, r, p = StratumRow, ReviewRow, PairRow
    newest = (p.id == r.pair_id) & (r.pair_version == p.version - 1)
    here: dict[int, int] = {}
    for start in range(0, len(pair_ids), 10_000):
        part = list(pair_ids[start : start + 10_000])
        query = select(s.id, func.count()).join(r, r.bulk == s.bulk).join(p, newest)
        query = query.where(s.bound.is_not(None), r.verdict == "accepted", p.id.in_(part)).group_by(s.id)
        for stratum_id, n in session.execute(query):
            here[stratum_id] = here.get(stratum_id, 0) + n
    return [_bound(session, stratum_id, n) for stratum_id, n in sorted(here.items())]


def _bound(session: Session, stratum_id: int, n_here: int) -> dict[str, Any]:
    row = session.get_one(StratumRow, stratum_id)
    campaign = session.get_one(CampaignRow, row.campaign_id)
    state = next(s for s in states(session, row.campaign_id) if s.id == stratum_id)
    share, bad = row.bound or 0.0, state.bad or 0
    words = named(row.kind, row.level, state.model)
    unread_bad = max(0, round(share * row.n_pairs) - bad)
    again = bool(campaign.settings.get("again"))
    text = f"{words}: {bound_text(share, row.confidence, state.n_read, state.n_pairs)}"
    return {
        "stratum": words,
        "n_pairs": state.n_pairs,
        "n_read": state.n_read,
        "bad": bad,
        "bound": share,
        "confidence": row.confidence,
        "tolerated": row.tolerated,
        "campaign": campaign.name,
        "campaign_id": campaign.id,
        "stratum_id": stratum_id,
        "n_here": n_here,
        "at_most_here": min(n_here, unread_bad),
        "again": again,
        "text": text + (" (sampled again after an earlier sample)" if again else ""),
    }


def named(kind: str, level: int | None, model: str) -> str:
    return f"{kind}, {'no level' if level is None else f'level {level}'}, {model}"


def bound_text(share: float, confidence: float, n_read: int, n_pairs: int) -> str:
    """ "at most 4.3 % bad, 95 %, 180 of 9,400 read"; the share is rounded up, so that it stays true."""
    tenths = ceil(share * 1000 - 1e-9) / 10
    return f"at most {tenths:g} % bad, {confidence * 100:g} %, {n_read:,} of {n_pairs:,} read"
