"""How far people agree: second opinions against first decisions, and where they differ.

A first decision is what the first reviewer of a pair had decided, alone and not in bulk, when the second opinion was
given; what anybody decides later settles a disagreement and must not hide it from the figures.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import withdrawals
from db.opinion_standings import standing
from db.standings import stack
from db.tables import CampaignRow, OpinionRow, PairRow, ReviewRow, UserRow
from tempo_core import agreement
from tempo_core.agreement import Agreement

WORDS = {"accepted": "good", "rejected": "bad", "flagged": "unsure"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One pair judged by two people. Verdicts are about the pair as it was made: good, bad or unsure."""

    pair_id: int
    video_id: int
    campaign_id: int
    campaign: str
    kind: str
    first_by: str
    first: str
    second_by: str
    second: str
    reason: str | None
    given_ms: int
    resolved: bool

    @property
    def differ(self) -> bool:
        return self.first != self.second


@dataclass(frozen=True, slots=True)
class Between:
    """How two people agree on the pairs that both judged."""

    first: str
    second: str
    figure: Agreement


def compared(session: Session, campaign_id: int | None = None) -> list[Compared]:
    """Every second opinion beside the decision that stood when it was given, the newest first."""
    o = OpinionRow
    columns: tuple[Any, ...] = (
        o.pair_id, PairRow.video_id, o.campaign_id, CampaignRow.name.label("campaign"), PairRow.kind, o.reviewer_id,
        UserRow.name.label("by"), o.verdict, o.reason, o.created_ms,
    )  # fmt: skip
    query = (
        standing(*columns)
        .join(CampaignRow, CampaignRow.id == o.campaign_id)
        .join(PairRow, PairRow.id == o.pair_id)
        .join(UserRow, UserRow.id == o.reviewer_id)
        .where(CampaignRow.kind == "second", PairRow.video_id.not_in(withdrawals.withdrawn_ids()))
    )
    if campaign_id is not None:
        query = query.where(o.campaign_id == campaign_id)
    given = session.execute(query.order_by(o.id.desc())).all()
    past = _past(session, sorted({row.pair_id for row in given}))
    found = []
    for row in given:
        first = _first(past.get(row.pair_id, []), row.created_ms)
        if first is None or first.reviewer_id == row.reviewer_id:
            continue
        later = any(r.created_ms > row.created_ms for r in past[row.pair_id])
        found.append(
            Compared(
                row.pair_id,
                row.video_id,
                row.campaign_id,
                row.campaign,
                row.kind,
                first.by,
                _word(first),
                row.by,
                row.verdict,
                row.reason,
                row.created_ms,
                later,
            )
        )
    return found


def disagreements(session: Session) -> list[Compared]:
    """Second opinions that differ from the first decision and that nobody has settled by a later decision."""
    return [c for c in compared(session) if c.differ and not c.resolved]


def between(judged: list[Compared]) -> list[Between]:
    """Kappa of every two people, those with most pairs first; resampled by video."""
    pairs: dict[tuple[str, str], list[Compared]] = {}
    for c in judged:
        pairs.setdefault((min(c.first_by, c.second_by), max(c.first_by, c.second_by)), []).append(c)
    found = []
    for (one, other), of in pairs.items():
        first = [c.first if c.first_by == one else c.second for c in of]
        second = [c.second if c.first_by == one else c.first for c in of]
        found.append(Between(one, other, agreement.kappa(first, second, [c.video_id for c in of])))
    return sorted(found, key=lambda b: -b.figure.n)


def overall(judged: list[Compared]) -> tuple[Agreement, Agreement]:
    """Cohen's kappa of first decisions against second opinions, and Krippendorff's alpha over all who judged."""
    first, second = [c.first for c in judged], [c.second for c in judged]
    kappa = agreement.kappa(first, second, [c.video_id for c in judged])
    ratings: dict[Hashable, dict[Hashable, str]] = {}
    for c in sorted(judged, key=lambda c: c.given_ms):
        ratings.setdefault(c.pair_id, {}).update({c.first_by: c.first, c.second_by: c.second})
    return kappa, agreement.alpha(ratings, {c.pair_id: c.video_id for c in judged})


def _past(session: Session, pair_ids: list[int]) -> dict[int, list[Any]]:
    """The reviews of these pairs in order, with who made them."""
    r, found = ReviewRow, list[Any]()
    columns: tuple[Any, ...] = (
        r.id, r.pair_id, r.act, r.verdict, r.of_id, r.swapped, r.edited_chosen, r.edited_rejected, r.bulk,
        r.reviewer_id, r.created_ms, UserRow.name.label("by"),
    )  # fmt: skip
    for start in range(0, len(pair_ids), 10_000):
        part = pair_ids[start : start + 10_000]
        query = select(*columns).join(UserRow, UserRow.id == r.reviewer_id).where(r.pair_id.in_(part))
        found += session.execute(query.order_by(r.pair_id, r.pair_version)).all()
    return {pair_id: list(rows) for pair_id, rows in _by_pair(found)}


def _by_pair(rows: list[Any]) -> Iterator[tuple[int, Iterator[Any]]]:
    return groupby(rows, key=lambda row: row.pair_id)


def _first(rows: list[Any], until_ms: int) -> Any | None:
    """The last decision of the first reviewer that stood then; bulk decisions are nobody's judgement of this pair."""
    alone = [row for row in rows if row.created_ms <= until_ms and row.bulk is None]
    ids = {i for entry in stack(alone) for i in entry.review_ids}
    standing_rows = [row for row in alone if row.id in ids and row.act != "reason"]
    if not standing_rows:
        return None
    return [row for row in standing_rows if row.reviewer_id == standing_rows[0].reviewer_id][-1]


def _word(row: Any) -> str:
    """A pair that was accepted with its sides exchanged was bad as it was made."""
    return "bad" if row.swapped else WORDS[row.verdict]
