"""What the worker does once a day: a look at every page and index, a backup of what is whole, and old logs away."""

from __future__ import annotations

from contextlib import suppress

from db import backup, health, integrity, jobs
from db.session import Database
from jobs.launchers.base import log_path
from tempo_core.errors import TempoError
from tempo_core.settings import Home

LOG_DAYS = 90
"""Our choice: who asks why a job failed asks within a quarter of a year."""


def care(home: Home, database: Database) -> None:
    """Do what was not done today. A fault is said in the worker's log and on the Health page."""
    try:
        _back_up(home, database)
        forget_logs(home, database)
    except TempoError as error:
        print(error, flush=True)


def _back_up(home: Home, database: Database) -> None:
    """Of a damaged file there is no backup: seven of them would push out the last whole one."""
    if not database.is_sqlite or backup.made_today(home.backups):
        return
    whole = integrity.file(home.database)
    if whole.level == "ok":
        backup.daily(home.database, home.backups)
        return
    print(f"{whole.fact} {whole.way_out}", flush=True)
    with database.session() as session:
        health.keep_check(session, [whole])


def forget_logs(home: Home, database: Database) -> None:
    """Remove what jobs printed that ended `LOG_DAYS` ago. Logs of runs stay, for their pages show them."""
    with database.reading() as session:
        old = jobs.ended_long_ago(session, LOG_DAYS)
    for job_id in old:
        folder = log_path(home, job_id, 1).parent
        for left in (*folder.glob("attempt-*.log"), *folder.glob("tempo-*.pid")):
            left.unlink(missing_ok=True)
        with suppress(OSError):
            # Where it held nothing else.
            folder.rmdir()
