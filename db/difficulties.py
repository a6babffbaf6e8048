"""How hard the pairs are, for the curriculum page: percentiles, levels and histograms, from the columns in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from db import pair_masks
from db.level_cuts import n_below
from db.pair_columns import STATUSES, Mask, Numbers, PairColumns, columns, finite
from db.pair_filters import NO_FILTER, QUARTERS, PairFilter, checked, where
from db.standings import standing
from db.tables import PairRow, ReviewRow, VideoRow
from tempo_core.types import PairRef


@dataclass(frozen=True, slots=True)
class PairPlace:
    """Where a pair stands among its kind."""

    id: int
    video_id: int
    kind: str
    magnitude: int | None
    difficulty: float | None
    status: str
    percentile: float | None


def percentiles(session: Session, wanted: PairFilter = NO_FILTER) -> list[PairPlace]:
    """Every pair of the filter with its percentile inside the kind (over all pairs no rule refused), by id."""
    c = columns(session)
    ranks, there = c.percentiles(), _unrefused(session, c, wanted)
    return [
        PairPlace(
            int(c.ids[i]), int(c.video_id[i]), c.kinds[c.kind[i]], _known(c.magnitude[i]), finite(c.difficulty[i]),
            STATUSES[c.status[i]], finite(ranks[i]),
        )
        for i in np.flatnonzero(there)
    ]  # fmt: skip


def _unrefused(session: Session, c: PairColumns, wanted: PairFilter) -> Mask:
    passed: Mask = c.status != STATUSES.index("filtered")
    return pair_masks.chosen(session, c, wanted) & passed


def _known(value: int) -> int | None:
    return None if value < 0 else int(value)


def per_level(
    session: Session,
    thresholds: tuple[float, float, float] = QUARTERS,
    axis: str = "measured",
    wanted: PairFilter = NO_FILTER,
) -> dict[str, tuple[int, int, int, int]]:
    """Pairs on levels 1..4 of each kind, under these thresholds."""
    c = columns(session)
    levels = pair_masks.levels(c, replace(NO_FILTER, axis=axis, thresholds=checked(thresholds)))
    there, found = _unrefused(session, c, wanted), dict[str, tuple[int, int, int, int]]()
    for number, kind in sorted(enumerate(c.kinds), key=lambda each: each[1]):
        ours = there & (c.kind == number) & (levels > 0 if axis != "paper" else c.magnitude > 0)
        if ours.any():
            n = np.bincount(levels[ours], minlength=5)
            found[kind] = (int(n[1]), int(n[2]), int(n[3]), int(n[4]))
    return found


def raw_thresholds(
    session: Session, thresholds: tuple[float, float, float] = QUARTERS
) -> dict[str, tuple[float, float, float]]:
    """The difficulties that the percentiles mean for each kind now: what a frozen curriculum stores."""
    cuts, found = checked(thresholds), dict[str, tuple[float, float, float]]()
    for kind, values in columns(session).ranked.items():
        first, second, third = (_begins(values, cut) for cut in cuts)
        found[kind] = (first, second, third)
    return found


def _begins(values: Numbers, cut: float) -> float:
    """The lowest of these rising difficulties whose percentile is not below the cut; 1 where there is none."""
    m = n_below(cut, len(values))
    above = int(np.searchsorted(values, values[m - 1], "right")) if m else 0
    return float(values[above]) if above < len(values) else 1.0


def histogram(session: Session, bins: int = 40, wanted: PairFilter = NO_FILTER) -> dict[str, list[int]]:
    """Pairs per bin of difficulty 0..1, for each kind; 1 falls into the last bin."""
    c = columns(session)
    there, found = _unrefused(session, c, wanted) & ~np.isnan(c.difficulty), dict[str, list[int]]()
    for number, kind in sorted(enumerate(c.kinds), key=lambda each: each[1]):
        values = c.difficulty[there & (c.kind == number)]
        if len(values):
            place = np.clip((values * bins).astype(np.int64), 0, bins - 1)
            found[kind] = np.bincount(place, minlength=bins).tolist()
    return found


def refs(
    session: Session,
    thresholds: tuple[float, float, float] = QUARTERS,
    axis: str = "measured",
    wanted: PairFilter = NO_FILTER,
) -> list[PairRef]:
    """The pairs of a filter as the planner reads them, on the levels that these thresholds give; by id.

    What a version frozen now would hold, lengths of edited answers included.
    """
    p, c = PairRow, columns(session)
    leveled = pair_masks.levels(c, replace(NO_FILTER, axis=axis, thresholds=checked(thresholds)))
    level_of = dict(zip(c.ids.tolist(), leveled.tolist(), strict=True))
    asked: tuple[Any, ...] = (
        p.id, VideoRow.sha256, p.kind, p.difficulty, p.magnitude, func.length(p.chosen), func.length(p.rejected),
    )  # fmt: skip
    query = select(*asked).join(VideoRow, VideoRow.id == p.video_id)
    rows = session.execute(query.where(p.status != "filtered", *where(wanted, session)).order_by(p.id))
    found: dict[int, PairRef] = {}
    for row in rows:
        values: tuple[Any, ...] = (*row[:3], level_of[row[0]] or None, *row[3:])
        found[row[0]] = PairRef(*values)
    r = ReviewRow
    edited = or_(r.swapped == 1, r.edited_chosen.is_not(None), r.edited_rejected.is_not(None))
    ids = set(session.execute(select(r.pair_id).where(edited)).scalars()) & found.keys()
    for pair_id, decided in standing(session, sorted(ids)).items():
        row = session.execute(select(p.chosen, p.rejected).where(p.id == pair_id)).one()
        chosen, rejected = decided.texts(row.chosen, row.rejected)
        found[pair_id] = replace(found[pair_id], n_chosen=len(chosen), n_rejected=len(rejected))
    return list(found.values())
