"""A training is killed, and ends as if it had not been.

The embedded model trains by DPO as a job of a worker; each run is killed with SIGKILL once, at another point, and the
weights and curves at the end are compared with those of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.trust import trained
from benchmarks.trust import yard as yards
from benchmarks.trust.rows import Row, at_most, none_of
from benchmarks.trust.trained import Curves
from benchmarks.trust.yard import Yard
from tempo_core.settings import Home

POINTS = (0.15, 0.4, 0.7)
"""Share of the steps that were recorded when the process was killed."""
EPOCHS = 2


def measure(scratch: Path, effort: float) -> list[Row]:
    points = POINTS if effort >= 1 else POINTS[1:2]
    # One thread, so that sums are made in one order in every process.
    with yards.opened(Home(scratch / "home"), {"OMP_NUM_THREADS": "1"}) as yard:
        version = trained.frozen(yard.database, yard.home)
        yard.worker()
        undisturbed = _run(yard, version, None)
        killed = [_run(yard, version, point) for point in points]
        same_weights, same_curves = trained.weights(yard.home, undisturbed), trained.curves(yard.database, undisturbed)
        other = sum(trained.weights(yard.home, run_id) != same_weights for run_id in killed)
        curves = [trained.curves(yard.database, run_id) for run_id in killed]
    n_files, n_values = len(same_weights), sum(map(len, same_curves.values()))
    moved = sum(_points(found) != _points(same_curves) for found in curves)
    what = f"a DPO run killed at {', '.join(f'{point:.0%}' for point in points)} of its steps"
    return [
        none_of(f"{what}: weights not equal bit for bit ({n_files} files each)", other, len(killed), "runs"),
        none_of(f"{what}: other rows, by key and step ({n_values} rows each)", moved, len(killed), "runs"),
        # References come from the store after a stop, and were summed in rows with other neighbours.
        at_most("the farthest value of a row, relative", _farthest(same_curves, curves), 1e-6, digits=9),
    ]


def _points(curves: Curves) -> dict[str, list[int]]:
    return {key: [step for step, _ in values] for key, values in curves.items()}


def _farthest(one: Curves, others: Sequence[Curves]) -> float:
    pairs = [
        (a or 0.0, b or 0.0)
        for other in others
        for key, values in one.items()
        for (_, a), (_, b) in zip(values, other.get(key, []), strict=False)
    ]
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)


def _run(yard: Yard, version: int, kill_at: float | None) -> int:
    """Train to the end, killed once if so asked; all runs are the same but for that, and start without a cache."""
    shutil.rmtree(yard.home.cache / "reference", ignore_errors=True)
    run_id, job_id = trained.queued(yard.database, yard.person, version, 0, EPOCHS)
    if kill_at is not None:
        yard.until(lambda: _step(yard, run_id) >= max(1.0, kill_at * trained.n_steps(yard.database, run_id)))
        with suppress(ProcessLookupError):
            os.kill(yard.job(job_id).pid or 0, signal.SIGKILL)
    job = yard.ended(job_id)
    if job.state != "succeeded" or job.attempt != 1 + (kill_at is not None):
        raise AssertionError(f"run {run_id} is {job.state} after {job.attempt} attempts: {job.error}")
    return run_id


def _step(yard: Yard, run_id: int) -> int:
    losses = trained.curves(yard.database, run_id).get("dpo/loss", [])
    return losses[-1][0] if losses else 0
