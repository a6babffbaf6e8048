"""Starts one child process per job and looks after them: `python -m jobs worker`.

The worker owns no truth. It reads the database twice a second, and a new worker that finds running jobs looks after
them as if it had started them. A job is never started while its process lives.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from db import jobs, migrate
from db.jobs import Job
from db.session import Database
from jobs import launch, launchers, nightly, processes
from jobs.blotting import blotted
from jobs.launchers.base import Launcher, LauncherAway, LauncherRefused, Resources, State
from jobs.rhythm import Rhythm
from tempo_core.errors import DatabaseBusy, LeaseLost, NoSpace
from tempo_core.settings import Home

T = TypeVar("T")
VERSION = "1"
_BUSY_MS = 2_000
"""The next round tries again anyway."""
_LAST_WORDS = 300
"""Characters of a log in an error, which is a line on pages."""


def slots(launcher: str, n_gpus: int) -> tuple[str, ...]:
    """Where jobs run, at most one in each. TEMPO_SLOTS names others, such as `gpu:0,gpu:1,cpu:0`.

    By default a machine computes one thing at a time beside one light job, and a cluster as many as it has GPUs.
    """
    if named := os.environ.get("TEMPO_SLOTS"):
        return tuple(named.split(","))
    n_models = 1 if launcher == "local" else max(1, n_gpus)
    return (*(f"gpu:{number}" for number in range(n_models)), "cpu:0")


class Worker:
    """The loop, and what it must remember between two rounds."""

    def __init__(self, home: Home, database: Database, rhythm: Rhythm) -> None:
        self.home, self.database, self.rhythm = home, database, rhythm
        self.me = jobs.Process(os.getpid(), processes.started(os.getpid()) or 0, jobs.boot_id())
        self.id: int | None = None
        self._lead_until_s = 0.0
        self._next_backup_s = 0.0
        self._launchers: dict[str, Launcher] = {}
        self._mine: dict[int, str] = {}
        """Handles of this machine's processes by job, until they are seen to have ended."""
        self._answers: dict[str, tuple[float, Any]] = {}
        """What clusters said, and when."""
        self._asked_s: dict[str, float] = {}
        self._away = ""
        """Why the last round could not be done."""
        self._over = False

    def run(self) -> int:
        """Work until told to stop. Jobs run on without the worker."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if not self._lead():
            print("Another worker leads already; nothing to do.", flush=True)
            return 0
        print(f"Worker {self.id} leads, pid {self.me.pid}, jobs run by {launchers.chosen()}.", flush=True)
        while not self._over and self.database.is_there:
            try:
                if not self._lead():
                    print("Another worker took over.", flush=True)
                    return 0
                self.step()
                self._back_up()
                self._away = ""
            except (DatabaseBusy, NoSpace) as error:
                self.tell_once(str(error))
            time.sleep(self.rhythm.poll_s)
        self._resign()
        return 0

    def tell_once(self, error: str) -> None:
        """Twice a second the same, for as long as a server is away, would fill the log."""
        if error != self._away:
            print(error, flush=True)
        self._away = error

    def _back_up(self) -> None:
        """A backup a day; looked for once an hour. Beside the loop: a large database takes longer than a lease."""
        if time.monotonic() >= self._next_backup_s:
            self._next_backup_s = time.monotonic() + 3600
            threading.Thread(target=nightly.care, args=(self.home, self.database), daemon=True).start()

    def step(self) -> None:
        """One round: look after what runs, then start what can start."""
        with self.database.reading() as session:
            running = jobs.running(session)
            late = {job.id for job in running if jobs.late(session, job)}
            waiting = {needs for needs in ("gpu", "cpu") if jobs.waiting(session, needs)}
        for job in running:
            self._look_after(job, job.id in late)
        if waiting:
            self._fill({job.resource for job in running}, waiting)
        for job_id in set(self._mine) - {job.id for job in running}:
            if self._launcher("local").alive(self._mine[job_id]) == "gone":
                del self._mine[job_id]

    # -- a running job ------------------------------------------------------------------------------------------

    def _look_after(self, job: Job, late: bool) -> None:
        state = self._state(job)
        if state == "gone" or (late and state is None):
            self._take_back(job, "killed", None)
        elif late and self._waited(job, "late") > self.rhythm.patience_s:
            self._take_back(job, "lease_lost", "The process lives but sent no heartbeat; it was ended.")
        elif state == "pending":
            self._keep_waiting(job)
        elif job.cancel_requested:
            self._insist(job)
        if not late:
            self._asked_s.pop(f"{job.token} late", None)

    def _state(self, job: Job) -> State | None:
        """Where the job's process is; None when that cannot be known, and its lease alone tells."""
        if job.launcher == "local" and job.pid is not None and job.boot_id == self.me.boot_id:
            # The process that holds the lease: with several ranks the launcher knows torchrun, which waits for others.
            return "running" if processes.alive(job.pid, job.pid_started) else "gone"
        state = self._ask(job.launcher, job.handle or "", lambda launcher: launcher.alive(job.handle or ""))
        # Once the process has told its pid, an answer from before that is of no more use.
        return "running" if state == "pending" and job.pid is not None else state

    def _ask(self, name: str, about: str, question: Callable[[Launcher], T]) -> T | None:
        """A launcher's answer, or None when it cannot be asked. A cluster is asked twice a lease, no more often."""
        asked_s, answer = self._answers.get(about, (-1e9, None))
        if time.monotonic() - asked_s > self.rhythm.lease_s / 2:
            try:
                launcher = self._launcher(name)
                answer = question(launcher)
            except (LauncherAway, LauncherRefused) as error:
                print(error, flush=True)
                launcher, answer = None, None
            if launcher is None or launcher.remote:
                self._answers[about] = time.monotonic(), answer
        return cast(T | None, answer)

    def _keep_waiting(self, job: Job) -> None:
        """A launcher has it and no room for it yet: nobody else can renew its lease."""
        if job.cancel_requested:
            self._take_back(job, "cancelled", f"Cancelled while it waited for room in {job.launcher}.")
        elif self._waited(job, "room") > self.rhythm.beat_s:
            self._asked_s.pop(f"{job.token} room")
            with suppress(LeaseLost), self.database.session() as session:
                jobs.beat(session, job.id, job.token or "", lease_ms=round(self.rhythm.start_s * 1000))
                jobs.progress(session, job.id, job.token or "", 0.0, f"Waits for room in {job.launcher}.")

    def _insist(self, job: Job) -> None:
        """A task that was asked to stop saves first; one that does not listen is ended."""
        if self._waited(job, "cancel") > self.rhythm.patience_s:
            self._take_back(job, "killed", "Did not stop when asked to; it was ended.", grace_s=self._grace_s)

    def _take_back(self, job: Job, error_class: str, error: str | None, grace_s: float = 0.0) -> None:
        """End all of the job's processes before its slot is free. Without `error` it is said how they ended."""
        exit_code = None
        try:
            launcher = self._launcher(job.launcher)
            launcher.stop(job.handle or "", grace_s)
            exit_code = launcher.exit_code(job.handle or "")
        except (LauncherAway, LauncherRefused) as away:
            # What lives on there cannot write: the token goes to the next attempt.
            print(away, flush=True)
        error = error or _killed(exit_code) + self._last_words(job)
        with self.database.session() as session:
            after = jobs.lost(session, job.id, job.token or "", error_class, error, exit_code)
        self._asked_s = {key: at for key, at in self._asked_s.items() if not key.startswith(f"{job.token} ")}
        self._answers.pop(job.handle or "", None)
        if after.error == error:
            print(f"Job {job.id}, attempt {job.attempt}: {error} It is {after.state} now.", flush=True)

    def _last_words(self, job: Job) -> str:
        """What the attempt printed last, as programs do that cannot go on."""
        printed = blotted(launch.log_tail(self.home, job.id, job.attempt, 4_000))
        lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
        return f" Its log ends: {' / '.join(lines[-2:])[-_LAST_WORDS:]}" if lines else ""

    def _waited(self, job: Job, what: str) -> float:
        now_s = time.monotonic()
        return now_s - self._asked_s.setdefault(f"{job.token} {what}", now_s)

    # -- a waiting job ------------------------------------------------------------------------------------------

    def _fill(self, taken: set[str | None], waiting: set[str]) -> None:
        name = launchers.chosen()
        has = self._ask(name, name, lambda launcher: launcher.capacity())
        if has is None:
            # A launcher that cannot be asked costs no job an attempt.
            return
        for slot in slots(name, has["gpu"]):
            if slot not in taken and slot.partition(":")[0] in waiting:
                self._start_next(self._launcher(name), slot)

    def _start_next(self, launcher: Launcher, slot: str) -> None:
        with self.database.session() as session:
            job = jobs.claim(session, slot, lease_ms=round(self.rhythm.start_s * 1000), launcher=launcher.name)
        if job is None or job.handle is None:
            return
        ranks = job.payload.get("ranks", 1)
        # What is no number is refused where the payload is read; here it must not end the worker.
        resources = Resources(slot, ranks if isinstance(ranks, int) and ranks > 0 else 1)
        environment = {
            processes.TICKET: f"{job.id}.{job.attempt}.{job.token}",
            processes.HOME: str(self.home.root),
            "PYTHONUNBUFFERED": "1",
            # Notices of the libraries to each other would fill the log that people read.
            "PYTHONWARNINGS": "ignore::FutureWarning",
        }
        try:
            launcher.start(job.handle, _command(job.id, resources.ranks), resources, environment)
        except OSError as error:
            self._take_back(job, "disk_full" if error.errno == errno.ENOSPC else "bug", f"Cannot start: {error}.")
            return
        except (LauncherAway, LauncherRefused) as error:
            self._take_back(job, error.error_class, str(error))
            return
        if not launcher.remote:
            self._mine[job.id] = job.handle
        print(f"Job {job.id} ({job.kind}), attempt {job.attempt}, runs in {slot}, {job.handle}.", flush=True)

    # -- leading ------------------------------------------------------------------------------------------------

    def _lead(self) -> bool:
        """Become or stay the one worker; writes once a heartbeat."""
        if self.id is not None and time.monotonic() < self._lead_until_s:
            return True
        self._lead_until_s = time.monotonic() + self.rhythm.beat_s
        with self.database.reading() as session:
            other = jobs.leader(session)
        other = other if other and other.process != self.me else None
        if other and processes.lives(other.process):
            return False
        try:
            with self.database.session() as session:
                self.id = jobs.lead(
                    session,
                    self.me,
                    VERSION,
                    lease_ms=round(self.rhythm.lease_s * 1000),
                    gone=(other.id,) if other else (),
                )
        except DatabaseBusy as error:
            # Perhaps a job froze inside a write: nobody can lead or start anything, but somebody must end it.
            print(error, flush=True)
            return True
        return self.id is not None

    @property
    def _grace_s(self) -> float:
        """Between the polite signal and the other one; the worker renews its own lease in time."""
        return self.rhythm.lease_s / 3

    def _launcher(self, name: str) -> Launcher:
        if name not in self._launchers:
            self._launchers[name] = launchers.named(name, self.home)
        return self._launchers[name]

    def _resign(self) -> None:
        if self.id is not None and self.database.is_there:
            # Where that cannot be written, the next worker sees that this process is gone.
            with suppress(DatabaseBusy, NoSpace), self.database.session() as session:
                jobs.resign(session, self.id)
        print("The worker ends; running jobs run on and the next worker looks after them.", flush=True)

    def _stop(self, *_: Any) -> None:
        self._over = True


def work(_: Namespace) -> int:
    """Lead until told to stop; the exit code."""
    home = Home.from_environment()
    # Of a launcher that is not safe to use the worker should not learn later.
    launchers.named(launchers.chosen(), home)
    migrate.upgrade(home)
    return Worker(home, Database.of(home, busy_ms=_BUSY_MS), Rhythm.from_environment()).run()


def _command(job_id: int, ranks: int) -> list[str]:
    """What runs the attempt; several ranks are started, and ended together, by torchrun."""
    attempt = ["-m", "jobs", "run", str(job_id)]
    if ranks == 1:
        return [sys.executable, *attempt]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return [sys.executable, *torchrun, *attempt]


def _killed(exit_code: int | None) -> str:
    by = f" by signal {-exit_code}" if exit_code is not None and exit_code < 0 else ""
    often = " (often the system, when memory runs out)" if exit_code == -signal.SIGKILL else ""
    return f"The process ended without a word, killed{by}{often}." if by else "The process ended without a word."
