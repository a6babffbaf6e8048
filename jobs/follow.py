"""Waits for a job at the command line: its progress, its log, its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tqdm import tqdm

from db import jobs
from db.jobs import Job
from db.people import Person
from db.session import Database
from jobs import launch
from jobs.launchers.base import log_path
from tempo_core.settings import Home

_ASK_S = 0.2
_WORKER_S = 10.0


@dataclass(frozen=True, slots=True)
class Studio:
    """What every command works on."""

    home: Home
    database: Database
    person: Person


def follow(studio: Studio, job_id: int, *, log: bool = True) -> Job:
    """Show a job until it has ended. A worker is started if none lives, also later."""
    show = _Bar() if sys.stderr.isatty() else _Lines()
    try:
        for job, lines in _watched(studio, job_id):
            for line in lines if log else ():
                show.log(line)
            show.progress(job)
    finally:
        show.close()
    return job


def _watched(studio: Studio, job_id: int) -> Iterator[tuple[Job, list[str]]]:
    """The job and the lines its log grew by, again and again until it has ended."""
    attempt = offset = 0
    next_look_s = 0.0
    while True:
        with studio.database.reading() as session:
            job = jobs.get(session, job_id)
        if time.monotonic() >= next_look_s and not job.ended:
            next_look_s = time.monotonic() + _WORKER_S
            launch.ensure_worker(studio.database, studio.home)
        if job.attempt != attempt:
            path = log_path(studio.home, job_id, job.attempt)
            # What an earlier attempt printed before we came is not ours to show.
            offset = path.stat().st_size if attempt == 0 and job.ended and path.exists() else 0
            attempt = job.attempt
        text, offset = launch.log_from(log_path(studio.home, job_id, attempt), offset)
        yield job, [line for line in text.splitlines() if line.strip()]
        if job.ended:
            return
        time.sleep(_ASK_S)


def words(job: Job) -> str:
    """Where a job stands, in a line."""
    if job.state == "queued":
        return "waits for its turn" if job.attempt == 0 else f"waits for attempt {job.attempt + 1}: {job.error}"
    return job.progress_text or ("starts" if job.state == "running" else job.state)


class _Lines:
    """For a file or a pipe: a line when something changed."""

    def __init__(self) -> None:
        self._said = ""
        self._next_s = 0.0

    def log(self, line: str) -> None:
        print(f"    {line}", file=sys.stderr, flush=True)

    def progress(self, job: Job) -> None:
        line = f"{job.kind} {job.id}  {job.progress:4.0%}  {words(job)}"
        if line != self._said and (time.monotonic() >= self._next_s or job.ended):
            self._said, self._next_s = line, time.monotonic() + 2.0
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class _Bar:
    """For a terminal: one bar, and the log above it."""

    def __init__(self) -> None:
        self._bar = tqdm(total=100, bar_format="{percentage:3.0f}% |{bar:30}| {elapsed}  {desc}", leave=True)

    def log(self, line: str) -> None:
        self._bar.write(f"    {line}", file=sys.stderr)

    def progress(self, job: Job) -> None:
        self._bar.n = round(100 * job.progress)
        self._bar.set_description_str(f"{job.kind} {job.id}: {words(job)}")

    def close(self) -> None:
        self._bar.close()
