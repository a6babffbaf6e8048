"""Perturbation plans, as drawn: the order alone replays one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import PlanRow
from tempo_core.errors import Unknown
from tempo_core.types import Difficulty, PerturbationPlan


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """A plan with its hash and its measured difficulty."""

    plan: PerturbationPlan
    sha256: str
    difficulty: Difficulty


def record(
    session: Session, video_id: int, timeline_id: int, plan: PerturbationPlan, sha256: str, difficulty: Difficulty
) -> int:
    """Keep a plan; one known by its sha256, or of the same order on this timeline, is not kept twice."""
    return record_many(session, video_id, timeline_id, [PlanDraft(plan, sha256, difficulty)])[0]


def record_many(session: Session, video_id: int, timeline_id: int, drafts: Sequence[PlanDraft]) -> list[int]:
    """As `record`, for all plans of a timeline; their ids in the order given."""
    known = _known(session, timeline_id, drafts)
    new: dict[_Key, PlanDraft] = {}
    for draft in drafts:
        if draft.sha256 not in known and _key(draft) not in known:
            new.setdefault(_key(draft), draft)
    if new:
        rows = [_values(video_id, timeline_id, draft) for draft in new.values()]
        known |= zip(new, session.scalars(_INSERT, rows), strict=True)
    return [known.get(draft.sha256) or known[_key(draft)] for draft in drafts]


_Key = str | tuple[int, ...]


def _key(draft: PlanDraft) -> _Key:
    """What makes two plans of a timeline the same: the order; the authors' law may draw one twice."""
    return tuple(int(index) for index in draft.plan.order) if draft.plan.law == "tempo" else draft.sha256


def _known(session: Session, timeline_id: int, drafts: Sequence[PlanDraft]) -> dict[_Key, int]:
    """Stored plans by their hash, and those of this timeline that our law drew by their order."""
    p = PlanRow
    found: dict[_Key, int] = {}
    drawn = select(p.clip_order, p.id).where(p.timeline_id == timeline_id, p.law == "tempo")
    for order, row_id in session.execute(drawn):
        found[tuple(order)] = row_id
    same = select(p.sha256, p.id).where(p.sha256.in_([draft.sha256 for draft in drafts]))
    for sha256, row_id in session.execute(same):
        found[sha256] = row_id
    return found


def _values(video_id: int, timeline_id: int, draft: PlanDraft) -> dict[str, Any]:
    plan = draft.plan
    return {
        "sha256": draft.sha256,
        "video_id": video_id,
        "timeline_id": timeline_id,
        "kind": plan.kind,
        "magnitude": plan.magnitude,
        "seed": plan.seed,
        "law": plan.law,
        "attempt": plan.attempt,
        "aliases": list(plan.aliases),
        "clip_order": [int(index) for index in plan.order],
        "difficulty": float(draft.difficulty.value),
        "measures": {name: float(value) for name, value in draft.difficulty.measures.items()},
        "created_ms": now_ms(),
    }


_INSERT = insert(PlanRow).returning(PlanRow.id, sort_by_parameter_order=True)


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
