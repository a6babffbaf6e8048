"""What bringing a backup back would mean, told before it is done; `backup.restore` does it.

The one thing to know: rows are compared by id and moment, not by id alone, because after an earlier restore the same
id may name another row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from db import backup, migrate
from tempo_core.errors import DatabaseRefused

KINDS = {"review": "reviews", "opinion": "opinions of campaigns", "comment": "comments", "guideline": "guidelines",
         "pair": "pairs", "response": "responses", "video": "videos", "dataset_version": "frozen versions",
         "run": "runs", "evaluation": "figures of evaluations", "experiment": "experiments", "job": "jobs"}  # fmt: skip
"""Table -> what people call its rows."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """`lost` are rows that the present database has and the backup has not, by kind; None: it cannot be read."""

    backup: Path
    revision: str
    lost: Mapping[str, int] | None

    @property
    def older(self) -> bool:
        """Whether the next start will upgrade it."""
        return self.revision != migrate.HEAD


def outlook(file: Path, database: Path) -> Outlook:
    """Look at a backup without changing anything.

    Raises:
        DatabaseRefused: It is damaged, none of ours, or made by a newer version of the program.
    """
    if not file.is_file():
        raise DatabaseRefused(f"{file} is no file. python -m jobs restore lists the backups.")
    backup.check(file)
    revision = migrate.revision_of(file)
    return Outlook(file, revision, _lost(file, database))


def _lost(file: Path, database: Path) -> Mapping[str, int] | None:
    if not database.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("ATTACH ? AS kept", (f"{file.resolve().as_uri()}?mode=ro",))
            counted = {words: _count(connection, table) for table, words in KINDS.items()}
    except sqlite3.DatabaseError:
        return None
    return {words: n for words, n in counted.items() if n}


def _count(connection: sqlite3.Connection, table: str) -> int:
    at = "frozen_ms" if table == "dataset_version" else "created_ms"
    if not _has(connection, "main", table):
        # Of an earlier version, which the next start would upgrade.
        return 0
    there = _has(connection, "kept", table)
    same = f"SELECT 1 FROM kept.{table} AS k WHERE k.id = m.id AND k.{at} IS m.{at}" if there else "SELECT 1 WHERE 0"
    return int(connection.execute(f"SELECT count(*) FROM main.{table} AS m WHERE NOT EXISTS ({same})").fetchone()[0])


def _has(connection: sqlite3.Connection, which: str, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {which}.sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def refuse_open(database: Path) -> None:
    """Raise `DatabaseRefused` where anything has the database open: what it writes later would be lost.

    In WAL mode every connection holds a shared lock for as long as it is open, so nobody else can be alone.
    """
    try:
        with closing(sqlite3.connect(database, timeout=0.5, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise DatabaseRefused(f"{database} is open in another program.") from None
        raise DatabaseRefused(f"{database} cannot be opened ({error}).") from None
    except sqlite3.DatabaseError:
        # Damaged, which is why it is restored: nobody can have it open.
        return
