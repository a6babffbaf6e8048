"""Pairs as points: difficulty against the ratio of lengths, or against a run's reference margin.

What is drawn is a seeded sample; what is found inside a shape is looked up among all pairs of the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import pair_masks
from db.pair_columns import Mask, Numbers, PairColumns, columns
from db.pair_filters import BEFORE, PairFilter
from db.tables import PairScoreRow, RunRow

MOST_POINTS = 5000
"""More would lie on each other, and each look would send them again."""


@dataclass(frozen=True, slots=True)
class Points:
    """Arrays of shape (n,): the sample of the `n_all` pairs of the filter that have both values."""

    ids: Numbers
    x: Numbers
    y: Numbers
    level: Numbers
    n_all: int


def runs(session: Session) -> dict[int, str]:
    """Runs that stored the margins of their pairs before training, the newest first."""
    s, r = PairScoreRow, RunRow
    scored = select(s.run_id).where(s.run_id == r.id, s.moment == BEFORE).exists()
    return {i: name for i, name in session.execute(select(r.id, r.name).where(scored).order_by(r.id.desc()))}


def points(session: Session, wanted: PairFilter, run_id: int | None = None, seed: int = 0) -> Points:
    """y is the length ratio, or with a run its margin."""
    c = columns(session)
    y, there = _values(session, c, wanted, run_id)
    places = np.flatnonzero(there)
    n_all = len(places)
    if n_all > MOST_POINTS:
        places = np.sort(np.random.default_rng(seed).choice(places, MOST_POINTS, replace=False))
    return Points(c.ids[places], c.difficulty[places], y[places], pair_masks.levels(c, wanted)[places], n_all)


def inside(
    session: Session, wanted: PairFilter, corners: Sequence[tuple[float, float]], run_id: int | None = None
) -> list[int]:
    """All pairs of the filter inside a polygon of (difficulty, y), by id."""
    c = columns(session)
    y, there = _values(session, c, wanted, run_id)
    return list(c.ids[there & _in_polygon(c.difficulty, y, corners)].tolist())


def _values(session: Session, c: PairColumns, wanted: PairFilter, run_id: int | None) -> tuple[Numbers, Mask]:
    y = c.length_ratio
    if run_id is not None:
        y, s = np.full(len(c), np.nan), PairScoreRow
        scored = select(s.pair_id, s.margin).where(s.run_id == run_id, s.moment == BEFORE, s.margin.is_not(None))
        rows = [(pair_id, margin) for pair_id, margin in session.execute(scored.order_by(s.pair_id))]
        if rows:
            y[c.places(row[0] for row in rows)] = [row[1] for row in rows]
    there: Mask = pair_masks.chosen(session, c, wanted) & ~np.isnan(c.difficulty) & ~np.isnan(y)
    return y, there


def _in_polygon(x: Numbers, y: Numbers, corners: Sequence[tuple[float, float]]) -> Mask:
    """Even-odd rule: a ray to the right crosses the outline an odd number of times."""
    found = np.zeros(len(x), bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], *corners[:1]], strict=True):
        if y0 != y1:
            found ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return found
