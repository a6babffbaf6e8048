"""Strata: pairs of one kind, level and answering model, judged by a sample of them that readers see blind.

A stratum's members and their order are frozen when it is drawn; what its sample says is in `verdicts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Select, insert, select, update
from sqlalchemy.orm import Session

from db import pair_masks, verdicts, withdrawals
from db.pair_columns import columns
from db.pair_filters import QUARTERS, PairFilter, levels, where
from db.tables import CampaignPairRow, CampaignRow, ModelRow, PairRow, ResponseRow, StratumRow
from tempo_core import acceptance
from tempo_core.acceptance import Plan
from tempo_core.errors import TooFew

QUIETLY = {"synchronize_session": False}

Key = tuple[str, int | None, int]
"""Kind, level and answering model of a stratum."""


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


# ---- drawing --------------------------------------------------------------------------------------------------------
def sizes(session: Session, wanted: PairFilter, *, again: bool = False) -> dict[Key, int]:
    """Pending pairs of the filter in each stratum, by kind, level and model: counted as `draw` would draw them."""
    if wanted.search.strip():
        found = Counter(_key(row) for row in session.execute(_members(session, wanted, again=again)))
        return dict(sorted(found.items(), key=_in_order))
    c = columns(session)
    mask = pair_masks.chosen(session, c, wanted.with_status("pending"))
    mask &= ~c.only(session.execute(_taken(session, again=again)).scalars())
    mask &= ~np.isin(c.video_id, list(session.execute(withdrawals.withdrawn_ids()).scalars()))
    keys, n = np.unique(np.stack([c.kind, c.levels(QUARTERS), c.model_id])[:, mask], axis=1, return_counts=True)
    of = {
        (c.kinds[kind], int(level) or None, int(model)): int(k)
        for (kind, level, model), k in zip(keys.T, n, strict=True)
    }
    return dict(sorted(of.items(), key=_in_order))


def _key(row: Any) -> Key:
    return row[1], row[2], row[3]


def _in_order(item: tuple[Key, Any]) -> tuple[str, int, int]:
    (kind, level, model_id), _ = item
    return kind, level or 0, model_id


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
    return dict(session.execute(select(ModelRow.id, ModelRow.name)).all())


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
    of = dict(sorted(of.items(), key=_in_order))
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
    rows = session.execute(select(s.id, s.bulk, c.closed_ms, c.id).join(c, c.id == s.campaign_id)).all()
    read = (
        {} if again else {i: n for of in {row[3] for row in rows} for i, (n, _) in verdicts.counts(session, of).items()}
    )
    taken = [i for i, bulk, closed_ms, _ in rows if (bulk is None and closed_ms is None) or read.get(i)]
    return select(m.pair_id).where(m.stratum_id.in_(taken))


def fill_up(session: Session, campaign_id: int) -> None:
    """Where a drawn pair's video was withdrawn, draw the next of the frozen order, which is still a random one."""
    m, gone = CampaignPairRow, verdicts.withdrawn_in(session, campaign_id)
    if not gone:
        return
    here, all_gone = update(m).where(m.campaign_id == campaign_id), verdicts.withdrawn_pairs()
    lost = select(m.stratum_id, m.pair_id).where(m.campaign_id == campaign_id, m.drawn == 1, m.pair_id.in_(all_gone))
    for stratum_id, pair_id in session.execute(lost).all():
        if stratum_id is None or pair_id not in gone:
            continue
        session.execute(here.where(m.pair_id == pair_id).values(drawn=False), execution_options=QUIETLY)
        later = select(m.pair_id).where(m.stratum_id == stratum_id, m.drawn == 0, m.pair_id.not_in(all_gone))
        following = session.execute(later.order_by(m.ordinal).limit(1)).scalar_one_or_none()
        if following is not None:
            drawn = here.where(m.pair_id == following).values(drawn=True)
            session.execute(drawn, execution_options=QUIETLY)
