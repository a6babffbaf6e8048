"""Memory runs out in the middle of a training.

torch's own error is raised in the first attempt at step 4, as a GPU raises it; the second attempt is left alone.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.trust import trained
from benchmarks.trust import yard as yards
from benchmarks.trust.rows import Row, at_most, none_of
from benchmarks.trust.yard import Yard
from db import jobs, run_notes
from tempo_core.settings import Home

AT_STEP = 4
RAISING = f"""
import torch
from tempo_core.training.loop import StageTrainer
checked = StageTrainer.check_finite
def raising(self, loss):
    if self.step + 1 == {AT_STEP}:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    checked(self, loss)
StageTrainer.check_finite = raising
"""


def measure(scratch: Path, effort: float) -> list[Row]:
    with yards.opened(Home(scratch / "home"), {"OMP_NUM_THREADS": "1"}) as yard:
        version = trained.frozen(yard.database, yard.home)
        run_id, job_id = trained.queued(yard.database, yard.person, version, 0)
        first, second = _attempt(yard, RAISING), _attempt(yard, "")
        plain, _ = trained.queued(yard.database, yard.person, version, 0)
        _attempt(yard, "")
        with yard.database.reading() as session:
            told = [note.text for note in run_notes.listing(session, run_id) if note.kind == "memory"]
            n_oom = jobs.n_oom(session, job_id)
        farthest = _farthest(trained.curves(yard.database, run_id), trained.curves(yard.database, plain))
    retried = (first.state, second.state, second.attempt, n_oom) == ("queued", "succeeded", 2, 1)
    what = f"out of memory raised at step {AT_STEP}"
    return [
        Row(f"{what}: attempts", "one more, kept as oom", f"{second.attempt} attempts, {n_oom} as oom", retried),
        none_of(f"{what}: the run says nothing of it", int(len(told) != 1), 1, "runs"),
        at_most(f"{what}: loss and margin against a run with memory enough", farthest, 1e-3, digits=6),
    ]


def _attempt(yard: Yard, before: str) -> jobs.Job:
    """The job after one more attempt."""
    job = yard.claimed()
    yard.child(job, before).wait()
    return yard.job(job.id)


def _farthest(
    one: dict[str, list[tuple[int, float | None]]], other: dict[str, list[tuple[int, float | None]]]
) -> float:
    """The largest difference of two runs' losses and margins; infinite where they have other steps or other pairs.

    `l1/n` counts the pairs of a step: equal counts are the same effective batch.
    """
    kept = {key for key in one if key.endswith(("/loss", "/margin"))}
    counts = {key for key in one if key.endswith("/n")}
    if one.keys() != other.keys() or any(one[key] != other[key] for key in counts):
        return float("inf")
    pairs = [(a, b) for key in kept for a, b in zip(one[key], other[key], strict=True)]
    return max(abs((a or 0.0) - (b or 0.0)) for (_, a), (_, b) in pairs)
