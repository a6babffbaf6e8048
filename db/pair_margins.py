"""How the newest training run ranks single pairs after training: beside a pair on the desk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.run_pairs import FINAL
from db.tables import PairScoreRow, RunRow


@dataclass(frozen=True, slots=True)
class Margin:
    """The reward margin of a pair: above 0, the run's model prefers the chosen response."""

    run_id: int
    run: str
    value: float


def newest(session: Session, pair_ids: Collection[int]) -> dict[int, Margin]:
    """By pair, from the newest run that scored it at its end; pairs that no run scored are left out."""
    s = PairScoreRow
    # All three columns of the key are named, so each row is looked up and nothing is read through.
    of_runs = s.run_id.in_(select(RunRow.id)), s.moment == FINAL, s.pair_id.in_(list(pair_ids)), s.margin.is_not(None)
    last = select(s.pair_id, func.max(s.run_id).label("run_id")).where(*of_runs).group_by(s.pair_id).subquery()
    query = (
        select(s.pair_id, RunRow.id, RunRow.name, s.margin)
        .join(last, (last.c.pair_id == s.pair_id) & (last.c.run_id == s.run_id))
        .join(RunRow, RunRow.id == s.run_id)
        .where(s.moment == FINAL)
    )
    rows = session.execute(query)
    return {pair_id: Margin(run_id, name, value) for pair_id, run_id, name, value in rows if value is not None}
