"""What a run learned of each kind and level, from its stored plan, margins and curves."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, aliased

from db import metrics
from db.run_pairs import BEFORE, FINAL
from db.tables import PairRow, PairScoreRow, PlannedPairRow
from tempo_core.learning import Curves, Trained
from tempo_core.levels import LEVELS
from tempo_core.perturbation import PERTURBATIONS
from tempo_core.types import level_key


def pairs(session: Session, run_id: int) -> tuple[Trained, ...]:
    """Each pair of the plan once."""
    p, before, final = PlannedPairRow, aliased(PairScoreRow, name="before"), aliased(PairScoreRow, name="final")
    query = (
        select(PairRow.kind, p.level, p.difficulty, before.margin, final.margin, PairRow.video_id, p.pair_id)
        .distinct()
        .select_from(p)
        .join(PairRow, PairRow.id == p.pair_id)
        .outerjoin(before, and_(before.run_id == run_id, before.moment == BEFORE, before.pair_id == p.pair_id))
        .outerjoin(final, and_(final.run_id == run_id, final.moment == FINAL, final.pair_id == p.pair_id))
        .where(p.run_id == run_id)
        .order_by(p.pair_id)
    )
    return tuple(Trained(*row[:5], video=str(row.video_id)) for row in session.execute(query))


def curves(session: Session, run_id: int, name: str) -> Curves:
    """`accuracy` or `reward_chosen` over the steps, by kind and level."""
    keys = {f"{kind}/{level_key(level)}/{name}": (kind, level) for kind in PERTURBATIONS for level in LEVELS}
    return {keys[key]: series for key, series in metrics.series(session, run_id, keys).items()}
