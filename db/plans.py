"""Perturbation plans, as drawn: the order alone replays one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import PlanRow
from tempo_core.errors import Unknown
from tempo_core.types import Difficulty, PerturbationPlan


def record(
    session: Session, video_id: int, timeline_id: int, plan: PerturbationPlan, sha256: str, difficulty: Difficulty
) -> int:
    """Keep a plan; one known by its sha256, or of the same order on this timeline, is not kept twice."""
    known = known_id(session, timeline_id, plan, sha256)
    if known is not None:
        return known
    row = PlanRow(
        sha256=sha256,
        video_id=video_id,
        timeline_id=timeline_id,
        kind=plan.kind,
        magnitude=plan.magnitude,
        seed=plan.seed,
        law=plan.law,
        attempt=plan.attempt,
        aliases=list(plan.aliases),
        clip_order=[int(index) for index in plan.order],
        difficulty=float(difficulty.value),
        measures={name: float(value) for name, value in difficulty.measures.items()},
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    return row.id


def known_id(session: Session, timeline_id: int, plan: PerturbationPlan, sha256: str) -> int | None:
    found = session.execute(select(PlanRow.id).where(PlanRow.sha256 == sha256)).scalar_one_or_none()
    if found is not None or plan.law != "tempo":
        return found
    order = [int(index) for index in plan.order]
    twin = select(PlanRow.id).where(
        PlanRow.timeline_id == timeline_id, PlanRow.clip_order == order, PlanRow.law == plan.law
    )
    return session.execute(twin).scalar_one_or_none()


def get(session: Session, plan_id: int) -> tuple[PerturbationPlan, Difficulty]:
    row = session.get(PlanRow, plan_id)
    if row is None:
        raise Unknown(f"There is no plan {plan_id}.")
    return as_plan(row), Difficulty(row.difficulty, row.measures)


def as_plan(row: Any) -> PerturbationPlan:
    return PerturbationPlan(
        kind=row.kind,
        magnitude=row.magnitude,
        seed=row.seed,
        order=tuple(row.clip_order),
        law=row.law,
        aliases=tuple(row.aliases),
        attempt=row.attempt,
    )
