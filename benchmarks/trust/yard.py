"""A real queue, a real worker and real processes to kill: what the chaos tests and the trust figures share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
from sqlalchemy.orm import Session

from db import jobs, people
from db.migrate import upgrade
from db.session import Database
from jobs import launch, payloads, processes
from jobs.payloads import SleepPayload
from tempo_core.settings import Home

ROOT = Path(__file__).parent.parent.parent
HANG_S = 300
"""Nothing here takes as long; it only keeps a fault from hanging the suite."""
QUICK = {"TEMPO_LEASE_S": "2", "TEMPO_POLL_S": "0.1"}
"""A crash is seen within 2 s instead of 15 s."""
Process = subprocess.Popen[bytes]
T = TypeVar("T")


@contextmanager
def opened(home: Home, rhythm: Mapping[str, str] = QUICK) -> Iterator[Yard]:
    """A yard in this home; at the end everything that was started in it is ended."""
    upgrade(home.make())
    database = Database.of(home)
    with database.session() as session:
        person = people.local(session)
    yard = Yard(home, database, person, rhythm)
    try:
        yield yard
    finally:
        for process in yard.started:
            process.kill()
            process.wait()
        with database.reading() as session:
            everything = jobs.latest(session, 1000)
        for job in everything:
            processes.end(home.root, job.id, job.attempt, None, None)
        database.close()


@dataclass
class Yard:
    """A home with a queue, and everything a test starts in it."""

    home: Home
    database: Database
    person: people.Person
    rhythm: Mapping[str, str]
    started: list[Process] = field(default_factory=list)

    def enqueue(self, **values: Any) -> int:
        return launch.enqueue(self.database, SleepPayload(**values), self.person)

    def enqueue_in(self, session: Session, **values: Any) -> int:
        payload = payloads.as_json(SleepPayload(**values))
        return jobs.enqueue(session, "sleep", payload, created_by=self.person.id, needs="gpu").id

    def worker(self, patience_s: float = 20) -> Process:
        with (self.home.root / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobs", "worker"],
                cwd=ROOT,
                env=self.environment() | {"TEMPO_PATIENCE_S": str(patience_s)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def child(self, job: jobs.Job, before: str = "") -> Process:
        """One attempt without a worker to look after it; `before` is Python that it runs first."""
        ticket = f"{job.id}.{job.attempt}.{job.token}"
        script = f"{before}\nfrom jobs.__main__ import main\nraise SystemExit(main(['run', '{job.id}']))"
        with (self.home.root / "child.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *(["-c", script] if before else ["-m", "jobs", "run", str(job.id)])],
                cwd=ROOT,
                env=self.environment() | {processes.TICKET: ticket},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def frozen_writer(self, job: jobs.Job) -> Process:
        """The process of this attempt, stopped in the middle of a write, its lease long over."""
        script = f"""
import os, signal, sqlite3
input()
connection = sqlite3.connect({str(self.home.database)!r}, isolation_level=None)
connection.execute("UPDATE job SET lease_until_ms = 1")
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
        ticket = f"{job.id}.{job.attempt}.{job.token}"
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment() | {processes.TICKET: ticket},
            start_new_session=True,
        )
        self.started.append(process)
        with self.database.session() as session:
            jobs.started(session, job.id, job.token, process.pid, processes.started(process.pid), "")
        process.stdin.write(b"\n")
        process.stdin.close()
        process.stdout.readline()
        return process

    def heart(self, job: jobs.Job) -> Process:
        """A heartbeat alone, on a disk that is full until it said so; then it prints "room again" and beats on."""
        script = """
import io, resource, sys, time
from jobs.child import Heartbeat, Ticket
from jobs.rhythm import Rhythm
from tempo_core.settings import Home
heart = Heartbeat(Home.from_environment(), Ticket.from_environment(), Rhythm.from_environment())
heart.beat()
sys.stderr = said = io.StringIO()
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
heart.start()
while "Free some space" not in said.getvalue():
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print("room again", flush=True)
heart.join()
"""
        ticket = {processes.TICKET: f"{job.id}.{job.attempt}.{job.token}"}
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, env=self.environment() | ticket
        )
        self.started.append(process)
        return process

    def environment(self) -> dict[str, str]:
        return os.environ | {"TEMPO_HOME": str(self.home.root), **self.rhythm}

    def job(self, job_id: int) -> jobs.Job:
        with self.database.reading() as session:
            return jobs.get(session, job_id)

    def ended(self, job_id: int) -> jobs.Job:
        return self.until(lambda: self.job(job_id).ended and self.job(job_id))

    def at_step(self, job_id: int, step: int, attempt: int = 1) -> jobs.Job:
        """The job once this attempt executed that step."""
        self.until(lambda: any(s >= step and a == attempt for s, a in self.executed(job_id)))
        return self.job(job_id)

    def hold(self, job_id: int, step: int) -> Path:
        """Let the job stand still before this step, until the file that is returned is removed."""
        file = self.home.runs / "jobs" / str(job_id) / f"hold-{step}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file

    def executed(self, job_id: int) -> list[tuple[int, int]]:
        """(step, attempt) of every executed step."""
        path = self.home.runs / "jobs" / str(job_id) / "executed.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines if line.count(" ") == 2]

    def twice(self, job_id: int) -> int:
        """How many steps were executed again."""
        return sum(n - 1 for n in Counter(step for step, _ in self.executed(job_id)).values())

    def until(self, condition: Callable[[], T]) -> T:
        end_s = time.monotonic() + HANG_S
        while time.monotonic() < end_s:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f"nothing happened in {HANG_S} s; worker: {(self.home.root / 'worker.log').read_text()}")

    def started_jobs(self) -> int:
        with self.database.reading() as session:
            return len(jobs.running(session))

    def leader_pid(self) -> int | None:
        with self.database.reading() as session:
            worker = jobs.leader(session)
        return worker and worker.process.pid

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another program holds the database for writing: a process of its own, ended at the end of the block."""
        script = f"""
import sqlite3
connection = sqlite3.connect({str(self.home.database)!r}, isolation_level=None, timeout=60)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
input()
"""
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def claimed(self) -> jobs.Job:
        """The next job, as a worker takes it."""
        with self.database.session() as session:
            job = jobs.claim(session, "gpu:0", lease_ms=HANG_S * 1000)
        assert job is not None
        return job

    def ranks(self, job_id: int) -> list[psutil.Process]:
        """The processes that torchrun started."""
        found = processes.of_job(self.home.root, job_id)
        return [process for process in found if "LOCAL_RANK" in process.environ() and "jobs" in process.cmdline()]

    def orphans(self, job_id: int) -> list[int]:
        return [process.pid for process in processes.of_job(self.home.root, job_id)]
