"""What can be said of the studio's health from its database and its files: each a fact, a state and the way out.

The one thing to know: these are looked at while a page draws, so each costs milliseconds; what reads every row is in
`integrity`. The limits are our choice and stand in the words, so that nobody has to believe a colour.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db import backup, dialect, jobs, videos
from db.jobs import Job
from db.session import now_ms
from db.tables import JobRow, MetaRow, ReviewRow

Level = Literal["ok", "amber", "red"]

BACKUP_DAYS, CHECK_DAYS, WAL_BYTES, BEHIND_MS, WAITING_MS = 2, 14, 64_000_000, 300_000, 3_600_000
_DAY_MS = 86_400_000
_CHECKED = "checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the health page and of `doctor`."""

    what: str
    level: Level
    fact: str
    way_out: str = ""
    page: str = ""
    """Where it is looked at more closely: the name of a page."""


def sqlite() -> Finding:
    """The library that this Python is linked with."""
    verdict = dialect.sqlite_verdict()
    fact, _, way_out = verdict.text.partition(". ")
    levels: dict[str, Level] = {"ok": "ok", "warn": "amber", "refuse": "red"}
    return Finding("SQLite", levels[verdict.status], f"{fact.rstrip('.')}.", way_out)


def storage(database: Path) -> Finding:
    """How large the file and its write-ahead log are."""
    if not database.exists():
        return Finding("database size", "ok", f"None yet at {database}; it is made at the first start.")
    log = Path(f"{database}-wal")
    n_log = log.stat().st_size if log.exists() else 0
    fact = f"{_mb(database.stat().st_size)} and {_mb(n_log)} of write-ahead log."
    if n_log <= WAL_BYTES:
        return Finding("database size", "ok", fact)
    way_out = "Something reads or writes for very long. It empties once that ends: wait for the job, or restart it."
    return Finding(
        "database size", "amber", f"{fact} More than {_mb(WAL_BYTES)} wait to be moved into the file.", way_out
    )


def server(session: Session) -> Finding:
    """Which Postgres holds the database, and how large it is."""
    asked = "SELECT current_setting('server_version'), current_database(), pg_database_size(current_database())"
    version, name, n_bytes = session.execute(text(asked)).one()
    return Finding("Postgres", "ok", f"{version.split()[0]}; {name} has {_mb(n_bytes)}.")


def file_system(folder: Path) -> Finding:
    """SQLite's log is not safe on a network file system."""
    kind = dialect.file_system_of(folder)
    if kind in dialect.NETWORK_FILE_SYSTEMS:
        way_out = "Put TEMPO_HOME on a local disk, or use Postgres through TEMPO_DATABASE_URL."
        return Finding("file system", "red", f"The studio lies on a network file system ({kind}).", way_out)
    return Finding("file system", "ok", f"{kind or 'of a kind that the system does not tell'}, on this machine.")


def backups(folder: Path) -> Finding:
    """When the newest was made, of any sort but those that a restore set aside."""
    found = [kept for kept in backup.listing(folder) if kept.label != backup.REPLACED]
    way_out = "A worker makes one a day; python -m jobs backup, or the button here, makes one now."
    if not found:
        return Finding("backup", "amber", "None was made yet.", way_out)
    age_ms = now_ms() - found[0].made_ms
    fact = f"The newest is {age(age_ms)} old, {_mb(found[0].n_bytes)}; {len(found)} kept."
    late = age_ms > BACKUP_DAYS * _DAY_MS
    return Finding("backup", "amber" if late else "ok", fact, way_out if late else "")


def checked(session: Session) -> list[Finding]:
    """When everything was read and compared the last time; what was not well then stands for itself, until the next."""
    row = session.get(MetaRow, _CHECKED)
    way_out = "python -m jobs check, or the button here, reads every row and compares."
    if row is None:
        return [Finding("check", "ok", "None was made yet.", way_out)]
    last = json.loads(row.value)
    age_ms = now_ms() - last["at_ms"]
    if last["wrong"]:
        found = [Finding(**values) for values in last["wrong"]]
        return [replace(one, fact=f"{one.fact} (Checked {age(age_ms)} ago.)") for one in found]
    late = age_ms > CHECK_DAYS * _DAY_MS
    fact = f"The last one was {age(age_ms)} ago and found nothing wrong."
    return [Finding("check", "amber" if late else "ok", fact, way_out if late else "")]


def keep_check(session: Session, found: Sequence[Finding]) -> None:
    """Remember what a check came to."""
    wrong = [asdict(one) for one in found if one.level != "ok"]
    session.merge(MetaRow(key=_CHECKED, value=json.dumps({"at_ms": now_ms(), "wrong": wrong})))


def queue(session: Session, worker_leads: bool) -> Finding:
    """What waits and runs, and whether anybody looks after it."""
    n = {state: count for state, count in session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))}
    fact = f"{n.get('running', 0)} running, {n.get('queued', 0)} waiting, {n.get('failed', 0)} failed so far."
    oldest = session.scalar(select(func.min(JobRow.created_ms)).where(JobRow.state == "queued"))
    if oldest is None:
        return Finding("queue", "ok", fact)
    waited_ms = now_ms() - oldest
    fact = f"{fact} The oldest has waited for {age(waited_ms)}."
    if not worker_leads:
        return Finding("queue", "red", f"{fact} No worker is there to do it.", "Start a worker.")
    late = waited_ms > WAITING_MS and not n.get("running")
    return Finding("queue", "amber" if late else "ok", fact, "Nothing runs: see the worker's log." if late else "")


def stalled(session: Session) -> list[Finding]:
    """Jobs that live by their heartbeat and have not said anything new for ten minutes."""
    return [_stalled(job) for job in jobs.stalled(session)] or [Finding("stalled jobs", "ok", "None.")]


def _stalled(job: Job) -> Finding:
    fact = f"Job {job.id} ({job.kind}) said nothing new for ten minutes."
    way_out = (
        f"It may only be slow: python -m jobs jobs {job.id} shows the end of its log. Stopping saves first; it then "
        "goes on from its last checkpoint."
    )
    return Finding("stalled job", "amber", fact, way_out, "runs" if job.kind == "train" else "")


def folders(session: Session) -> Finding:
    """Folders of videos that are gone as a whole; single files are the Library's to tell."""
    roots = [root for _, _, root in videos.libraries(session)]
    gone = [str(root) for root in roots if not root.is_dir()]
    if not gone:
        return Finding("video folders", "ok", f"{len(roots)}, all there.")
    fact = f"Gone, {len(gone)} of {len(roots)}: {', '.join(gone[:3])}{' and more' if gone[3:] else ''}."
    return Finding("video folders", "amber", fact, "Mount the disk, or say where it went.", "library")


def clock(session: Session) -> Finding:
    """Whether the clock stands behind what was written already."""
    newest = [session.scalar(select(row.created_ms).order_by(row.id.desc()).limit(1)) for row in (ReviewRow, JobRow)]
    behind_ms = max((at for at in newest if at is not None), default=0) - now_ms()
    if behind_ms <= BEHIND_MS:
        return Finding("clock", "ok", "Ahead of everything that was written.")
    fact = f"It stands {age(behind_ms)} behind the newest row: it was set back."
    way_out = (
        "Set it (timedatectl set-ntp true). Nothing is lost: order is kept by number, leases by the time since start."
    )
    return Finding("clock", "amber", fact, way_out)


def age(ms: float) -> str:
    """A span of time in words: "3 days", "40 s"."""
    for unit, n_ms in (("day", _DAY_MS), ("hour", 3_600_000), ("minute", 60_000)):
        if ms >= 2 * n_ms:
            return f"{ms // n_ms:.0f} {unit}s"
    return "a minute" if ms >= 60_000 else f"{max(ms, 0) // 1000:.0f} s"


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
