"""Backups by hand, bringing one back, and the check of everything: `python -m jobs backup | restore | check`."""

from __future__ import annotations

import shutil
import time
from argparse import Namespace
from pathlib import Path

from db import backup, health, integrity, moving, restoring
from db.restoring import Outlook
from jobs import commands, doctor, processes
from tempo_core.errors import DatabaseRefused, FolderTaken, TempoError, disk_is_full
from tempo_core.settings import Home

DONE, FAILED, NOT_DONE = 0, 1, 3


def make_backup(args: Namespace) -> int:
    """One file that holds the whole database, made beside whoever writes."""
    home = _here()
    backup.refuse_server(home)
    to = None if args.to is None else _free(Path(args.to).expanduser())
    made = backup.make(home.database, home.backups, backup.BY_HAND)
    if to is not None:
        made = _moved(made, to)
    print(f"{made} ({made.stat().st_size / 1e6:.1f} MB), read back and whole.")
    return DONE


def _free(to: Path) -> Path:
    if to.exists():
        raise FolderTaken(f"{to} exists already. Name a file that does not exist.")
    if not to.parent.is_dir():
        raise TempoError(f"{to.parent} is no folder. Make it first, or name another.")
    return to


def _moved(made: Path, to: Path) -> Path:
    """Under the name that was asked for, whole or not at all."""
    part = to.with_name(f"{to.name}.part")
    try:
        shutil.copyfile(made, part)
        backup.check(part, deep=False)
        part.replace(to)
    except OSError as error:
        part.unlink(missing_ok=True)
        room = "Free some space there" if disk_is_full(error) else f"See that {to.parent} can be written to"
        raise TempoError(f"{to} cannot be written ({error.strerror}). {room}, or name another file.") from None
    finally:
        made.unlink()
    return to


def restore(args: Namespace) -> int:
    """Say what a backup would bring back and what would be lost; with --yes do it."""
    home = Home.from_environment()
    backup.refuse_server(home)
    if args.file is None:
        return _list(home)
    found = restoring.outlook(Path(args.file).expanduser().resolve(), home.database)
    print("\n".join(_told(found, home)))
    if not args.yes:
        print("Nothing was changed. To do it: the same command with --yes.")
        return NOT_DONE
    _refuse_open(home)
    home.make()
    aside = backup.restore(found.backup, home.database, home.backups)
    print(f"Restored, read back and whole.{f' What was there is kept as {aside}.' if aside else ''}")
    return DONE


def _list(home: Home) -> int:
    found = backup.listing(home.backups)
    if not found:
        raise TempoError(f"There is no backup in {home.backups}. Name the file of one: restore FILE.")
    for kept in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.made_ms / 1000))
        print(f"{made}  {kept.n_bytes / 1e6:8.1f} MB  {kept.label:16}  {kept.path}")
    return DONE


def _told(found: Outlook, home: Home) -> list[str]:
    if not home.database.exists():
        lines = [f"There is no database at {home.database}; the backup takes its place."]
    elif found.lost is None:
        lines = [f"{home.database} cannot be read, so what would be lost cannot be counted."]
    elif found.lost:
        newer = ", ".join(f"{words} ({n:,})" for words, n in found.lost.items())
        lines = [f"Lost would be what the backup does not hold: {newer}."]
    else:
        lines = ["Nothing would be lost: the backup holds all that is there now."]
    if found.older:
        lines.append(f"The backup is of revision {found.revision}; the next start upgrades it.")
    return lines


def _refuse_open(home: Home) -> None:
    """Nobody may write into a file that is about to be replaced."""
    if not home.database.exists():
        return
    try:
        restoring.refuse_open(home.database)
    except DatabaseRefused as error:
        who = [f"{process.pid} ({' '.join(process.cmdline()[1:4])})" for process in processes.holding(home.database)]
        named = f" Open in: {', '.join(who)}." if who else ""
        raise DatabaseRefused(
            f"{error}{named} Stop the studio (Ctrl-C) and its worker (kill its pid; jobs go on later), then try again."
        ) from None


def move(args: Namespace) -> int:
    """Into the empty Postgres database that TEMPO_DATABASE_URL names; the file stays."""
    home = Home.from_environment()
    if home.database_url is not None:
        _refuse_open(home)
    moved = moving.to_server(home)
    print(f"{moved.n_rows:,} rows of {moved.n_tables} tables are in {moved.target}; frozen versions have their hashes.")
    print(f"{moved.source} is as it was. While TEMPO_DATABASE_URL is set it is not used: put it aside as a backup.")
    return DONE


def check(args: Namespace) -> int:
    """Read everything and compare; 1 where something is wrong."""
    home = _here()
    if home.database_url is None and (whole := integrity.file(home.database)).level == "red":
        print(doctor.told(whole))
        return FAILED
    studio = commands.open_studio()
    found = integrity.check(home, studio.database, deep=args.deep, tell=lambda part: print(f"looking at {part}"))
    for finding in found:
        print(doctor.told(finding))
    with studio.database.session() as session:
        health.keep_check(session, found)
    return FAILED if any(finding.level == "red" for finding in found) else DONE


def _here() -> Home:
    home = Home.from_environment()
    if home.database_url is None and not home.database.exists():
        raise TempoError(f"There is no database at {home.database}. Set TEMPO_HOME, or make one: python -m jobs setup.")
    return home
