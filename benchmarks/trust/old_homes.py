"""Homes as earlier revisions left them, with rows in every table, and a process that upgrades one until it is killed.

The one thing to know: rows are drawn from the tables of that revision as SQLite tells them (columns, references and
CHECKs), so a later revision needs no rows of its own here.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, MetaData, Table, event, insert, inspect

from db import dialect, migrate, people
from db.fingerprint import fingerprint
from db.session import Database
from db.tables import Base, Json
from tempo_core.settings import Home

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["alembic.command", "db.migrate", "migrations"])
N_ROWS = 3
Rows = Mapping[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]
"""Table -> its columns at that time and its rows, in order."""

_SAME = {
    ("app_user", "role"): "reviewer", ("pair", "version"): 2, ("review", "pair_version"): 1, ("plan", "magnitude"): 4,
    ("pair", "magnitude"): 4, ("dataset_version", "frozen_ms"): None, ("dataset_item", "level"): 1, ("plan", "seed"): 0,
}  # fmt: skip
"""What a column holds where nothing of its own says so."""


def revisions() -> list[str]:
    """Every revision, the oldest first."""
    return sorted(path.name.partition("_")[0] for path in (migrate.SCRIPTS / "versions").glob("[0-9]*.py"))


def make(home: Home, revision: str) -> Rows:
    """A database of that revision with rows in every table, one of its data sets frozen; the rows."""
    database = Database.open(home.make().database)
    with database.writer.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = MetaData()
        tables.reflect(connection, only=lambda name, _: name != "alembic_version")
        connection.exec_driver_sql(dialect.SEARCH_TABLE)
        for name, body in dialect.TRIGGERS.items():
            if re.search(r" ON (\w+)", body)[1] in tables.tables:  # type: ignore[index]
                connection.exec_driver_sql(f"CREATE TRIGGER {name} {body}")
        for table in tables.sorted_tables:
            checks = " ".join(str(check["sqltext"]) for check in inspect(connection).get_check_constraints(table.name))
            connection.execute(insert(table), list(_drawn(table, checks)))
        connection.exec_driver_sql("UPDATE dataset_version SET frozen_ms = 1 WHERE id = 1")
        connection.exec_driver_sql("INSERT INTO meta VALUES ('extras', 'of that time')")
    database.close()
    return rows(home.database)


def _drawn(table: Table, checks: str) -> Iterator[dict[str, Any]]:
    """Row i refers to row i of every other table; of responses there are two for each pair."""
    n = 2 * N_ROWS if table.name == "response" else N_ROWS
    for i in range(1, n + 1):
        yield {column.name: _value(table, column.name, i, checks) for column in table.columns}


def _value(table: Table, name: str, i: int, checks: str) -> Any:
    column = table.columns[name]
    if (table.name, name) in _SAME:
        return _SAME[table.name, name]
    if table.name == "pair" and name in ("rejected_id", "chosen", "rejected"):
        return i + N_ROWS if name == "rejected_id" else f"response text {i + N_ROWS * (name == 'rejected')}"
    if column.foreign_keys:
        itself = next(iter(column.foreign_keys)).column.table is table
        return None if itself else (i - 1) % N_ROWS + 1
    if column.type.python_type is not str:
        return {int: 1 if _is_flag(table.name, name) else i, float: i / 10, bytes: bytes([i])}[column.type.python_type]
    allowed = re.search(rf"\b{name}\b IN \('(\w+)'", checks)
    if allowed:
        return allowed[1]
    if name.endswith("sha256"):
        return hashlib.sha256(f"{table.name} {i}".encode()).hexdigest()
    return _json(table.name, name) or f"{table.name} {name} {i}"


def _is_flag(table: str, name: str) -> bool:
    known = Base.metadata.tables.get(table)
    return known is not None and name in known.columns and type(known.columns[name].type).__name__ == "Flag"


def _json(table: str, name: str) -> str | None:
    """An empty value for columns that hold JSON."""
    known = Base.metadata.tables.get(table)
    if known is None or name not in known.columns or not isinstance(known.columns[name].type, Json):
        return None
    return "[0,1]" if (table, name) == ("plan", "clip_order") else "{}"


def rows(path: Path, like: Rows | None = None) -> Rows:
    """What every table holds; with `like` only its tables, columns and as many rows as there were."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'pair_fts%' AND name <> 'meta' "
            "AND name <> 'alembic_version' AND name NOT LIKE 'sqlite_%'")]  # fmt: skip
        found = {}
        for name in like if like is not None else names:
            columns = like[name][0] if like else tuple(r[1] for r in connection.execute(f'PRAGMA table_info("{name}")'))
            listed = ", ".join(f'"{column}"' for column in columns)
            ordered = sorted(connection.execute(f'SELECT {listed} FROM "{name}"').fetchall(), key=repr)
            found[name] = columns, ordered
    return found


def missing(before: Rows, path: Path) -> list[str]:
    """Tables that lack a row they had, or hold another one in its place."""
    now = rows(path, like=before)
    return [name for name, (_, held) in before.items() if not set(held) <= set(now[name][1])]


# ---- a process that is killed ---------------------------------------------------------------------------------------
def run(home: Home, stop_at: int | None = None, after_s: float | None = None) -> int | None:
    """Upgrade a home in a process of its own; how many statements it took, or None where it was killed.

    Args:
        stop_at: Kill it before this statement.
        after_s: Or so long after it began.
    """
    heard, said = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_upgrade, args=(home.root, stop_at, said), daemon=True)
    process.start()
    said.close()
    heard.recv()
    told: int | None = None
    if after_s is None or heard.poll(after_s):
        told = heard.recv()
    process.kill()
    process.join(60)
    return told


def _upgrade(root: Path, stop_at: int | None, said: Connection) -> None:
    n = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def _counted(*_: Any) -> None:
        nonlocal n
        if n == stop_at:
            said.send(None)
            time.sleep(600)
        n += 1

    said.send("begun")
    migrate.upgrade(Home(root))
    said.send(n)


def standing(home: Home, was: Any) -> Literal["old", "new", "half"]:
    """Whether a database is as `structure` told before, or as a fresh one, or something between."""
    now = structure(home)
    return "old" if now == was else "new" if now[1] == migrate.expected_structure() else "half"


def structure(home: Home) -> tuple[str, Any]:
    """Revision and structure of a home's database."""
    database = Database.open(home.database)
    with database.reading() as session:
        found = fingerprint(session.connection())
    database.close()
    return migrate.revision_of(home.database), found


def faults(home: Home, before: Rows) -> list[str]:
    """What the next start makes of it, and what of that is wrong; empty when all is well."""
    migrate.upgrade(home)
    found = [f"{name} lost rows" for name in missing(before, home.database)]
    database = Database.open(home.database)
    with database.reading() as session:
        if fingerprint(session.connection()) != migrate.expected_structure():
            found.append("another structure than a fresh one")
        people.local(session)
    database.close()
    return found + [f"left over: {path.name}" for path in home.backups.glob("*.part*")]
