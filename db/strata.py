"""Strata: pairs of one kind, level and answering model, judged by a sample of them that readers see blind.

A stratum's members and their order are frozen when it is drawn. Nothing of good and bad is told before its sample is
complete or has failed; a pair that readers could not call either way counts as bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

from sqlalchemy import Select, case, func, insert, select, update
from sqlalchemy.orm import Session

from db import withdrawals
from db.opinion_standings import standing
from db.pair_filters import QUARTERS, PairFilter, levels, where
from db.tables import CampaignPairRow, CampaignRow, ModelRow, OpinionRow, PairRow, ResponseRow, ReviewRow, StratumRow
from tempo_core import acceptance
from tempo_core.acceptance import Bound, Plan
from tempo_core.errors import TooFew

QUIETLY = {"synchronize_session": False}

Key = tuple[str, int | None, int]
"""Kind, level and answering model of a stratum."""

Verdict = Literal["reading", "waiting", "accepted", "refused"]
"""Waiting: the sample is complete, and it depends on the other strata (Holm) whether it passes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a campaign promises. `max_bad`: bad ones allowed in each sample, else chosen from `expected_bad`."""

    tolerated: float = 0.05
    confidence: float = 0.95
    expected_bad: float = 0.01
    max_bad: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StratumPlan:
    """A stratum before it is drawn."""

    kind: str
    level: int | None
    model_id: int
    model: str
    n_pairs: int
    plan: Plan
    accepts_good: float
    """How likely it passes when as good as expected."""


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


# ---- drawing --------------------------------------------------------------------------------------------------------
def sizes(session: Session, wanted: PairFilter, *, again: bool = False) -> dict[Key, int]:
    """Pending pairs of the filter in each stratum; by kind, level and model."""
    members = _members(session, wanted, again=again).subquery()
    columns: tuple[Any, ...] = (members.c.kind, members.c.level, members.c.model_id)
    query = select(*columns, func.count()).group_by(*columns)
    found = {(kind, level, model): n for kind, level, model, n in session.execute(query)}
    return dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0, item[0][2])))


def plans(of: Mapping[Key, int], asked: Asked, names: Mapping[int, str]) -> list[StratumPlan]:
    """What each stratum needs. Those read to the last pair take no share of the error probability."""
    n_sampled = sum(n >= acceptance.SMALL for n in of.values())
    first = [_plan(n, asked, max(1, n_sampled)) for n in of.values()]
    sampled = [plan.n_sample < n for plan, n in zip(first, of.values(), strict=True)]
    n_strata, found = max(1, sum(sampled)), []
    for (key, n), plan, drawn in zip(of.items(), first, sampled, strict=True):
        final = _plan(n, asked, n_strata) if drawn else plan
        good = acceptance.accepts(n, final, asked.expected_bad)
        found.append(StratumPlan(key[0], key[1], key[2], names.get(key[2], ""), n, final, good))
    return found


def _plan(n: int, asked: Asked, n_strata: int) -> Plan:
    return acceptance.plan(
        n,
        asked.tolerated,
        asked.confidence,
        expected_bad=asked.expected_bad,
        max_bad=asked.max_bad,
        n_strata=n_strata,
    )


def preview(session: Session, wanted: PairFilter, asked: Asked, *, again: bool = False) -> list[StratumPlan]:
    """The strata that a campaign of this filter would have."""
    return plans(sizes(session, wanted, again=again), asked, model_names(session))


def model_names(session: Session) -> dict[int, str]:
    return dict(session.execute(select(ModelRow.id, ModelRow.name)).tuples().all())


def draw(session: Session, campaign: CampaignRow, wanted: PairFilter, asked: Asked, *, again: bool = False) -> None:
    """Freeze the strata of a new campaign, their members and their order.

    Args:
        again: Also take pairs whose stratum was read before. A second try is a second chance; the campaign says so.

    Raises:
        TooFew: The filter holds no pending pair that is free.
    """
    of: dict[Key, list[int]] = {}
    for pair_id, kind, level, model_id in session.execute(_members(session, wanted, again=again)):
        of.setdefault((kind, level, model_id), []).append(pair_id)
    if not of:
        raise TooFew(
            "This filter holds no pending pair that could be sampled: all are decided, or their stratum is being read "
            "or was read before. Widen the filter, end the other campaign, or allow sampling again."
        )
    of = dict(sorted(of.items(), key=lambda item: (item[0][0], item[0][1] or 0, item[0][2])))
    place = {
        pair_id: i
        for i, pair_id in enumerate(acceptance.drawn_order([i for ids in of.values() for i in ids], campaign.seed))
    }
    for plan, ids in zip(plans({key: len(ids) for key, ids in of.items()}, asked, {}), of.values(), strict=True):
        _freeze(session, campaign, plan, sorted(ids, key=place.__getitem__), place, asked)
    if again:
        campaign.settings = campaign.settings | {"again": True}
    session.flush()


def _freeze(
    session: Session,
    campaign: CampaignRow,
    plan: StratumPlan,
    ids: Sequence[int],
    place: Mapping[int, int],
    asked: Asked,
) -> None:
    """`max_bad` is the most that can still pass, by the mildest level Holm may come to; fewer pass for sure."""
    n_sample = plan.plan.n_sample
    most = acceptance.allowed(plan.n_pairs, n_sample, asked.tolerated, asked.confidence)
    row = StratumRow(
        campaign_id=campaign.id,
        kind=plan.kind,
        level=plan.level,
        model_id=plan.model_id,
        n_pairs=plan.n_pairs,
        n_sample=n_sample,
        max_bad=max(plan.plan.max_bad, most),
        tolerated=asked.tolerated,
        confidence=asked.confidence,
    )
    session.add(row)
    session.flush()
    values = [
        {
            "campaign_id": campaign.id,
            "pair_id": pair_id,
            "stratum_id": row.id,
            "ordinal": place[pair_id],
            "drawn": number < n_sample,
            "claim_until_ms": 0,
        }
        for number, pair_id in enumerate(ids)
    ]
    session.execute(insert(CampaignPairRow), values)


def _members(session: Session, wanted: PairFilter, *, again: bool) -> Select[Any]:
    """(id, kind, level, model) of the pending pairs of a filter that no other sample holds."""
    p, ranked = PairRow, levels(QUARTERS).subquery()
    return (
        select(p.id, p.kind, ranked.c.level, ResponseRow.model_id)
        .join(ResponseRow, ResponseRow.id == p.chosen_id)
        .outerjoin(ranked, ranked.c.id == p.id)
        .where(*where(wanted.with_status("pending")), p.video_id.not_in(withdrawals.withdrawn_ids()))
        .where(p.id.not_in(_taken(session, again=again)))
    )


def _taken(session: Session, *, again: bool) -> Select[int]:
    """Pairs of strata that are being read, and (unless asked for again) of those that were read before."""
    s, m, c = StratumRow, CampaignPairRow, CampaignRow
    rows = session.execute(select(s.id, s.bulk, c.closed_ms, c.id).join(c, c.id == s.campaign_id)).tuples().all()
    read = {} if again else {i: n for of in {row[3] for row in rows} for i, (n, _) in counts(session, of).items()}
    taken = [i for i, bulk, closed_ms, _ in rows if (bulk is None and closed_ms is None) or read.get(i)]
    return select(m.pair_id).where(m.stratum_id.in_(taken))


def fill_up(session: Session, campaign_id: int) -> None:
    """Where a drawn pair's video was withdrawn, draw the next of the frozen order, which is still a random one."""
    m, gone = CampaignPairRow, _withdrawn()
    here = update(m).where(m.campaign_id == campaign_id)
    lost = select(m.stratum_id, m.pair_id).where(m.campaign_id == campaign_id, m.drawn, m.pair_id.in_(gone))
    for stratum_id, pair_id in session.execute(lost).tuples().all():
        session.execute(here.where(m.pair_id == pair_id).values(drawn=False), execution_options=QUIETLY)
        later = select(m.pair_id).where(m.stratum_id == stratum_id, ~m.drawn, m.pair_id.not_in(gone))
        following = session.execute(later.order_by(m.ordinal).limit(1)).scalar_one_or_none()
        if following is not None:
            drawn = here.where(m.pair_id == following).values(drawn=True)
            session.execute(drawn, execution_options=QUIETLY)


# ---- verdicts -------------------------------------------------------------------------------------------------------
def states(session: Session, campaign_id: int) -> list[StratumState]:
    """Every stratum of a campaign, with verdicts as far as there are any."""
    query = select(StratumRow, ModelRow.name).join(ModelRow, ModelRow.id == StratumRow.model_id)
    rows = session.execute(query.where(StratumRow.campaign_id == campaign_id).order_by(StratumRow.id)).all()
    read, gone = counts(session, campaign_id), _gone(session, campaign_id)
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


def counts(session: Session, campaign_id: int) -> dict[int, tuple[int, int]]:
    """(pairs read, bad among them) of each stratum, as of now; a pair that could not be called counts as bad."""
    m, o = CampaignPairRow, OpinionRow
    bad = func.sum(case((o.verdict == "good", 0), else_=1))
    here = (m.campaign_id == o.campaign_id) & (m.pair_id == o.pair_id)
    query = standing(m.stratum_id, func.count(), bad).join(m, here).where(o.campaign_id == campaign_id, m.drawn)
    query = query.where(m.pair_id.not_in(_withdrawn())).group_by(m.stratum_id)
    return {i: (n, bad) for i, n, bad in session.execute(query)}


def _withdrawn() -> Select[int]:
    return select(PairRow.id).where(PairRow.video_id.in_(withdrawals.withdrawn_ids()))


def _gone(session: Session, campaign_id: int) -> dict[int, int]:
    """Pairs of each stratum whose video was withdrawn after it was drawn."""
    m = CampaignPairRow
    query = select(m.stratum_id, func.count()).where(m.campaign_id == campaign_id)
    gone = query.where(m.pair_id.in_(_withdrawn())).group_by(m.stratum_id)
    return {i: n for i, n in session.execute(gone).tuples() if i is not None}


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
    unread_bad = max(0, round(share * state.n_pairs) - bad)
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
