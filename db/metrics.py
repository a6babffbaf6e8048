"""The curves of a run. Recording is an upsert on (run, key, step): a step that is trained again is one point."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import get_args

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from db import dialect
from db.session import now_ms
from db.tables import MetricRow
from tempo_core.curves import Beat
from tempo_core.recipes import Phase
from tempo_core.types import Metric


def record(session: Session, run_id: int, metrics: Iterable[Metric], attempt: int = 1) -> None:
    """Keep values, one transaction per log step. A value that is not finite is kept as a gap."""
    at = now_ms()
    rows = [
        {
            "run_id": run_id,
            "key": m.key,
            "step": int(m.step),
            "attempt": attempt,
            "value": _finite(m.value),
            "ts_ms": at,
        }
        for m in metrics
    ]
    if not rows:
        return
    written = dialect.insert_for(session)(MetricRow)
    fresh = {name: written.excluded[name] for name in ("attempt", "value", "ts_ms")}
    session.execute(written.on_conflict_do_update(index_elements=["run_id", "key", "step"], set_=fresh), rows)


def resumed(session: Session, run_id: int, step: int) -> int:
    """Forget what a killed attempt recorded after the checkpoint of `step`; returns how many values."""
    m = MetricRow
    gone = delete(m).where(m.run_id == run_id, m.step > step).returning(m.step)
    return len(session.execute(gone, execution_options={"synchronize_session": False}).all())


def series(
    session: Session, run_id: int, keys: Collection[str] | None = None, after_step: int = -1
) -> dict[str, list[tuple[int, float | None]]]:
    """(step, value) by key, by step; `after_step` gives what is new since the last look."""
    m = MetricRow
    query = select(m.key, m.step, m.value).where(m.run_id == run_id, m.step > after_step).order_by(m.key, m.step)
    if keys is not None:
        query = query.where(m.key.in_(list(keys)))
    found: dict[str, list[tuple[int, float | None]]] = {}
    for key, step, value in session.execute(query):
        found.setdefault(key, []).append((step, value))
    return found


def beats(session: Session, run_id: int, n: int = 30) -> tuple[Beat, ...]:
    """When the last `n` steps ended, the oldest first; each step of a phase has that phase's loss."""
    m = MetricRow
    losses = m.key.in_([f"{phase}/loss" for phase in get_args(Phase)])
    query = select(m.step, m.ts_ms, m.attempt).where(m.run_id == run_id, losses).order_by(m.step.desc()).limit(n)
    return tuple(Beat(*row) for row in session.execute(query))[::-1]


def pace(session: Session, run_ids: Collection[int]) -> dict[str, float]:
    """Seconds a step of each phase, over runs that went through it in one attempt. Loading models is not in it."""
    m, phases = MetricRow, {f"{phase}/loss": phase for phase in get_args(Phase)}
    spans = select(m.key, func.max(m.ts_ms) - func.min(m.ts_ms), func.count()).where(
        m.run_id.in_(list(run_ids)), m.key.in_(list(phases))
    )
    found: dict[str, tuple[float, int]] = {}
    for key, span_ms, n in session.execute(spans.group_by(m.run_id, m.key).having(func.max(m.attempt) == 1)):
        so_far = found.get(phases[key], (0.0, 0))
        found[phases[key]] = so_far[0] + span_ms / 1000, so_far[1] + n - 1
    return {phase: seconds / n for phase, (seconds, n) in found.items() if n > 0}


def _finite(value: float) -> float | None:
    number = float(value)
    return number if number - number == 0 else None
