"""One attempt at one job, in its own process: `python -m jobs run JOB_ID`, started by the worker.

The heartbeat begins before the task's module is imported, because torch alone may take longer than a lease. Whoever
loses the lease writes nothing more and ends with all its processes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import time
import traceback
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db import jobs
from db.session import Database
from jobs import payloads, processes, space, tasks
from jobs.blotting import Blotting, blotted
from jobs.launchers.base import log_path
from jobs.rhythm import Rhythm
from tempo_core.errors import Cancelled, DatabaseBusy, LeaseLost, NoSpace, TempoError
from tempo_core.settings import Home
from tempo_core.types import Progress

SUCCEEDED, FAILED, CANCELLED, FENCED = 0, 1, 3, 75
"""Exit codes. The truth is the job's row; these are for people who look at processes."""

_REPORT_S = 0.5
_ASK_S = 1.0


class NotAJob(TempoError):
    """The process was not started by the worker."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What entitles this process to write: the job, the attempt and its token."""

    job_id: int
    attempt: int
    token: str

    @classmethod
    def from_environment(cls) -> Ticket:
        job_id, _, rest = os.environ.get(processes.TICKET, "").partition(".")
        attempt, _, token = rest.partition(".")
        if not (job_id.isdigit() and attempt.isdigit() and token):
            raise NotAJob(
                f"`jobs run` is for the worker, which sets {processes.TICKET}. "
                "Queue work with scan, pair, train, evaluate or export instead."
            )
        return cls(int(job_id), int(attempt), token)

    def fence(self, session: Session) -> None:
        jobs.check(session, self.job_id, self.token)


class Report:
    """How a task tells how far it is, and hears that it should stop.

    Calling it raises `Cancelled` once a stop was asked for. A task that must save something first looks at
    `should_stop()` instead, saves, and raises `Cancelled` itself.
    """

    def __init__(self, database: Database, ticket: Ticket) -> None:
        self._database, self._ticket = database, ticket
        self._stop = threading.Event()
        self._asked_s = self._told_s = -1e9

    def __call__(self, progress: Progress) -> None:
        self.tell(progress)
        if self.should_stop():
            raise Cancelled(f"Stopped at {progress.done} of {progress.total}; what was done is kept.")

    def tell(self, progress: Progress) -> None:
        """Say how far it is, and never raise `Cancelled`: for a task that saves before it stops."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _REPORT_S or progress.done >= progress.total:
            self._told_s = now_s
            share = progress.done / progress.total if progress.total else 0.0
            with self._database.session() as session:
                jobs.progress(session, self._ticket.job_id, self._ticket.token, share, progress.text)

    def should_stop(self) -> bool:
        """Whether to save and stop; asks the database at most once a second."""
        now_s = time.monotonic()
        if not self._stop.is_set() and now_s - self._asked_s >= _ASK_S:
            self._asked_s = now_s
            with self._database.reading() as session:
                if jobs.cancel_requested(session, self._ticket.job_id):
                    self._stop.set()
        return self._stop.is_set()

    def stop(self, *_: Any) -> None:
        """Ask from inside: the handler of SIGTERM and SIGINT."""
        self._stop.set()


class Heartbeat(threading.Thread):
    """Renews the lease on its own connection; ends the attempt when its lease or the launcher of its ranks is lost."""

    def __init__(self, home: Home, ticket: Ticket, rhythm: Rhythm) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._database = Database.of(home, busy_ms=2_000)
        self._home, self._ticket, self._rhythm = home, ticket, rhythm
        self._over = threading.Event()
        # torchrun starts each rank in a session of its own: killed, it would leave them alive on their devices.
        self._launcher = os.getppid() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None

    def beat(self) -> None:
        with self._database.session() as session:
            jobs.beat(session, self._ticket.job_id, self._ticket.token, lease_ms=round(self._rhythm.lease_s * 1000))

    def run(self) -> None:
        while not self._over.wait(self._rhythm.beat_s):
            if self._launcher not in (None, os.getppid()):
                self._end("torchrun is gone; its ranks end with it.")
            try:
                self.beat()
            except (DatabaseBusy, NoSpace) as error:  # a late beat; the worker waits for it for a while
                print(error, file=sys.stderr)
            except LeaseLost as error:
                self._end(str(error))

    def _end(self, why: str) -> None:
        if not self._over.is_set():
            print(why, file=sys.stderr, flush=True)
            processes.end_self(self._home.root, self._ticket.job_id, self._ticket.token)

    def end(self) -> None:
        """The job is about to give its lease back: its loss is no longer a fault."""
        self._over.set()


def run(args: Namespace) -> int:
    """Run the attempt that TEMPO_JOB names; the exit code."""
    ticket = Ticket.from_environment()
    if ticket.job_id != args.id:
        raise NotAJob(f"{processes.TICKET} names job {ticket.job_id}, not {args.id}.")
    sys.stdout, sys.stderr = Blotting(sys.stdout), Blotting(sys.stderr)
    # Not before: a handler keeps the stream that it was made with.
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    home = Home.from_environment()
    heartbeat = Heartbeat(home, ticket, Rhythm.from_environment())
    database = Database.of(home, fence=ticket.fence)
    if int(os.environ.get("RANK", "0")):
        return _follower(database, ticket, home)
    try:
        with database.session() as session:
            me, log = os.getpid(), log_path(home, ticket.job_id, ticket.attempt).relative_to(home.root)
            jobs.started(session, ticket.job_id, ticket.token, me, processes.started(me), str(log))
        # Not before the fence was passed: an attempt that starts too late must not end the one that has the job now.
        processes.end_earlier(home.root, ticket.job_id, ticket.token)
        heartbeat.beat()
        heartbeat.start()
        return _attempt(database, ticket, home, heartbeat)
    except LeaseLost as error:
        print(error, file=sys.stderr, flush=True)
        return FENCED


def _attempt(database: Database, ticket: Ticket, home: Home, heartbeat: Heartbeat) -> int:
    report = Report(database, ticket)
    signal.signal(signal.SIGTERM, report.stop)
    signal.signal(signal.SIGINT, report.stop)
    try:
        job = _job(database, ticket, home)
        space.require(home.root)
        result = tasks.load(job.kind)(database, job, report)
        heartbeat.end()
        with database.session() as session:
            jobs.succeed(session, ticket.job_id, ticket.token, result)
        return SUCCEEDED
    except LeaseLost:
        raise
    except Exception as error:  # one of the two edges: a fault of any kind is kept with the job
        _print(error)
        error_class, text = told(error)
        heartbeat.end()
        with database.session() as session:
            jobs.fail(session, ticket.job_id, ticket.token, error_class, blotted(text))
        return CANCELLED if error_class == "cancelled" else FAILED


def _follower(database: Database, ticket: Ticket, home: Home) -> int:
    """A rank beside the first: it computes, and writes only what ended it. Being stopped is the first one's to tell."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # The first rank hears it too, and all stop together at the end of its step.
        signal.signal(number, lambda *_: None)
    try:
        job = _job(database, ticket, home)
        tasks.load(job.kind)(database, job, Report(database, ticket))
        return SUCCEEDED
    except Cancelled:
        return CANCELLED
    except Exception as error:  # the other edge of the same attempt
        _print(error)
        error_class, text = told(error)
        with contextlib.suppress(LeaseLost), database.session() as session:
            jobs.fail(session, ticket.job_id, ticket.token, error_class, blotted(text))
        return FAILED


def _print(error: Exception) -> None:
    """Into the log: what a person should read, and for a fault of ours where it happened."""
    if isinstance(error, TempoError):
        print(error, file=sys.stderr, flush=True)
    else:
        traceback.print_exc()


def told(error: Exception) -> tuple[str, str]:
    """The class of an error, which decides about another attempt, and its words for people."""
    if isinstance(error, TempoError):
        return error.error_class, str(error)
    if _out_of_memory(error):
        return "oom", f"Out of memory: {error}. Use a smaller micro-batch, fewer frames or a smaller model."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk_full", f"The disk is full: {error}. Free some space, then retry; what was saved is kept."
    if _rank_lost(error):
        return "killed", "Another process of this training ended without a word; the log says what it told last."
    where = traceback.extract_tb(error.__traceback__)[-1]
    at = f"{os.path.basename(where.filename)}:{where.lineno}"
    return "bug", f"{type(error).__name__}: {error} ({at}). This is a fault of the studio; the log has the details."


def _out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError.
    told_in_words = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError) or told_in_words


def _rank_lost(error: Exception) -> bool:
    """Whether another rank is gone: gloo says it in words, NCCL by a class of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not isinstance(error, RuntimeError):
        return False
    gone = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused")
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or any(part in str(error) for part in gone)


def _job(database: Database, ticket: Ticket, home: Home) -> tasks.JobRef:
    with database.reading() as session:
        job = jobs.get(session, ticket.job_id)
        n_oom = jobs.n_oom(session, ticket.job_id)
    folder = home.runs / "jobs" / str(job.id)
    folder.mkdir(parents=True, exist_ok=True)
    payload = payloads.parse(job.kind, job.payload)
    return tasks.JobRef(job.id, job.kind, payload, ticket.attempt, ticket.token, folder, home, n_oom)
