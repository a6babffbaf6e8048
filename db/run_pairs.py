"""The pairs behind a run's figures: those of a step and a level, and the suspects, which may be wrongly labelled.

A suspect is a pair that training did not bring round: its stored margin after training is below 0, or lower than it
was before. Both margins are the run's own (`runs.score_pairs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from db.tables import PairRow, PairScoreRow, PlannedPairRow, RunStageRow, VideoRow

BEFORE, FINAL = "before", "final"
"""Moments at which a run stores the margins of its pairs."""


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """A pair as one run saw it."""

    id: int
    level: int | None
    kind: str
    magnitude: int | None
    status: str
    video_name: str
    before: float | None
    final: float | None

    @property
    def why(self) -> str:
        """Why it is a suspect; empty if it is none."""
        if self.final is not None and self.final < 0:
            return "still ranked the wrong way"
        if self.final is not None and self.before is not None and self.final < self.before:
            return "its margin fell"
        return ""


@dataclass(frozen=True, slots=True)
class SuspectCounts:
    """`n_wrong` of `n` scored pairs are still ranked the wrong way, of the others the margin of `n_fell` fell."""

    n: int
    n_wrong: int
    n_fell: int
    has_before: bool


def first_step(session: Session, run_id: int) -> int:
    """The step, counted from 1 over the whole run, that trains the plan's step 0; an SFT phase may come before it."""
    s = RunStageRow
    query = select(func.min(s.first_step)).where(s.run_id == run_id, s.phase != "sft")
    return session.execute(query).scalar_one() or 1


def of_steps(
    session: Session, run_id: int, first: int, last: int, level: int | None = None, *, any_level: bool = False
) -> tuple[TrainedPair, ...]:
    """The pairs that steps `first` to `last` of the run trained, each once, in their order.

    Args:
        level: 1 to 4, or None for imported pairs; not asked with `any_level`.
    """
    offset, p = first_step(session, run_id), PlannedPairRow
    wanted = [p.run_id == run_id, p.step.between(first - offset, last - offset)]
    if not any_level:
        wanted.append(p.level.is_(None) if level is None else p.level == level)
    query = select(p.pair_id, p.level, func.min(p.ordinal).label("ordinal")).where(*wanted).group_by(p.pair_id, p.level)
    places = query.subquery()
    found = _described(run_id, places.c.pair_id, places.c.level).order_by(places.c.ordinal)
    return tuple(TrainedPair(*row) for row in session.execute(found))


def suspects(
    session: Session,
    run_id: int,
    *,
    kinds: Sequence[str] = (),
    levels: Sequence[int | None] = (),
    after: tuple[float, int] | None = None,
    limit: int = 50,
) -> tuple[TrainedPair, ...]:
    """The worst first; the next page begins after `key_of` the last line. `levels` holds None for imported pairs."""
    final, before = aliased(PairScoreRow, name="final"), aliased(PairScoreRow, name="before")
    query = (
        select(PairRow.id, *_ABOUT, before.margin, final.margin)
        .select_from(final)
        .outerjoin(before, and_(before.run_id == run_id, before.moment == BEFORE, before.pair_id == final.pair_id))
        .join(PairRow, PairRow.id == final.pair_id)
        .join(VideoRow, VideoRow.id == PairRow.video_id)
        .where(final.run_id == run_id, final.moment == FINAL, or_(final.margin < 0, final.margin < before.margin))
        .order_by(final.margin, final.pair_id)
        .limit(limit)
    )
    if kinds:
        query = query.where(PairRow.kind.in_(list(kinds)))
    if levels:
        query = query.where(final.pair_id.in_(_of_levels(run_id, levels)))
    if after is not None:
        margin, pair_id = after
        # The first condition is what the index can begin at.
        query = query.where(final.margin >= margin, or_(final.margin > margin, final.pair_id > pair_id))
    rows = session.execute(query).all()
    # Looked up for the lines of the page only: the plan is as long as the run.
    level_of = _levels(session, run_id, [row[0] for row in rows])
    return tuple(TrainedPair(row[0], level_of.get(row[0]), *row[1:]) for row in rows)


def key_of(line: TrainedPair) -> tuple[float, int]:
    """Where the page after this line begins."""
    return (line.final or 0.0, line.id)


def count_suspects(session: Session, run_id: int) -> SuspectCounts:
    final, before = aliased(PairScoreRow, name="final"), aliased(PairScoreRow, name="before")
    wrong = func.count().filter(final.margin < 0)
    fell = func.count().filter(final.margin >= 0, final.margin < before.margin)
    query = (
        select(func.count(final.margin), wrong, fell, func.count(before.margin))
        .select_from(final)
        .outerjoin(before, and_(before.run_id == run_id, before.moment == BEFORE, before.pair_id == final.pair_id))
        .where(final.run_id == run_id, final.moment == FINAL)
    )
    n, n_wrong, n_fell, n_before = session.execute(query).one()
    return SuspectCounts(n, n_wrong, n_fell, n_before > 0)


def levels_trained(session: Session, run_id: int) -> tuple[int | None, ...]:
    """The levels of the run's plan, easiest first, imported pairs last."""
    p = PlannedPairRow
    found = session.execute(select(p.level).where(p.run_id == run_id).distinct()).scalars()
    return tuple(sorted(found, key=lambda level: (level is None, level or 0)))


_ABOUT: tuple[Any, ...] = (PairRow.kind, PairRow.magnitude, PairRow.status, VideoRow.name)


def _of_levels(run_id: int, levels: Sequence[int | None]) -> Select[Any]:
    p = PlannedPairRow
    known = p.level.in_([level for level in levels if level is not None])
    return select(p.pair_id).where(p.run_id == run_id, or_(known, p.level.is_(None)) if None in levels else known)


def _levels(session: Session, run_id: int, pair_ids: Sequence[int]) -> dict[int, int | None]:
    p = PlannedPairRow
    query = select(p.pair_id, p.level).where(p.run_id == run_id, p.pair_id.in_(pair_ids)).distinct()
    return {pair_id: level for pair_id, level in session.execute(query)}


def _described(run_id: int, pair_id: Any, level: Any) -> Select[Any]:
    """Pairs with their two margins, where there are such."""
    final, before = aliased(PairScoreRow, name="final"), aliased(PairScoreRow, name="before")
    query: Select[Any] = (
        select(PairRow.id, level, *_ABOUT, before.margin, final.margin)
        .join(PairRow, PairRow.id == pair_id)
        .join(VideoRow, VideoRow.id == PairRow.video_id)
        .outerjoin(before, and_(before.run_id == run_id, before.moment == BEFORE, before.pair_id == pair_id))
        .outerjoin(final, and_(final.run_id == run_id, final.moment == FINAL, final.pair_id == pair_id))
    )
    return query
