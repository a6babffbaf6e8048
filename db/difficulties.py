"""How hard the pairs are, for the curriculum page: percentiles, levels and histograms, all computed in SQL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Integer, cast, func, or_, select
from sqlalchemy.orm import Session

from db import pair_filters
from db.pair_filters import NO_FILTER, QUARTERS, PairFilter, where
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
    p, ranked = PairRow, pair_filters.percentiles().subquery()
    columns: tuple[Any, ...] = (
        p.id, p.video_id, p.kind, p.magnitude, p.difficulty, p.status, ranked.c.percentile,
    )  # fmt: skip
    query = select(*columns).outerjoin(ranked, ranked.c.id == p.id).where(p.status != "filtered", *where(wanted))
    return [PairPlace(*row) for row in session.execute(query.order_by(p.id))]


def per_level(
    session: Session,
    thresholds: tuple[float, float, float] = QUARTERS,
    axis: str = "measured",
    wanted: PairFilter = NO_FILTER,
) -> dict[str, tuple[int, int, int, int]]:
    """Pairs on levels 1..4 of each kind, under these thresholds."""
    p, ranked = PairRow, pair_filters.levels(thresholds, axis).subquery()
    query = select(p.kind, ranked.c.level, func.count()).join(ranked, ranked.c.id == p.id).where(*where(wanted))
    found: dict[str, list[int]] = {}
    for kind, level, n in session.execute(query.group_by(p.kind, ranked.c.level).order_by(p.kind)):
        counted = found.setdefault(kind, [0, 0, 0, 0])
        if level is not None:
            counted[level - 1] = n
    return {kind: (n[0], n[1], n[2], n[3]) for kind, n in found.items()}


def raw_thresholds(
    session: Session, thresholds: tuple[float, float, float] = QUARTERS
) -> dict[str, tuple[float, float, float]]:
    """The difficulties that the percentiles mean for each kind now: what a frozen curriculum stores."""
    cuts, ranked, p = pair_filters.checked(thresholds), pair_filters.percentiles().subquery(), PairRow
    found: dict[str, list[float]] = {}
    for cut in cuts:
        lowest = func.min(p.difficulty).filter(ranked.c.percentile >= cut)
        query = select(p.kind, lowest).join(ranked, ranked.c.id == p.id).group_by(p.kind)
        for kind, value in session.execute(query):
            found.setdefault(kind, []).append(1.0 if value is None else value)
    return {kind: (v[0], v[1], v[2]) for kind, v in found.items()}


def histogram(session: Session, bins: int = 40, wanted: PairFilter = NO_FILTER) -> dict[str, list[int]]:
    """Pairs per bin of difficulty 0..1, for each kind; 1 falls into the last bin."""
    p = PairRow
    place = func.min(cast(p.difficulty * bins, Integer), bins - 1)
    query = select(p.kind, place, func.count()).where(p.difficulty.is_not(None), p.status != "filtered", *where(wanted))
    found: dict[str, list[int]] = {}
    for kind, number, n in session.execute(query.group_by(p.kind, place).order_by(p.kind)):
        found.setdefault(kind, [0] * bins)[max(0, number)] += n
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
    p, ranked = PairRow, pair_filters.levels(thresholds, axis).subquery()
    columns: tuple[Any, ...] = (
        p.id, VideoRow.sha256, p.kind, ranked.c.level, p.difficulty, p.magnitude, func.length(p.chosen),
        func.length(p.rejected),
    )  # fmt: skip
    query = select(*columns).join(VideoRow, VideoRow.id == p.video_id).outerjoin(ranked, ranked.c.id == p.id)
    found = {row[0]: PairRef(*row) for row in session.execute(
        query.where(p.status != "filtered", *where(wanted)).order_by(p.id)
    )}  # fmt: skip
    r = ReviewRow
    edited = or_(r.swapped, r.edited_chosen.is_not(None), r.edited_rejected.is_not(None))
    ids = set(session.execute(select(r.pair_id).where(edited)).scalars()) & found.keys()
    for pair_id, decided in standing(session, sorted(ids)).items():
        row = session.execute(select(p.chosen, p.rejected).where(p.id == pair_id)).one()
        chosen, rejected = decided.texts(row.chosen, row.rejected)
        found[pair_id] = replace(found[pair_id], n_chosen=len(chosen), n_rejected=len(rejected))
    return list(found.values())
