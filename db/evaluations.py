"""Benchmark figures with their intervals and single answers, so that two models can be compared answer by answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import EvaluationItemRow, EvaluationRow, ModelRow, RunRow
from db.timelines import config_sha256
from tempo_core.errors import Unknown
from tempo_core.types import ItemScore, Score


@dataclass(frozen=True, slots=True)
class EvaluationLine:
    """One figure. `run_id` None is the base model; `moment` says after which stage a run was measured."""

    id: int
    run_id: int | None
    run: str | None
    recipe: str | None
    model_id: int
    model: str
    moment: str
    benchmark: str
    split: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    n_groups: int
    n_unparsed: int
    chance: float | None
    settings: dict[str, Any]
    settings_sha256: str
    job_id: int | None
    created_ms: int


def record(
    session: Session,
    scores: Sequence[Score],
    model_id: int,
    settings: Mapping[str, Any],
    *,
    run_id: int | None = None,
    moment: str = "",
    split: str = "held_out",
    job_id: int | None = None,
) -> list[int]:
    """Keep scores with their items; what this job measured already stays as it is."""
    return [_one(session, score, model_id, dict(settings), run_id, moment, split, job_id) for score in scores]


def _one(
    session: Session,
    score: Score,
    model_id: int,
    settings: dict[str, Any],
    run_id: int | None,
    moment: str,
    split: str,
    job_id: int | None,
) -> int:
    e, settings_sha256 = EvaluationRow, config_sha256(settings)
    known = session.execute(
        select(e.id).where(
            func.coalesce(e.run_id, 0) == (run_id or 0),
            e.model_id == model_id,
            e.moment == moment,
            e.benchmark == score.benchmark,
            e.split == split,
            e.metric == score.metric,
            e.settings_sha256 == settings_sha256,
            func.coalesce(e.job_id, 0) == (job_id or 0),
        )
    ).scalar_one_or_none()
    if known is not None:
        return known
    row = EvaluationRow(
        run_id=run_id,
        model_id=model_id,
        moment=moment,
        benchmark=score.benchmark,
        split=split,
        metric=score.metric,
        value=float(score.value),
        low=float(score.low),
        high=float(score.high),
        n=int(score.n),
        n_groups=int(score.n_groups),
        n_unparsed=int(score.n_unparsed),
        chance=None if score.chance is None else float(score.chance),
        settings=settings,
        settings_sha256=settings_sha256,
        job_id=job_id,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    if score.items:
        session.execute(insert(EvaluationItemRow), [_item(row.id, item) for item in score.items])
    return row.id


def _item(evaluation_id: int, item: ItemScore) -> dict[str, Any]:
    return {
        "evaluation_id": evaluation_id,
        "item": item.item,
        "group_key": item.group,
        "correct": None if item.correct is None else float(item.correct),
        "response": item.response,
    }


def measured(session: Session, model_id: int, run_id: int | None, moment: str, settings: Mapping[str, Any]) -> set[str]:
    """The benchmarks that have figures for this model at this moment with these settings."""
    e = EvaluationRow
    query = (
        select(e.benchmark)
        .distinct()
        .where(
            func.coalesce(e.run_id, 0) == (run_id or 0),
            e.model_id == model_id,
            e.moment == moment,
            e.settings_sha256 == config_sha256(dict(settings)),
        )
    )
    return set(session.execute(query).scalars())


def table(session: Session, benchmark: str | None = None, run_id: int | None = None) -> list[EvaluationLine]:
    """Every figure, the newest first."""
    e = EvaluationRow
    columns: tuple[Any, ...] = (
        e.id, e.run_id, RunRow.name, RunRow.recipe, e.model_id, ModelRow.name, e.moment, e.benchmark, e.split, e.metric,
        e.value, e.low, e.high, e.n, e.n_groups, e.n_unparsed, e.chance, e.settings, e.settings_sha256, e.job_id,
        e.created_ms,
    )  # fmt: skip
    query = select(*columns).join(ModelRow, ModelRow.id == e.model_id).outerjoin(RunRow, RunRow.id == e.run_id)
    if benchmark is not None:
        query = query.where(e.benchmark == benchmark)
    if run_id is not None:
        query = query.where(e.run_id == run_id)
    return [EvaluationLine(*row) for row in session.execute(query.order_by(e.id.desc()))]


def items(session: Session, evaluation_id: int) -> tuple[ItemScore, ...]:
    """The single answers, by item."""
    i = EvaluationItemRow
    known = session.execute(select(EvaluationRow.id).where(EvaluationRow.id == evaluation_id)).first()
    if known is None:
        raise Unknown(f"There is no evaluation {evaluation_id}.")
    query = select(i.item, i.group_key, i.correct, i.response).where(i.evaluation_id == evaluation_id)
    return tuple(ItemScore(*row) for row in session.execute(query.order_by(i.item)))
