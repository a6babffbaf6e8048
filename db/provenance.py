"""Where the pairs of a frozen version come from, counted: what the methods section of a paper tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import datasets
from db.datasets import FrozenPair
from db.tables import (
    DatasetItemRow,
    FilterResultRow,
    ModelRow,
    PairRow,
    PlanRow,
    ResponseRow,
    ReviewRow,
    SamplingRow,
    TimelineRow,
    canonical,
)
from tempo_core.paper.facts import Answered, Bound, Counted, DataFacts, Plans, Reviewed, Rule, Selected


def of_version(session: Session, version_id: int) -> DataFacts:
    """Everything that is stored about how a version came to be, in numbers."""
    card, items = datasets.get(session, version_id), datasets.items(session, version_id)
    n_candidates, n_refused = _candidates(session, version_id)
    sides = {(item.split, item.video_id) for item in items}
    counts = Counter((item.pair.kind, item.pair.level, item.split) for item in items)
    return DataFacts(
        name=card.name,
        number=card.number,
        sha256=card.content_sha256,
        seed=card.seed,
        criteria=card.criteria,
        videos=dict(Counter(split for split, _ in sides)),
        counts=tuple(Counted(*key, n) for key, n in counts.items()),
        plans=tuple(_plans(session, version_id)),
        answered=tuple(_answered(session, version_id)),
        selected=tuple(_selected(session, version_id)),
        rules=tuple(_rules(session, version_id)),
        n_candidates=n_candidates,
        n_refused=n_refused,
        reviewed=_reviewed(session, version_id, items, card.criteria),
        bounds=tuple(_bounds(card.criteria)),
        n_imported=sum(item.order is None for item in items),
    )


def _plans(session: Session, version_id: int) -> Iterator[Plans]:
    p, d = PlanRow, PairRow.difficulty
    figures = func.count(), func.min(d), func.avg(d), func.max(d)
    columns: tuple[Any, ...] = (p.kind, p.magnitude, p.law, *figures)
    query = select(*columns).join(PairRow, PairRow.plan_id == p.id).where(PairRow.id.in_(_pair_ids(version_id)))
    for row in session.execute(query.group_by(p.kind, p.magnitude, p.law).order_by(p.kind, p.magnitude, p.law)):
        yield Plans(*row)


def _answered(session: Session, version_id: int) -> Iterator[Answered]:
    """By model, input and sampling of the chosen answer; the rejected one was asked in the same way."""
    r, m, s = ResponseRow, ModelRow, SamplingRow
    columns: tuple[Any, ...] = (m.id, s.id, PairRow.input, func.count())
    query = (
        select(*columns)
        .select_from(PairRow)
        .join(r, r.id == PairRow.chosen_id)
        .join(m, m.id == r.model_id)
        .join(s, s.id == r.sampling_id)
        .where(PairRow.id.in_(_pair_ids(version_id)), PairRow.plan_id.is_not(None))
        .group_by(m.id, s.id, PairRow.input)
        .order_by(m.id, s.id, PairRow.input)
    )
    for model_id, sampling_id, asked_on, n in session.execute(query):
        model, sampling = session.get_one(m, model_id), session.get_one(s, sampling_id)
        yield Answered(model.name, model.files_sha256, asked_on or "", sampling.settings, n)


def _selected(session: Session, version_id: int) -> Iterator[Selected]:
    t, p = TimelineRow, PlanRow
    columns: tuple[Any, ...] = (t.config_sha256, func.min(t.id), func.count(t.video_id.distinct()))
    query = (
        select(*columns)
        .join(p, p.timeline_id == t.id)
        .join(PairRow, PairRow.plan_id == p.id)
        .where(PairRow.id.in_(_pair_ids(version_id)))
        .group_by(t.config_sha256)
        .order_by(func.min(t.id))
    )
    for _, timeline_id, n_videos in session.execute(query):
        thresholds = session.get_one(t, timeline_id).params
        yield Selected(json.loads(canonical(thresholds)), n_videos)


def _candidates(session: Session, version_id: int) -> tuple[int, int]:
    """Pairs made of the version's videos, and how many of them a rule refused."""
    refused = func.count().filter(PairRow.status == "filtered")
    made = select(func.count(), refused).where(
        PairRow.video_id.in_(_video_ids(version_id)), PairRow.plan_id.is_not(None)
    )
    n, n_refused = session.execute(made).one()
    return n, n_refused


def _rules(session: Session, version_id: int) -> Iterator[Rule]:
    f = FilterResultRow
    columns: tuple[Any, ...] = (f.name, f.rule, func.count(), func.count().filter(f.passed == 0))
    query = (
        select(*columns)
        .join(PairRow, PairRow.id == f.pair_id)
        .where(PairRow.video_id.in_(_video_ids(version_id)), PairRow.plan_id.is_not(None))
        .group_by(f.name, f.rule)
        .order_by(f.name, f.rule)
    )
    for row in session.execute(query):
        yield Rule(*row)


def _reviewed(session: Session, version_id: int, items: Sequence[FrozenPair], criteria: dict[str, Any]) -> Reviewed:
    """By the review that each pair was frozen with; what samples bound is in the version's criteria."""
    r, i = ReviewRow, DatasetItemRow
    query = (
        select(r.bulk.is_(None), r.reviewer_id).join(i, i.review_id == r.id).where(i.dataset_version_id == version_id)
    )
    rows = session.execute(query).all()
    alone = [reviewer_id for decided_alone, reviewer_id in rows if decided_alone]
    n_sampled = sum(int(bound["n_here"]) for bound in criteria.get("sampling", ()))
    return Reviewed(
        n_alone=len(alone),
        n_sampled=n_sampled,
        n_unread=len(rows) - len(alone) - n_sampled,
        n_edited=_edited(session, items),
        n_reviewers=len(set(alone)),
    )


def _edited(session: Session, items: Sequence[FrozenPair]) -> int:
    made: dict[int, tuple[str, str]] = {}
    ids = [item.pair.pair_id for item in items]
    for start in range(0, len(ids), 10_000):
        query = select(PairRow.id, PairRow.chosen, PairRow.rejected).where(PairRow.id.in_(ids[start : start + 10_000]))
        made |= {pair_id: (chosen, rejected) for pair_id, chosen, rejected in session.execute(query)}
    return sum(made[item.pair.pair_id] != (item.pair.chosen, item.pair.rejected) for item in items)


def _bounds(criteria: dict[str, Any]) -> Iterator[Bound]:
    for found in criteria.get("sampling", ()):
        yield Bound(
            stratum=str(found["stratum"]),
            n_pairs=int(found["n_pairs"]),
            n_read=int(found["n_read"]),
            bad=int(found["bad"]),
            bound=float(found["bound"]),
            confidence=float(found["confidence"]),
            n_here=int(found["n_here"]),
            at_most_here=int(found["at_most_here"]),
        )


def _pair_ids(version_id: int) -> Any:
    return select(DatasetItemRow.pair_id).where(DatasetItemRow.dataset_version_id == version_id)


def _video_ids(version_id: int) -> Any:
    return select(PairRow.video_id).where(PairRow.id.in_(_pair_ids(version_id)))
