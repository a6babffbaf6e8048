"""Starts one child process per job and looks after them: `python -m jobs worker`.

The worker owns no truth. It reads the database twice a second, and a new worker that finds running jobs looks after
them as if it had started them. A job is never started while its process lives.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from db import backup, jobs, migrate
from db.jobs import Job
from db.session import Database
from jobs import processes
from jobs.rhythm import Rhythm
from tempo_core.errors import DatabaseBusy, NoSpace
from tempo_core.settings import Home

ROOT = Path(__file__).parent.parent
VERSION = "1"
_END_S = 10.0
"""Between the polite signal and the other one."""
_BUSY_MS = 2_000
"""The next round tries again anyway."""


def slots() -> tuple[str, ...]:
    """Where jobs run, at most one in each. TEMPO_SLOTS names others, such as `gpu:0,gpu:1,cpu:0`."""
    return tuple(os.environ.get("TEMPO_SLOTS", "gpu:0,cpu:0").split(","))


def log_path(home: Home, job_id: int, attempt: int) -> Path:
    """What an attempt prints."""
    return home.runs / "jobs" / str(job_id) / f"attempt-{attempt}.log"


class Worker:
    """The loop, and what it must remember between two rounds."""

    def __init__(self, home: Home, database: Database, rhythm: Rhythm) -> None:
        self.home, self.database, self.rhythm = home, database, rhythm
        self.me = jobs.Process(os.getpid(), processes.started(os.getpid()) or 0, jobs.boot_id())
        self.id: int | None = None
        self._lead_until_s = 0.0
        self._next_backup_s = 0.0
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._asked_s: dict[str, float] = {}
        self._over = False

    def run(self) -> int:
        """Work until told to stop. Jobs run on without the worker."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if not self._lead():
            print("Another worker leads already; nothing to do.", flush=True)
            return 0
        print(f"Worker {self.id} leads, pid {self.me.pid}, slots {', '.join(slots())}.", flush=True)
        while not self._over and self.home.database.exists():
            try:
                if not self._lead():
                    print("Another worker took over.", flush=True)
                    return 0
                self.step()
                self._back_up()
            except (DatabaseBusy, NoSpace) as error:
                print(error, flush=True)
            time.sleep(self.rhythm.poll_s)
        self._resign()
        return 0

    def _back_up(self) -> None:
        """A backup a day; looked for once an hour, and writers do not wait for it."""
        if time.monotonic() >= self._next_backup_s:
            self._next_backup_s = time.monotonic() + 3600
            backup.daily(self.home.database, self.home.backups)

    def step(self) -> None:
        """One round: look after what runs, then start what can start."""
        with self.database.reading() as session:
            running = jobs.running(session)
            waiting = {needs for needs in ("gpu", "cpu") if jobs.waiting(session, needs)}
        for job in running:
            self._look_after(job)
        taken = {job.resource for job in running}
        for slot in slots():
            if slot not in taken and slot.partition(":")[0] in waiting:
                self._start_next(slot)
        ended = set(self._children) - {job.id for job in running}
        for job_id in ended & {job_id for job_id, child in self._children.items() if child.poll() is not None}:
            del self._children[job_id]

    # -- a running job ------------------------------------------------------------------------------------------

    def _look_after(self, job: Job) -> None:
        child = self._children.get(job.id)
        exit_code = child.poll() if child else None
        late = job.boot_id != self.me.boot_id or job.lease_until_ms < jobs.boot_ms()
        if job.boot_id == self.me.boot_id and processes.alive(job.pid, job.pid_started):
            if not late:
                self._asked_s.pop(f"{job.token} late", None)
            elif self._waited(job, "late") > self.rhythm.patience_s:
                self._take_back(job, "lease_lost", "The process lives but sent no heartbeat; it was ended.", exit_code)
            if job.cancel_requested:
                self._insist(job)
        elif job.pid is not None or exit_code is not None or late:
            self._take_back(job, "killed", _killed(exit_code), exit_code)

    def _insist(self, job: Job) -> None:
        """A task that was asked to stop saves first; one that does not listen is ended."""
        waited_s = self._waited(job, "cancel")
        if waited_s > self.rhythm.patience_s + _END_S:
            self._take_back(job, "killed", "Did not stop when asked to; it was ended.", None)
        elif waited_s > self.rhythm.patience_s and job.pid is not None:
            os.kill(job.pid, signal.SIGTERM)

    def _take_back(self, job: Job, error_class: str, error: str, exit_code: int | None) -> None:
        """End all of the job's processes before its slot is free."""
        processes.end(self.home.root, job.id, job.pid, job.pid_started)
        child = self._children.pop(job.id, None)
        if child is not None:
            exit_code = child.wait()
        with self.database.session() as session:
            after = jobs.lost(session, job.id, job.token or "", error_class, error, exit_code)
        self._asked_s = {key: at for key, at in self._asked_s.items() if not key.startswith(f"{job.token} ")}
        if after.error == error:
            print(f"Job {job.id}, attempt {job.attempt}: {error} It is {after.state} now.", flush=True)

    def _waited(self, job: Job, what: str) -> float:
        now_s = time.monotonic()
        return now_s - self._asked_s.setdefault(f"{job.token} {what}", now_s)

    # -- a waiting job ------------------------------------------------------------------------------------------

    def _start_next(self, slot: str) -> None:
        with self.database.session() as session:
            job = jobs.claim(session, slot, lease_ms=round(self.rhythm.start_s * 1000))
        if job is None:
            return
        try:
            child = self._children[job.id] = self._start(job, slot)
        except OSError as error:
            self._take_back(job, "disk_full" if error.errno == errno.ENOSPC else "bug", f"Cannot start: {error}.", None)
            return
        print(f"Job {job.id} ({job.kind}), attempt {job.attempt}, runs in {slot}, pid {child.pid}.", flush=True)

    def _start(self, job: Job, slot: str) -> subprocess.Popen[bytes]:
        path = log_path(self.home, job.id, job.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            return subprocess.Popen(
                _command(job),
                cwd=ROOT,
                env=os.environ
                | {processes.TICKET: f"{job.id}.{job.attempt}.{job.token}", processes.HOME: str(self.home.root)}
                # Notices of the libraries to each other would fill the log that people read.
                | {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore::FutureWarning"}
                | _devices(slot, _ranks(job)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    # -- leading ------------------------------------------------------------------------------------------------

    def _lead(self) -> bool:
        """Become or stay the one worker; writes once a heartbeat."""
        if self.id is not None and time.monotonic() < self._lead_until_s:
            return True
        self._lead_until_s = time.monotonic() + self.rhythm.beat_s
        with self.database.reading() as session:
            other = jobs.leader(session)
        if other and other.process.pid != self.me.pid and processes.alive(other.process.pid, other.process.pid_started):
            return False
        try:
            with self.database.session() as session:
                self.id = jobs.lead(
                    session,
                    self.me,
                    VERSION,
                    lease_ms=round(self.rhythm.lease_s * 1000),
                    gone=(other.id,) if other and other.process.pid != self.me.pid else (),
                )
        except DatabaseBusy as error:
            # Perhaps a job froze inside a write: nobody can lead or start anything, but somebody must end it.
            print(error, flush=True)
            return True
        return self.id is not None

    def _resign(self) -> None:
        if self.id is not None and self.home.database.exists():
            with self.database.session() as session:
                jobs.resign(session, self.id)
        print("The worker ends; running jobs run on and the next worker looks after them.", flush=True)

    def _stop(self, *_: Any) -> None:
        self._over = True


def work(_: Namespace) -> int:
    """Lead until told to stop; the exit code."""
    home = Home.from_environment()
    migrate.upgrade(home)
    return Worker(home, Database.open(home.database, busy_ms=_BUSY_MS), Rhythm.from_environment()).run()


def _ranks(job: Job) -> int:
    return int(job.payload.get("ranks", 1))


def _command(job: Job) -> list[str]:
    """What runs the attempt; several ranks are started, and ended together, by torchrun."""
    attempt = ["-m", "jobs", "run", str(job.id)]
    if _ranks(job) == 1:
        return [sys.executable, *attempt]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={_ranks(job)}"]
    return [sys.executable, *launcher, *attempt]


def _devices(slot: str, n_ranks: int = 1) -> dict[str, str]:
    """Which devices a job sees: none in a CPU slot, its own where each GPU is a slot, else what the user lets it see.

    One process sees one GPU: with several, the trainers refuse to start.
    """
    kind, _, number = slot.partition(":")
    if kind == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    if sum(name.startswith("gpu") for name in slots()) > 1:
        return {"CUDA_VISIBLE_DEVICES": number}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if n_ranks > 1 or seen == "":
        return {}
    return {"CUDA_VISIBLE_DEVICES": seen.split(",")[0] if seen else number}


def _killed(exit_code: int | None) -> str:
    by = f" by signal {-exit_code}" if exit_code is not None and exit_code < 0 else ""
    often = " (often the system, when memory runs out)" if exit_code == -signal.SIGKILL else ""
    return f"The process ended without a word, killed{by}{often}." if by else "The process ended without a word."
