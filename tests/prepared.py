"""Databases that are filled once and copied for each test: files of SQLite, or databases of one Postgres server."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.trust.postgres_server import Server
from db.migrate import create_all
from db.session import Database

ENGINES: list[Any] = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
Fill = Callable[[Database], None]


@dataclass
class Files:
    """What is prepared lies in a folder, a file each."""

    folder: Path

    def fill(self, name: str, fill: Fill = create_all, base: str | None = None) -> None:
        """Prepare `name` from `base`, or from nothing, once."""
        path = self.path(name)
        if path.exists():
            return
        if base is not None:
            shutil.copy(self.path(base), path)
        database = Database.open(path)
        fill(database)
        database.close()

    def copy(self, name: str, folder: Path) -> Path:
        """Where to open a copy of its own."""
        return Path(shutil.copy(self.path(name), folder / "tempo.db"))

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.db"


@dataclass
class Databases:
    """What is prepared is a template of the server. Its one copy is brought back to it for each test, which costs
    milliseconds; a database is 300 new files, which cost a second or more on a busy disk."""

    server: Server
    backs: dict[str, str] = field(default_factory=dict)
    """How to bring the copy of a name back."""
    known: set[str] = field(default_factory=set)

    def fill(self, name: str, fill: Fill = create_all, base: str | None = None) -> None:
        if name in self.known:
            return
        database = Database.open(self.server.create(name, base or "template0"))
        fill(database)
        database.close()
        self.known.add(name)

    def copy(self, name: str, folder: Path) -> str:
        copied = f"copy_of_{name}"
        if name in self.backs:
            self.server.run(self.backs[name], copied)
        else:
            self.server.create(copied, name)
            self.backs[name] = self._keep(copied)
        return self.server.url(copied)

    def _keep(self, copied: str) -> str:
        """Put the rows aside; the statements that bring them back, with triggers and keys at rest."""
        of_ours = "FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        tables = [name for (name,) in self.server.run(f"SELECT tablename {of_ours}", copied)]
        kept = "; ".join(f"CREATE TABLE kept.{table} AS TABLE {table}" for table in tables)
        self.server.run(f"CREATE SCHEMA kept; {kept}", copied)
        counted = "SELECT sequencename, coalesce(last_value, 1), last_value IS NOT NULL FROM pg_sequences"
        sequences = self.server.run(counted, copied)
        return "; ".join(
            ["BEGIN; SET LOCAL session_replication_role = replica"]
            + [f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}" for table in tables]
            + [f"SELECT setval('{name}', {value}, {called})" for name, value, called in sequences]
            + ["COMMIT"]
        )
