"""Backups of the SQLite file while others write to it, and how to bring one back.

A bare copy of the file without its write-ahead log is no backup; `VACUUM INTO` makes a whole one. (The online backup
API restarts at every foreign write and may never end beside a busy writer.)
"""

from __future__ import annotations

import calendar
import os
import re
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tempo_core.errors import DatabaseBusy, DatabaseRefused, NoSpace, TempoError, disk_is_full
from tempo_core.settings import Home

KEPT_DAYS = 7
DAILY, BY_HAND, REPLACED = "daily", "by-hand", "before-restore"
_NAME = re.compile(r"tempo-(\d{8}-\d{6})-(before-\d+|[a-z-]+?)(?:-\d+)?\.db")


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup as its name tells it; `label` is `daily`, `by-hand`, `before-REVISION` or `before-restore`."""

    path: Path
    label: str
    made_ms: int
    n_bytes: int


def listing(folder: Path) -> list[Kept]:
    """Every backup of the folder, the newest first."""
    named = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("tempo-*.db"))
    found = [Kept(path, name[2], _ms(name[1]), path.stat().st_size) for path, name in named if name]
    return sorted(found, key=lambda kept: (kept.made_ms, kept.path.name), reverse=True)


def make(database: Path, folder: Path, label: str = DAILY) -> Path:
    """Write a checked backup and return its path; it appears under its name only when it is whole.

    Raises:
        DatabaseRefused: The database is damaged: there is nothing whole to write.
        NoSpace, DatabaseBusy: Try again later.
    """
    part = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        target = _named(folder, label)
        part = target.with_suffix(f".part{os.getpid()}")
        _copy(database, part, "rw")
        part.replace(target)
        _sync(folder)
    except (sqlite3.DatabaseError, OSError) as error:
        raise _told(error, f"The backup of {database} failed ({error}).", folder) from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return target


def _copy(database: Path, to: Path, mode: str) -> None:
    """With what is only in the write-ahead log; read back and on the disk."""
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode={mode}", uri=True, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", (str(to),))
    check(to, deep=False)
    _sync(to)


def _told(error: sqlite3.DatabaseError | OSError, failed: str, folder: Path) -> TempoError:
    if disk_is_full(error) or "full" in str(error) or "disk I/O" in str(error):
        return NoSpace(f"{failed} Free some space in {folder}, then try again.")
    if "locked" in str(error) or "busy" in str(error):
        return DatabaseBusy(f"{failed} Another program holds it; try again.")
    if isinstance(error, OSError | sqlite3.OperationalError):
        return TempoError(f"{failed} See that {folder} is a folder that can be written to.")
    return DatabaseRefused(f"{failed} It is damaged: restore an earlier backup.")


def refuse_server(home: Home) -> None:
    """Raise `TempoError` where the database is no file but a server, which has tools of its own for this."""
    if home.database_url is not None:
        raise TempoError(
            "The database is a Postgres server: back it up with `pg_dump -Fc`, bring it back with `pg_restore --clean`."
        )


def daily(database: Path, folder: Path) -> Path | None:
    """One backup a day, the last seven kept; None if today's is there. Backups before an upgrade are never removed."""
    if made_today(folder):
        return None
    made = make(database, folder)
    for old in sorted(folder.glob(f"tempo-*-{DAILY}.db"))[:-KEPT_DAYS]:
        old.unlink()
    return made


def made_today(folder: Path) -> bool:
    """Whether the daily one is there."""
    return any(folder.glob(f"tempo-{time.strftime('%Y%m%d', time.gmtime())}-*-{DAILY}.db"))


def check(path: Path, *, deep: bool = True) -> None:
    """Raise `DatabaseRefused` if the file is damaged. `deep` also compares indexes with the rows.

    Raises:
        DatabaseBusy: Somebody holds it locked, which says nothing of the file.
    """
    pragma = "integrity_check" if deep else "quick_check"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=15)) as connection:
            found = [row[0] for row in connection.execute(f"PRAGMA {pragma}")]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise DatabaseBusy(f"{path} is locked by another program. Nothing was looked at; try again.") from None
        found, orphans = [str(error)], []
    if found != ["ok"] or orphans:
        what = "; ".join(found[:3]) if found != ["ok"] else f"{len(orphans)} rows point to rows that are not there"
        raise DatabaseRefused(f"{path} is damaged: {what}. Restore a backup that is whole.")


def restore(backup: Path, database: Path, folder: Path) -> Path | None:
    """Put a backup in place of the database, which must be closed everywhere.

    Whatever moment it is ended at, `database` is the old file or the new one. What was there, with what is only in its
    write-ahead log, stays in `folder` as a backup "before-restore"; where that is, or None.

    Raises:
        DatabaseRefused: The backup is damaged; nothing was changed.
        NoSpace: There is no room for both; nothing was changed.
    """
    check(backup)
    fresh = database.with_suffix(".restoring")
    try:
        fresh.unlink(missing_ok=True)
        # It may be a bare copy with a log beside it; as a file of somebody's it is only read.
        _copy(backup, fresh, "ro")
        aside = _set_aside(database, folder) if database.exists() else None
        for leftover in ("-wal", "-shm"):
            # Before the exchange: pages of the old log would be taken for pages of the new file.
            Path(f"{database}{leftover}").unlink(missing_ok=True)
        fresh.replace(database)
        _sync(database.parent)
    except (sqlite3.DatabaseError, OSError) as error:
        raise _told(error, f"Bringing back {backup} failed ({error}).", database.parent) from None
    finally:
        fresh.unlink(missing_ok=True)
    return aside


def _set_aside(database: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    aside = _named(folder, REPLACED)
    part, log = aside.with_suffix(f".part{os.getpid()}"), Path(f"{database}-wal")
    # Too damaged to be read: kept as it is with its log, for whoever can save something from it.
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        if log.exists() and log.stat().st_size:
            shutil.copyfile(log, f"{aside}-wal")
        shutil.copyfile(database, part)
        _sync(part)
        part.replace(aside)
        _sync(folder)
    finally:
        part.unlink(missing_ok=True)
    return aside


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for part in folder.glob("tempo-*.part*"):
        pid = part.suffix.removeprefix(".part")
        if not (pid.isdigit() and _runs(int(pid))):
            part.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _named(folder: Path, label: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return _free_name(folder / f"tempo-{stamp}-{label}.db")


def _ms(stamp: str) -> int:
    return calendar.timegm(time.strptime(stamp, "%Y%m%d-%H%M%S")) * 1000


def _free_name(path: Path) -> Path:
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return taken


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
