"""Kills the studio's processes at random for minutes, and counts what is left of its promises.

    python benchmarks/trust/soak.py --minutes 5 --seed 7        exit code 0 when every promise held

A server, a worker, jobs of three kinds and a process that writes reviews are at work, looked after by a supervisor
that starts again what ended, as systemd would. A killer ends or freezes one of them every few seconds. Then all work
is let end, and the database and the processes are looked through.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.trust import promises, trained  # noqa: E402
from benchmarks.trust import yard as yards  # noqa: E402
from benchmarks.trust.reviewers import Writer  # noqa: E402
from benchmarks.trust.rows import Row, at_most  # noqa: E402
from benchmarks.trust.yard import Yard  # noqa: E402
from db import jobs  # noqa: E402
from jobs import launch, processes  # noqa: E402
from jobs.payloads import ScanPayload, SleepPayload  # noqa: E402
from jobs.rhythm import Rhythm  # noqa: E402
from tempo_core.settings import Home  # noqa: E402
from tests import studio  # noqa: E402
from tests.browser.running import Studio  # noqa: E402

N_PAIRS = 5
"""So few are reviewed again and again."""
AFTER_S = 0.5
"""The supervisor starts again what ended so long ago."""


@dataclass(frozen=True)
class Plan:
    """How long, how often, and how much work. `rhythm` is the studio's own: leases, polls, patience."""

    minutes: float
    seed: int = 0
    gap_s: tuple[float, float] = (1.0, 6.0)
    steps: int = 150
    checkpoint_every: int = 15
    rhythm: dict[str, str] = field(default_factory=lambda: {"TEMPO_PATIENCE_S": "5", "OMP_NUM_THREADS": "1"})
    n_trainings: int = 1
    """Real trainings of the embedded model."""
    n_scans: int = 100
    """Scans of three drawn videos each, at most."""

    @property
    def lease_s(self) -> float:
        return float(self.rhythm.get("TEMPO_LEASE_S", Rhythm().lease_s))


WEIGHTS = {
    "kill a job": 5, "kill the worker": 2, "kill worker and job": 2, "kill the server": 2, "kill the writer": 2,
    "freeze a job": 2, "freeze the worker": 1,
}  # fmt: skip


class Soak:
    """What is at work, what was done to it, and what was seen."""

    def __init__(self, yard: Yard, plan: Plan) -> None:
        self.yard, self.plan, self.rng = yard, plan, random.Random(plan.seed)
        self.version = trained.frozen(yard.database, yard.home)
        self.job_ids: list[int] = []
        self.run_of: dict[int, int] = {}
        self.done_to: Counter[str] = Counter()
        self.frozen: dict[int, float] = {}
        self.ended_at: dict[str, float] = {}
        self.waiting_for: dict[int, tuple[str, float]] = {}
        self.seen_s: list[float] = []
        """From the kill of a job until its row told it; `looked_s` from when a worker could look."""
        self.looked_s: list[float] = []
        self.thawed_s = 0.0
        self.n_scans = 0
        self.n_samples, self.most_in_a_slot = 0, 0

    def run(self) -> list[Row]:
        with ExitStack() as at_end:
            self.server = Studio(self.yard.home)
            at_end.callback(self.server.close)
            self.server.start()
            self._start("worker")
            self.writer = Writer(self.yard.home.database, N_PAIRS, pause_s=0.02)
            at_end.callback(self.writer.kill)
            self._feed(n_trainings=self.plan.n_trainings)
            self._disturb()
            self._thaw(everything=True)
            self._let_end()
            return self._rows()

    # -- what is at work ------------------------------------------------------------------------------------------

    def _feed(self, n_trainings: int = 0) -> None:
        """Keep the queue filled: a training, counting jobs with curves, scans of drawn videos."""
        for _ in range(n_trainings):
            run_id, job_id = trained.queued(self.yard.database, self.yard.person, self.version, len(self.run_of))
            self.job_ids.append(job_id)
            self.run_of[job_id] = run_id
        with self.yard.database.reading() as session:
            waiting = {needs: jobs.waiting(session, needs) for needs in ("gpu", "cpu")}
        if not waiting["gpu"]:
            run_id = trained.curve(self.yard.database, self.yard.person, self.version, len(self.run_of))
            payload = SleepPayload(self.plan.steps, 0.05, self.plan.checkpoint_every, run_id=run_id)
            self.job_ids.append(launch.enqueue(self.yard.database, payload, self.yard.person))
            self.run_of[self.job_ids[-1]] = run_id
        if not waiting["cpu"] and self.n_scans < self.plan.n_scans:
            self.n_scans += 1
            folder = self.yard.home.root / "videos" / str(len(self.job_ids))
            folder.mkdir(parents=True)
            for number in range(3):
                studio.draw(folder / f"{number}.mp4", [16] * 6, seed=10 * len(self.job_ids) + number)
            payload = ScanPayload(str(folder), processes=1)
            self.job_ids.append(launch.enqueue(self.yard.database, payload, self.yard.person))

    def _supervise(self) -> None:
        at_work = {"server": self.server.process, "worker": self.worker, "writer": self.writer.process}
        for name, process in at_work.items():
            alive = process.is_alive() if name == "writer" else process.poll() is None
            if alive:
                continue
            if time.monotonic() - self.ended_at.setdefault(name, time.monotonic()) > AFTER_S:
                del self.ended_at[name]
                self._start(name)

    def _start(self, name: str) -> None:
        if name == "worker":
            self.worker = self.yard.worker(float(self.plan.rhythm["TEMPO_PATIENCE_S"]))
        elif name == "server":
            self.server.start(wait=False)
        else:
            self.writer.start()

    # -- what is done to it ---------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        end_s, next_s = time.monotonic() + 60 * self.plan.minutes, time.monotonic() + 1
        while time.monotonic() < end_s or not self.done_to["kill a job"]:
            self._round()
            self._feed()
            if time.monotonic() > next_s:
                self._strike()
                next_s = time.monotonic() + self.rng.uniform(*self.plan.gap_s)

    def _round(self) -> None:
        self._supervise()
        self._thaw()
        self._sample()
        self.writer.listen()
        time.sleep(0.05)

    def _strike(self) -> None:
        drawn = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        what = drawn if self.done_to["kill a job"] else "kill a job"
        victim = self._victim()
        if ("job" in what and victim is None) or (self.worker.pid in self.frozen):
            return
        self.done_to[what] += 1
        if what == "freeze the worker":
            self._freeze(self.worker.pid, self.rng.uniform(0.5, 1.5) * self.plan.lease_s)
        if what == "freeze a job" and victim is not None:
            self._freeze(victim.pid or 0, self.rng.uniform(0.5, 2) * self.plan.lease_s)
        if what in ("kill the worker", "kill worker and job"):
            self.worker.kill()
        if what == "kill the server":
            self.server.kill()
        if what == "kill the writer":
            self.writer.kill()
        if what in ("kill a job", "kill worker and job") and victim is not None:
            with suppress(ProcessLookupError):
                os.kill(victim.pid or 0, signal.SIGKILL)
            self.waiting_for[victim.id] = victim.token or "", time.monotonic()

    def _victim(self) -> jobs.Job | None:
        """A running job with an attempt to spare: three kills end a job by the rules."""
        with self.yard.database.reading() as session:
            running = jobs.running(session)
        can = [
            job
            for job in running
            if processes.alive(job.pid, job.pid_started)
            and job.attempt < job.max_attempts
            and job.pid not in self.frozen
            and job.id not in self.waiting_for
        ]
        return self.rng.choice(can) if can else None

    def _freeze(self, pid: int, seconds: float) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self.frozen[pid] = time.monotonic() + seconds

    def _thaw(self, everything: bool = False) -> None:
        for pid, until_s in list(self.frozen.items()):
            if everything or time.monotonic() > until_s:
                del self.frozen[pid]
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                if pid == self.worker.pid:
                    self.thawed_s = time.monotonic()

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _sample(self) -> None:
        """How many jobs hold each slot, and whether a killed attempt's row tells it by now."""
        with self.yard.database.reading() as session:
            running = jobs.running(session)
        self.n_samples += 1
        self.most_in_a_slot = max([self.most_in_a_slot, *Counter(job.resource for job in running).values()])
        held = {job.id: job.token for job in running}
        for job_id, (token, at_s) in list(self.waiting_for.items()):
            if held.get(job_id) != token:
                del self.waiting_for[job_id]
                now_s = time.monotonic()
                self.seen_s.append(now_s - at_s)
                self.looked_s.append(now_s - max(at_s, self.thawed_s))

    def _let_end(self) -> None:
        end_s = time.monotonic() + yards.HANG_S
        while time.monotonic() < end_s and not all(self.yard.job(job_id).ended for job_id in self.job_ids):
            self._round()
        self.writer.kill()

    def _rows(self) -> list[Row]:
        struck = ", ".join(f"{what} {n}" for what, n in sorted(self.done_to.items()))
        what = f"{self.plan.minutes:g} min of random faults, seed {self.plan.seed} ({struck})"
        after = promises.After(self.yard, self.job_ids, self.run_of, self.plan.checkpoint_every)
        slowest, looked = (max(found, default=float("inf")) for found in (self.seen_s, self.looked_s))
        kills = f"from kill -9 to the row's next state, {len(self.seen_s)} kills of jobs"
        kills += (
            "" if looked == slowest else f" (a worker that stood frozen counts from its thaw; with it {slowest:.1f} s)"
        )
        return [
            after.ended_right(what),
            *after.rows(),
            at_most(f"most jobs in a slot, {self.n_samples:,} looks", self.most_in_a_slot, 1, digits=0),
            promises.reviews_kept(self.yard.home.database, self.writer.acknowledged),
            promises.whole(self.yard.home.database),
            at_most(kills, looked, 15, " s"),
        ]


def soak(home: Home, plan: Plan) -> list[Row]:
    """One soak in an empty home."""
    with yards.opened(home, plan.rhythm) as yard:
        return Soak(yard, plan).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000, help="of the killer (default: a new one)")
    args = parser.parse_args()
    # Whoever stops this stops what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        rows = soak(Home(Path(scratch)), Plan(args.minutes, args.seed))
    for row in rows:
        print(f"{'ok ' if row.held else 'NO '} {row.what}: {row.measured} ({row.target})")
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
