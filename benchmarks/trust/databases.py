"""Databases to do harm to, and what is wrong with one afterwards."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from db.migrate import create_all
from db.session import Database
from tests.db.shelf import Shelf


def with_pairs(folder: Path, n_pairs: int) -> Path:
    """A new database with so many pending pairs; its file."""
    folder.mkdir(parents=True, exist_ok=True)
    database = Database.open(folder / "tempo.db")
    create_all(database)
    Shelf(database, folder).pairs(n_pairs)
    database.close()
    return folder / "tempo.db"


def faults(path: Path) -> list[str]:
    """What SQLite, the full-text index and the rule "one version more a review" find wrong; empty when it is whole."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        checks = [
            *connection.execute("PRAGMA quick_check").fetchall(),
            *connection.execute("PRAGMA integrity_check").fetchall(),
        ]
        found = [str(line) for (line,) in checks if line != "ok"]
        found += [f"foreign key of {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")]
        try:
            # 1: also against the texts themselves, which it leaves out otherwise.
            connection.execute("INSERT INTO pair_fts (pair_fts, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            found.append(f"full-text index: {error}")
        half = "SELECT id FROM pair p WHERE version - 1 <> (SELECT count(*) FROM review WHERE pair_id = p.id)"
        return found + [f"pair {pair_id} is half written" for (pair_id,) in connection.execute(half)]


def tokens(path: Path) -> set[str]:
    """Of every review that is stored."""
    with closing(sqlite3.connect(path)) as connection:
        return {token for (token,) in connection.execute("SELECT token FROM review")}
