"""Backups of the SQLite file while others write to it, and how to bring one back.

A bare copy of the file without its write-ahead log is no backup; `VACUUM INTO` makes a whole one. (The online backup
API restarts at every foreign write and may never end beside a busy writer.)
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tempo_core.errors import DatabaseRefused, NoSpace

KEPT_DAYS = 7
DAILY = "daily"


def make(database: Path, folder: Path, label: str = DAILY) -> Path:
    """Write a checked backup and return its path; it appears under its name only when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = _free_name(folder / f"tempo-{stamp}-{label}.db")
    part = target.with_suffix(f".part{os.getpid()}")
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
        check(part, deep=False)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        _sync_folder(folder)
    except sqlite3.OperationalError as error:
        raise NoSpace(
            f"The backup of {database} failed ({error}). Free some space in {folder}, then try again."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return target


def daily(database: Path, folder: Path) -> Path | None:
    """One backup a day, the last seven kept; None if today's is there. Backups before an upgrade are never removed."""
    today = time.strftime("%Y%m%d", time.gmtime())
    if any(folder.glob(f"tempo-{today}-*-{DAILY}.db")):
        return None
    made = make(database, folder)
    for old in sorted(folder.glob(f"tempo-*-{DAILY}.db"))[:-KEPT_DAYS]:
        old.unlink()
    return made


def check(path: Path, *, deep: bool = True) -> None:
    """Raise `DatabaseRefused` if the file is damaged. `deep` also compares indexes and search table with the rows."""
    pragma = "integrity_check" if deep else "quick_check"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = [row[0] for row in connection.execute(f"PRAGMA {pragma}")]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        found, orphans = [str(error)], []
    if found != ["ok"] or orphans:
        what = "; ".join(found[:3]) if found != ["ok"] else f"{len(orphans)} rows point to rows that are not there"
        raise DatabaseRefused(f"{path} is damaged: {what}. Restore a backup that is whole.")


def restore(backup: Path, database: Path) -> Path | None:
    """Put a backup in place of the database, which must be closed everywhere. Returns where the old file went."""
    check(backup)
    aside = _free_name(database.with_name(f"{database.stem}-replaced.db")) if database.exists() else None
    fresh = database.with_suffix(".restoring")
    fresh.write_bytes(backup.read_bytes())
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    if aside is not None:
        with closing(sqlite3.connect(database)) as connection:
            # What is only in the write-ahead log belongs to the file that is set aside.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.replace(aside)
    for leftover in ("-wal", "-shm"):
        Path(f"{database}{leftover}").unlink(missing_ok=True)
    fresh.replace(database)
    _sync_folder(database.parent)
    return aside


def _free_name(path: Path) -> Path:
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return taken


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
