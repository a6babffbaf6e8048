"""What pages may ask of the job room: queue work, see that a worker lives, read a log. No torch comes with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from sqlalchemy.orm import Session

from db import jobs, people, runs
from db.jobs import Job
from db.people import Person
from db.session import Database
from jobs import launchers, payloads, processes, space
from jobs.launchers.base import ROOT, log_path
from jobs.payloads import Payload
from tempo_core.errors import TempoError
from tempo_core.settings import Home

LONGEST_LOG = 2_000_000
"""Bytes of a worker's log; it prints two lines a job."""


def enqueue(database: Database, payload: Payload, person: Person, *, again: bool = True, priority: int = 0) -> int:
    """Queue this work, or find it where it is queued or running already; the job's id.

    Work that failed or was cancelled goes on from its checkpoint; work that succeeded is done anew unless `again` is
    off. Two clicks on one button are one job.
    """
    with database.session() as session:
        return enqueue_in(session, payload, person, again=again, priority=priority)


def enqueue_in(session: Session, payload: Payload, person: Person, *, again: bool = True, priority: int = 0) -> int:
    """The same inside the caller's transaction, for work whose row must name its job.

    Raises:
        NoSpace: The disk is nearly full; nothing is queued.
    """
    people.require(person, "admin")
    space.require(_disk_of(session))
    kind, values, needs = payloads.kind_of(payload), payloads.as_json(payload), payloads.needs_of(payload)
    job = jobs.enqueue(session, kind, values, created_by=person.id, needs=needs, again=again, priority=priority)
    return job.id


def _disk_of(session: Session) -> Path:
    """Where the studio of this database keeps its files."""
    url = session.connection().engine.url
    beside = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database or "").parent if beside else Home.from_environment().root


def resume_run(database: Database, person: Person, run_id: int) -> int:
    """Queue a stopped or failed run again; it goes on from its last whole checkpoint. The job's id."""
    with database.session() as session:
        return resume_run_in(session, person, run_id)


def resume_run_in(session: Session, person: Person, run_id: int) -> int:
    """The same inside the caller's transaction."""
    people.require(person, "admin")
    run = runs.get(session, run_id)
    if run.state == "succeeded":
        raise TempoError(f"Run {run_id} is done. Start a new run to train again.")
    job_id = enqueue_in(session, payloads.TrainPayload(run_id, int(run.env.get("ranks", 1))), person)
    runs.attach_job(session, run_id, job_id)
    return job_id


def bundle_run(database: Database, person: Person, run_id: int, folder: str | None = None) -> int:
    """Queue the writing of a run's bundle; the job's id. The run leaves the queue: it is trained in one place.

    Raises:
        TempoError: It is being trained here, or is done.
    """
    people.require(person, "admin")
    with database.session() as session:
        run = runs.get(session, run_id)
        if run.state == "succeeded":
            raise TempoError(f"Run {run_id} is done. Export its model, or start a new run to train elsewhere.")
        if run.state == "running":
            raise TempoError(f"Run {run_id} is being trained here. Stop it first, then bundle it.")
        job_id = enqueue_in(session, payloads.BundlePayload(run_id, folder), person)
        if run.state == "queued" and run.job_id is not None:
            jobs.cancel(session, run.job_id)
    return job_id


def cancel(database: Database, person: Person, job_id: int) -> None:
    """Stop a job: at once while it waits, with a checkpoint while it runs."""
    people.require(person, "admin")
    with database.session() as session:
        jobs.cancel(session, job_id)


def memory_bytes(job: Job) -> tuple[int, int] | None:
    """(held by the job's processes, there is in this machine); None while it does not run, or runs elsewhere."""
    if job.pid is None or job.boot_id != jobs.boot_id() or not processes.alive(job.pid, job.pid_started):
        return None
    return processes.memory_bytes(job.pid)


def worker_alive(database: Database) -> bool:
    """Whether some process looks after the queue."""
    with database.reading() as session:
        worker = jobs.leader(session)
    return worker is not None and processes.lives(worker.process)


def ensure_worker(database: Database, home: Home) -> None:
    """Start a worker that outlives this process, unless one is there. Of two that start at once, one leads.

    Raises:
        TempoError: TEMPO_LAUNCHER names no launcher.
    """
    if worker_alive(database):
        return
    launchers.chosen()
    home.make()
    with _worker_log(home).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "jobs", "worker"],
            cwd=ROOT,
            env=os.environ | {"TEMPO_HOME": str(home.root), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _worker_log(home: Home) -> Path:
    """Where the next worker prints. A long log is set aside first, and the one before that forgotten."""
    path = home.runs / "worker.log"
    if path.exists() and path.stat().st_size > LONGEST_LOG:
        path.replace(path.with_name("worker.log.1"))
    return path


def log_from(path: Path, offset: int) -> tuple[str, int]:
    """What was added to a log since `offset`, in whole lines, and the offset to ask with next."""
    if not path.exists():
        return "", offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return _readable(whole), offset + len(whole)


def log_tail(home: Home, job_id: int, attempt: int, n_bytes: int = 20_000) -> str:
    """The last lines an attempt printed; it is a program's text, to be shown as plain text only."""
    path = log_path(home, job_id, attempt)
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - n_bytes))
        data = file.read()
    cut = data.find(b"\n") + 1 if path.stat().st_size > n_bytes else 0
    return _readable(data[cut:])


def _readable(data: bytes) -> str:
    """Without colours, and with progress bars as they looked at the end of their line."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
