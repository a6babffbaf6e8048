"""Automatic rules and measured difficulty, held to what people said of the pairs they saw.

A pair that a rule refused is not queued, so people see such pairs only where a campaign asks for them. Until then a
rule's precision cannot be known, and its recall is over pairs that every rule let through: it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import withdrawals
from db.opinion_standings import standing
from db.pair_columns import columns
from db.pair_filters import QUARTERS
from db.tables import FilterResultRow, OpinionRow, PairRow, ReviewRow
from tempo_core.statistics import exact


@dataclass(frozen=True, slots=True)
class Share:
    """`n_yes` of `n`, with the exact 95 % interval; None where there is nothing to divide by."""

    n_yes: int
    n: int
    value: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """One rule against people. `refused` counts all pairs that fail it, `refused_seen` those that people judged.

    `precision`: of the pairs it refused and people saw, how many are bad. `recall`: of the bad pairs that people
    saw, how many it refused. People see far more of the pairs that passed, so `weighted` is the recall over all
    pairs, if those that people judged are like the others of their side (refused by this rule, by any, by none);
    None until people have judged pairs of each side.
    """

    rule: str
    refused: int
    refused_seen: int
    precision: Share
    recall: Share
    weighted: float | None


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """How often people rejected pairs of a level: 1 (easiest) .. 4."""

    level: int
    rejected: Share


def share(n_yes: int, n: int) -> Share:
    low, high = exact(n_yes, n)
    return Share(n_yes, n, n_yes / n if n else None, low, high)


def judged(session: Session) -> dict[int, bool]:
    """Pair -> whether people call it bad: the decision made about it alone, else the newest opinion.

    Flags and ties say neither, and bulk decisions are not about the pair; both are left out. A pair accepted with
    its sides exchanged was bad as it was made.
    """
    o, r, p = OpinionRow, ReviewRow, PairRow
    said: dict[int, bool] = {}
    opinions = standing(o.pair_id, o.verdict).where(o.verdict.in_(("good", "bad"))).order_by(o.id)
    for pair_id, verdict in session.execute(opinions):
        said[pair_id] = verdict == "bad"
    newest = (p.id == r.pair_id) & (r.pair_version == p.version - 1)
    query = select(p.id, p.status, r.swapped).join(r, newest).where(r.bulk.is_(None))
    for pair_id, status, swapped in session.execute(query.where(p.status.in_(("accepted", "rejected")))):
        said[pair_id] = status == "rejected" or swapped
    return said


def rules(session: Session, said: Mapping[int, bool] | None = None) -> list[RuleCheck]:
    """Every rule that has a verdict on some pair, by name; `said` is what `judged` gives, if it is at hand."""
    f, said = FilterResultRow, judged(session) if said is None else said
    n_bad = sum(said.values())
    refused: dict[str, list[int]] = {
        name: [] for name in session.execute(select(f.name).distinct().order_by(f.name)).scalars()
    }
    live = select(PairRow.id).where(PairRow.video_id.in_(withdrawals.withdrawn_ids()))
    query = select(f.name, f.pair_id).where(f.passed == False, f.pair_id.not_in(live)).distinct()  # noqa: E712
    for name, pair_id in session.execute(query):
        refused[name].append(pair_id)
    any_rule = {i for ids in refused.values() for i in ids}
    n_passed = _n_live(session) - len(any_rule)
    bad_refused = _about(len(any_rule), [said[i] for i in any_rule if i in said])
    bad_passed = _about(n_passed, [bad for i, bad in said.items() if i not in any_rule])
    found = []
    for name, ids in refused.items():
        seen = [said[i] for i in ids if i in said]
        ours, weighted = _about(len(ids), seen), None
        if ours is not None and bad_refused is not None and bad_passed is not None and bad_refused + bad_passed:
            weighted = min(1.0, ours / (bad_refused + bad_passed))
        bad = sum(seen)
        found.append(RuleCheck(name, len(ids), len(seen), share(bad, len(seen)), share(bad, n_bad), weighted))
    return found


def _about(n: int, judged_bad: Sequence[bool]) -> float | None:
    """How many of `n` pairs are bad, if they are like those that were judged."""
    return n * sum(judged_bad) / len(judged_bad) if judged_bad else None


def _n_live(session: Session) -> int:
    p = PairRow
    query = select(func.count()).select_from(p).where(p.video_id.not_in(withdrawals.withdrawn_ids()))
    return session.execute(query).scalar_one()


def by_level(session: Session, said: Mapping[int, bool] | None = None) -> list[LevelCheck]:
    """Rejection rate by measured difficulty, over pairs that people judged."""
    said, c = judged(session) if said is None else said, columns(session)
    of: dict[int, list[bool]] = {1: [], 2: [], 3: [], 4: []}
    for pair_id, level in zip(c.ids.tolist(), c.levels(QUARTERS).tolist(), strict=True):
        if level and pair_id in said:
            of[level].append(said[pair_id])
    return [LevelCheck(level, share(sum(bad), len(bad))) for level, bad in of.items()]


def n_filtered(session: Session) -> int:
    """Pairs that some rule refused and whose videos may be shown."""
    p = PairRow
    query = select(func.count()).where(p.status == "filtered", p.video_id.not_in(withdrawals.withdrawn_ids()))
    return session.execute(query).scalar_one()
