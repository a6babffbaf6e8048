"""The queue: what is to be done, who does it now, and what came of it.

A running job belongs to whoever holds its `token`. Each claim draws a new one, and every change to a running job asks
for it, so a process that was frozen past its lease can no longer write. Leases count milliseconds since the machine
started, not the time of day: a clock that is set changes nothing. On Postgres, which many machines share, they count by
the server's clock.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, CursorResult, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from db import runs
from db.session import now_ms
from db.tables import JobAttemptRow, JobRow, RunRow, WorkerRow
from tempo_core.errors import LeaseLost, Unknown
from tempo_core.types import JsonDict

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")

MAX_ATTEMPTS = 3
STALLED_S = 600.0
"""Our choice: no step of training and no video takes as long on a machine that can do it."""
_AGAIN = ("killed", "lease_lost", "stalled", "locked", "launcher_away")
"""Ends that say nothing against the job itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as people see it."""

    id: int
    kind: str
    payload: JsonDict
    needs: str
    state: State
    attempt: int
    max_attempts: int
    progress: float
    progress_text: str
    progress_ms: int | None
    cancel_requested: bool
    error_class: str | None
    error: str | None
    result: JsonDict | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    resource: str | None
    token: str | None
    pid: int | None
    pid_started: int | None
    boot_id: str | None
    launcher: str
    handle: str | None
    lease_until_ms: int

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def stalled(self) -> bool:
        """Alive by its heartbeat, but without progress for longer than `STALLED_S`."""
        return self.state == "running" and self.silent_s > STALLED_S

    @property
    def silent_s(self) -> float:
        """Since it last told progress; 0 where the clock was turned back since."""
        return max(0, now_ms() - (self.progress_ms or self.started_ms or 0)) / 1000


@dataclass(frozen=True, slots=True)
class Process:
    """Who holds a lease: a process is a pid and its start time, on one machine since its last start."""

    pid: int
    pid_started: int
    boot_id: str
    host: str = platform.node()


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker that leads."""

    id: int
    process: Process
    version: str
    lease_until_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """What leases are counted by."""

    now_ms: int
    machine: str | None
    """The one whose clock it is, and void are the leases of any other; None for a server's, by which all count."""

    def is_over(self, lease_until_ms: int, boot: str | None) -> bool:
        """Whether a lease that was taken on the machine `boot` has ended."""
        return lease_until_ms < self.now_ms or self.machine not in (None, boot)


def clock(session: Session) -> Clock:
    """The clock of the leases in this database, now."""
    if session.get_bind().dialect.name == "sqlite":
        return Clock(boot_ms(), boot_id())
    now = session.scalar(text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
    return Clock(cast(int, now), None)


def boot_ms() -> int:
    """Milliseconds since this machine started, sleep included; no clock change moves it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def boot_id() -> str:
    """Names this machine since its last start; leases of another one are void."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else platform.node()


# -- what people do -------------------------------------------------------------------------------------------------


def key_of(kind: str, payload: JsonDict) -> str:
    """The same kind and payload are the same job."""
    return hashlib.sha256(json.dumps([kind, payload], sort_keys=True).encode()).hexdigest()


def enqueue(
    session: Session,
    kind: str,
    payload: JsonDict,
    *,
    created_by: int,
    needs: str,
    key: str | None = None,
    again: bool = False,
    priority: int = 0,
) -> Job:
    """Queue a job, or return the one that is already there.

    Args:
        key: What makes it the same job; by default its kind and payload.
        again: A job of this key that failed or was cancelled goes on, one that succeeded is queued anew. Without it
            an ended job is returned as it is.
    """
    key = key or key_of(kind, payload)
    row = session.scalars(select(JobRow).where(JobRow.idempotency_key == key)).one_or_none()
    if row is not None and again and row.state in ("failed", "cancelled"):
        return retry(session, row.id)
    if row is not None and again and row.state == "succeeded":
        row.idempotency_key = f"{key}#{row.id}"
        session.flush()
        row = None
    if row is None:
        row = JobRow(
            kind=kind,
            payload=payload,
            needs=needs,
            priority=priority,
            idempotency_key=key,
            state="queued",
            attempt=0,
            max_attempts=MAX_ATTEMPTS,
            lease_until_ms=0,
            progress=0.0,
            cancel_requested=False,
            launcher="local",
            created_by=created_by,
            created_ms=now_ms(),
        )
        session.add(row)
        session.flush()
    return _value(row)


def retry(session: Session, job_id: int) -> Job:
    """Queue an ended job again with fresh attempts; it goes on from its last checkpoint."""
    row = _row(session, job_id)
    if row.state in ("failed", "cancelled"):
        row.state, row.max_attempts, row.cancel_requested = "queued", row.attempt + MAX_ATTEMPTS, False
        row.error = row.error_class = row.ended_ms = row.progress_text = None
        session.flush()
        _tell_run(session, row)
    return _value(row)


def cancel(session: Session, job_id: int) -> Job:
    """End a queued job at once; ask a running one to save what it has and stop. Nothing happens to an ended one."""
    row = _row(session, job_id)
    if row.state == "queued":
        row.state, row.ended_ms = "cancelled", now_ms()
    if row.state in ("running", "cancelled"):
        row.cancel_requested = True
    session.flush()
    _tell_run(session, row)
    return _value(row)


def get(session: Session, job_id: int) -> Job:
    """One job.

    Raises:
        Unknown: No job has this id.
    """
    return _value(_row(session, job_id))


def asked_by(session: Session, job_id: int) -> int:
    """The person who queued it."""
    return session.execute(select(JobRow.created_by).where(JobRow.id == job_id)).scalar_one()


def latest(
    session: Session, limit: int = 50, *, kinds: Sequence[str] = (), states: Sequence[str] = ()
) -> tuple[Job, ...]:
    """The newest jobs first."""
    query = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
    if kinds:
        query = query.where(JobRow.kind.in_(kinds))
    if states:
        query = query.where(JobRow.state.in_(states))
    return tuple(_value(row) for row in session.scalars(query))


def open_jobs(session: Session) -> tuple[Job, ...]:
    """Running and queued jobs, in the order in which they are or will be done."""
    query = select(JobRow).where(JobRow.state.in_(("running", "queued")))
    return tuple(_value(row) for row in session.scalars(query.order_by(JobRow.state.desc(), *_ORDER)))


def stalled(session: Session) -> tuple[Job, ...]:
    """Running jobs that are alive by their heartbeat and told no progress for `STALLED_S`, the oldest first."""
    return tuple(job for job in running(session) if job.stalled)


def ended_long_ago(session: Session, n_days: int) -> tuple[int, ...]:
    """Ids of jobs that ended at least as many days ago and are no run's."""
    of_runs = select(RunRow.job_id).where(RunRow.job_id.is_not(None))
    query = select(JobRow.id).where(JobRow.state.in_(ENDED), JobRow.ended_ms < now_ms() - n_days * 86_400_000)
    return tuple(session.scalars(query.where(JobRow.id.not_in(of_runs)).order_by(JobRow.id)))


# -- what the worker does -------------------------------------------------------------------------------------------


def claim(
    session: Session, resource: str, *, lease_ms: int, host: str | None = None, launcher: str = "local"
) -> Job | None:
    """Take the next queued job for a slot such as `gpu:0`; None when it is taken or nothing waits.

    The partial UNIQUE index on running jobs' slots is the guard; the look before it only saves an error.
    """
    if session.scalar(select(JobRow.id).where(JobRow.resource == resource, JobRow.state == "running")) is not None:
        return None
    needs = resource.partition(":")[0]
    query = select(JobRow).where(JobRow.state == "queued", JobRow.needs == needs)
    row = session.scalars(query.order_by(*_ORDER).limit(1)).one_or_none()
    if row is None:
        return None
    row.state, row.resource, row.attempt, row.token = "running", resource, row.attempt + 1, uuid.uuid4().hex
    row.lease_until_ms = clock(session).now_ms + lease_ms
    row.boot_id, row.host = boot_id(), host or platform.node()
    # Known before the process is: whoever looks after the job finds it, also when the worker dies in between. The mark
    # is there because another studio in the same cluster has a job 1 as well.
    row.launcher, row.handle = launcher, f"tempo-{row.id}-{row.attempt}-{row.token[:8]}"
    row.pid, row.pid_started = None, None
    row.started_ms, row.progress_ms = row.started_ms or now_ms(), now_ms()
    session.flush()
    session.execute(insert(JobAttemptRow).values(job_id=row.id, attempt=row.attempt, started_ms=now_ms()))
    _tell_run(session, row)
    return _value(row)


def waiting(session: Session, needs: str) -> bool:
    """Whether a job of this need is queued. A read: the worker takes the write lock only when there is work."""
    query = select(JobRow.id).where(JobRow.state == "queued", JobRow.needs == needs).limit(1)
    return session.scalar(query) is not None


def running(session: Session) -> tuple[Job, ...]:
    """All running jobs, the oldest first."""
    query = select(JobRow).where(JobRow.state == "running").order_by(JobRow.id)
    return tuple(_value(row) for row in session.scalars(query))


def late(session: Session, job: Job) -> bool:
    """Whether a running job's lease is over; that of a clock which started anew since is over, too."""
    return clock(session).is_over(job.lease_until_ms, job.boot_id)


def lost(session: Session, job_id: int, token: str, error_class: str, error: str, exit_code: int | None = None) -> Job:
    """Take a job from an attempt that ended without a word, and queue it again while attempts are left."""
    row = _row(session, job_id)
    if row.token == token and row.state == "running":
        _close(session, row, error_class, error, exit_code)
    return _value(row)


def lead(session: Session, me: Process, version: str, *, lease_ms: int, gone: Sequence[int] = ()) -> int | None:
    """Become the one worker, or renew: the worker's id, or None when another one leads.

    Args:
        gone: Ids of worker rows whose process is known to have ended.
    """
    now = clock(session)
    row = session.scalars(select(WorkerRow)).first()
    if row is not None and not _is(row, me) and (row.id in gone or now.is_over(row.lease_until_ms, row.boot_id)):
        session.delete(row)
        session.flush()
        row = None
    if row is None:
        row = WorkerRow(
            host=me.host, boot_id=me.boot_id, pid=me.pid, pid_started=me.pid_started, lease_until_ms=0, version=version
        )
        session.add(row)
    elif not _is(row, me):
        return None
    row.lease_until_ms = now.now_ms + lease_ms
    session.flush()
    return row.id


def _is(row: WorkerRow, process: Process) -> bool:
    return (row.boot_id, row.pid, row.pid_started) == (process.boot_id, process.pid, process.pid_started)


def resign(session: Session, worker_id: int) -> None:
    """Stop leading; the next worker need not wait for the lease to end."""
    session.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))


def leader(session: Session) -> Worker | None:
    """The worker whose lease still runs."""
    row = session.scalars(select(WorkerRow)).first()
    if row is None or clock(session).is_over(row.lease_until_ms, row.boot_id):
        return None
    process = Process(row.pid, row.pid_started, row.boot_id, row.host)
    return Worker(row.id, process, row.version, row.lease_until_ms)


# -- what the child does, under its token ---------------------------------------------------------------------------


def check(session: Session, job_id: int, token: str) -> None:
    """The fence at the start of every write of a task.

    Raises:
        LeaseLost: Another attempt owns the job now.
    """
    query = select(JobRow.id).where(JobRow.id == job_id, JobRow.token == token, JobRow.state == "running")
    if session.scalar(query) is None:
        raise LeaseLost(f"Job {job_id} was given to another process; this one must not write.")


def started(session: Session, job_id: int, token: str, pid: int, pid_started: int | None, log_path: str) -> None:
    """Write down which process the attempt is, so that any worker can look after it, and where it prints."""
    # A pid means something on its own machine only, which need not be the one of the worker that claimed the job.
    where = {"boot_id": boot_id(), "host": platform.node()}
    _change(session, job_id, token, pid=pid, pid_started=pid_started, **where)
    session.execute(update(JobAttemptRow).where(_attempt(_row(session, job_id))).values(log_path=log_path))


def beat(session: Session, job_id: int, token: str, *, lease_ms: int) -> None:
    """Renew the lease, or raise `LeaseLost`."""
    _change(session, job_id, token, lease_until_ms=clock(session).now_ms + lease_ms)


def cancel_requested(session: Session, job_id: int) -> bool:
    return bool(session.scalar(select(JobRow.cancel_requested).where(JobRow.id == job_id)))


def progress(session: Session, job_id: int, token: str, share: float, text: str) -> None:
    """How far the task is, 0 to 1, and a line for people."""
    _change(session, job_id, token, progress=share, progress_text=text, progress_ms=now_ms())


def n_oom(session: Session, job_id: int) -> int:
    """How many attempts ran out of memory."""
    query = select(func.count()).where(JobAttemptRow.job_id == job_id, JobAttemptRow.error_class == "oom")
    return session.scalar(query) or 0


def succeed(session: Session, job_id: int, token: str, result: JsonDict) -> None:
    """The last state and the result, in the caller's one transaction."""
    check(session, job_id, token)
    row = _row(session, job_id)
    row.result, row.progress = result, 1.0
    _end(session, row, "succeeded", None, 0)


def fail(session: Session, job_id: int, token: str, error_class: str, error: str) -> Job:
    """Say why an attempt ended. The job is queued again where another attempt may do better."""
    check(session, job_id, token)
    row = _row(session, job_id)
    _close(session, row, error_class, error, 3 if error_class == "cancelled" else 1)
    return _value(row)


# -------------------------------------------------------------------------------------------------------------------

_ORDER = (JobRow.priority.desc(), JobRow.id)


def _close(session: Session, row: JobRow, error_class: str, error: str, exit_code: int | None) -> None:
    """End an attempt that did not succeed, and decide what becomes of the job."""
    again = error_class in _AGAIN or (error_class == "oom" and n_oom(session, row.id) == 0)
    row.error_class, row.error = error_class, error
    if row.cancel_requested:
        _end(session, row, "cancelled", error_class, exit_code)
    elif error_class == "cancelled":
        # Nobody asked this job to stop: the machine did, by a signal. The attempt does not count.
        row.max_attempts += 1
        _end(session, row, "queued", error_class, exit_code)
    elif again and row.attempt < row.max_attempts:
        _end(session, row, "queued", error_class, exit_code)
    else:
        _end(session, row, "failed", error_class, exit_code)


def _end(session: Session, row: JobRow, state: State, error_class: str | None, exit_code: int | None) -> None:
    values = {"ended_ms": now_ms(), "error_class": error_class, "exit_code": exit_code}
    session.execute(update(JobAttemptRow).where(_attempt(row)).values(values))
    row.state, row.token, row.pid, row.pid_started, row.lease_until_ms = state, None, None, None, 0
    row.resource = None
    row.ended_ms = None if state == "queued" else now_ms()
    if state == "succeeded":
        row.error = row.error_class = None
    session.flush()
    _tell_run(session, row)


def _tell_run(session: Session, row: JobRow) -> None:
    """A run is in its job's state: the page must not show a run as running whose process is gone."""
    run = runs.of_job(session, row.id)
    if run is not None and run.state != row.state:
        runs.set_state(session, run.id, row.state, error_class=row.error_class, error=row.error)


def _attempt(row: JobRow) -> ColumnElement[bool]:
    return (JobAttemptRow.job_id == row.id) & (JobAttemptRow.attempt == row.attempt)


def _change(session: Session, job_id: int, token: str, **values: Any) -> None:
    mine = (JobRow.id == job_id) & (JobRow.token == token) & (JobRow.state == "running")
    done = cast(CursorResult[Any], session.execute(update(JobRow).where(mine).values(**values)))
    if done.rowcount != 1:
        raise LeaseLost(f"Job {job_id} was given to another process; this one must not write.")


def _row(session: Session, job_id: int) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None:
        raise Unknown(f"No job has the id {job_id}; `python -m jobs jobs` lists them.")
    return row


def _value(row: JobRow) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        payload=row.payload,
        needs=row.needs,
        state=cast(State, row.state),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        progress=row.progress,
        progress_text=row.progress_text or "",
        progress_ms=row.progress_ms,
        cancel_requested=bool(row.cancel_requested),
        error_class=row.error_class,
        error=row.error,
        result=row.result,
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        resource=row.resource,
        token=row.token,
        pid=row.pid,
        pid_started=row.pid_started,
        boot_id=row.boot_id,
        launcher=row.launcher,
        handle=row.handle,
        lease_until_ms=row.lease_until_ms,
    )
