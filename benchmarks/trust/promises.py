"""What must hold in a yard after anything in it was killed at any time."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.trust import databases, trained
from benchmarks.trust.rows import Row, at_most, none_of
from benchmarks.trust.yard import Yard

LEAVES_S = 60
"""A process that is done may take so long to be gone."""
Executed = Sequence[tuple[int, int]]
"""(step, attempt) of each executed step, in order."""


@dataclass(frozen=True)
class After:
    """The jobs of a yard, all ended, and the runs whose curves some of them wrote."""

    yard: Yard
    job_ids: Sequence[int]
    run_of: Mapping[int, int]
    checkpoint_every: int

    def ended_right(self, what: str) -> Row:
        all_jobs = [self.yard.job(job_id) for job_id in self.job_ids]
        wrong = [f"job {job.id} ({job.kind}): {job.state}, {job.error}" for job in all_jobs if job.state != "succeeded"]
        print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
        return none_of(f"{what}: jobs that did not end right", len(wrong), len(all_jobs), "jobs")

    def rows(self) -> list[Row]:
        executed = [steps for job_id in self.job_ids if (steps := self.yard.executed(job_id))]
        again = max(map(done_again, executed), default=0)
        return [
            none_of("jobs not done exactly once", self._not_once(), len(self.job_ids), "jobs"),
            none_of("curves without one row a step", self._curves(), len(self.run_of), "curves"),
            none_of("steps of a replaced attempt", sum(map(late, executed)), sum(map(len, executed)), "steps"),
            at_most("work done again after a stop", again, self.checkpoint_every, " steps", digits=0),
            none_of("jobs with a process left over", self._orphaned(), len(self.job_ids), "jobs"),
        ]  # fmt: skip

    def _not_once(self) -> int:
        """Jobs without exactly one attempt that ended well, and one row of each attempt."""
        ends = "SELECT sum(ended_ms IS NOT NULL AND error_class IS NULL), count(*) FROM job_attempt WHERE job_id = ?"
        with closing(sqlite3.connect(self.yard.home.database)) as connection:
            found = [connection.execute(ends, (job_id,)).fetchone() for job_id in self.job_ids]
        return sum(ends != (1, self.yard.job(job_id).attempt) for ends, job_id in zip(found, self.job_ids, strict=True))

    def _curves(self) -> int:
        """Runs whose steps are not 1, 2, .. to the last, each recorded once."""
        steps = "SELECT step FROM metric WHERE run_id = ? AND key IN ('sleep/step', 'dpo/loss') ORDER BY step"
        wrong = 0
        with closing(sqlite3.connect(self.yard.home.database)) as connection:
            for job_id, run_id in self.run_of.items():
                n = self.yard.job(job_id).payload.get("steps") or trained.n_steps(self.yard.database, run_id)
                wrong += [step for (step,) in connection.execute(steps, (run_id,))] != list(range(1, n + 1))
        return wrong

    def _orphaned(self) -> int:
        end_s = time.monotonic() + LEAVES_S
        while (n := sum(bool(self.yard.orphans(i)) for i in self.job_ids)) and time.monotonic() < end_s:
            time.sleep(0.2)
        return n


def reviews_kept(path: Path, acknowledged: set[str]) -> Row:
    return none_of(
        "acknowledged reviews lost", len(acknowledged - databases.tokens(path)), len(acknowledged), "reviews"
    )


def whole(path: Path) -> Row:
    return none_of("a file with a fault afterwards", int(bool(databases.faults(path))), 1, "files")


def late(executed: Executed) -> int:
    """Steps that an attempt executed after the next one had begun."""
    return sum(a > b for (_, a), (_, b) in pairwise(executed))


def done_again(executed: Executed) -> int:
    """The most steps that one attempt did again."""
    worst = 0
    for attempt in {attempt for _, attempt in executed}:
        before = [step for step, other in executed if other < attempt]
        first = min(step for step, other in executed if other == attempt)
        worst = max(worst, max(before, default=first - 1) + 1 - first)
    return worst
