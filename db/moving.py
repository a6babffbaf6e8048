"""From the SQLite file of a home into the empty Postgres database that it names: every row, or nothing.

The one thing to know: rows go in before the triggers do, as they are and with their ids, so that nothing is judged,
numbered or stamped again; what was frozen is then counted against its hash.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, text
from sqlalchemy.orm import Session

from db import datasets, migrate, restoring
from db.session import Database
from db.tables import Base
from tempo_core.errors import DatabaseRefused, TempoError
from tempo_core.settings import Home


@dataclass(frozen=True, slots=True)
class Moved:
    """Where from, where to, and how many rows of how many tables."""

    source: Path
    target: str
    n_rows: int
    n_tables: int


def to_server(home: Home) -> Moved:
    """Copy everything; the file stays as it was.

    Raises:
        TempoError: No server or no file is named, or the server does not answer.
        DatabaseRefused: The file is open elsewhere, or the server's database has tables already or is none for us.
        DatasetDrift: A frozen version would not be what was frozen.
    """
    _refuse_unready(home)
    # The file may be of an earlier version; it is backed up before that changes.
    migrate.upgrade(replace(home, database_url=None))
    restoring.refuse_open(home.database)
    target = Database.of(home)
    try:
        with closing(sqlite3.connect(home.database, isolation_level=None)) as source, target.session() as session:
            # Read as one moment, and nobody writes a row that would stay behind.
            source.execute("BEGIN IMMEDIATE")
            n_rows = _moved(source, session.connection())
            _verify(session)
    finally:
        target.close()
    return Moved(home.database, target.name, n_rows, len(Base.metadata.tables))


def _refuse_unready(home: Home) -> None:
    if home.database_url is None:
        raise TempoError(
            "Name the empty Postgres database: TEMPO_DATABASE_URL=postgresql+psycopg://tempo@HOST/tempo "
            "python -m jobs move. docs/growing.md says how to make one."
        )
    if not home.database.exists():
        raise TempoError(f"There is no {home.database} to move. Set TEMPO_HOME to the studio's folder.")
    revision, name = migrate.look(home)
    if revision is not None:
        raise DatabaseRefused(f"{name} holds a studio already. Name an empty database: two are not merged.")


def _moved(source: sqlite3.Connection, target: Connection) -> int:
    migrate.create_tables(target)
    n_rows = sum(_copied(table, source, target) for table in Base.metadata.sorted_tables)
    for table in Base.metadata.sorted_tables:
        if table.autoincrement_column is not None:
            _number_on(table, target)
    migrate.finish(target)
    migrate.compare(target)
    return n_rows


def _copied(table: Table, source: sqlite3.Connection, target: Connection) -> int:
    """Rows in the order of their keys: some refer to an earlier one of their own table."""
    names, keys = (", ".join(f'"{one.name}"' for one in columns) for columns in (table.columns, table.primary_key))
    driver: Any = target.connection.dbapi_connection
    n = 0
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
        for row in source.execute(f'SELECT {names} FROM "{table.name}" ORDER BY {keys}'):
            copy.write_row(row)
            n += 1
    return n


def _number_on(table: Table, target: Connection) -> None:
    """The next row gets the number after the last."""
    sequence = f"pg_get_serial_sequence('\"{table.name}\"', 'id')"
    last = f'SELECT max(id) FROM "{table.name}"'
    target.execute(text(f"SELECT setval({sequence}, ({last})) WHERE ({last}) IS NOT NULL"))


def _verify(session: Session) -> None:
    for card in datasets.listing(session):
        datasets.verify(session, card.id)
