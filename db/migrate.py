"""Brings a database to what this version of the code expects, with a backup before it changes anything.

`upgrade` runs at every start, so the case where nothing is to be done costs a few milliseconds. An upgrade is one
transaction: it happens as a whole or not at all. `create_all` is for tests that need a fresh database without history.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.orm import Session

from db import backup, dialect, people, postgres
from db.fingerprint import fingerprint
from db.session import Database, now_ms
from db.tables import Base
from tempo_core.errors import DatabaseBusy, DatabaseRefused
from tempo_core.settings import Home

HEAD = "0005"
"""The newest revision in migrations/versions (a test holds the two together)."""

SCRIPTS = Path(__file__).parent.parent / "migrations"
EXTRAS = dialect.EXTRAS


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `upgrade` did: revisions before and after (None: there was no database), and the backup it made."""

    before: str | None
    after: str
    backup: Path | None = None


def upgrade(home: Home) -> Upgrade:
    """Make the database of `home` current.

    Raises:
        DatabaseRefused: It was made by a newer version, is no database of ours, or the upgrade failed; in each case
            the database is as it was.
    """
    home.make()
    if home.database_url is not None:
        return _upgrade_server(home)
    dialect.refuse_unsafe(home.root)
    if _state(home.database) == (HEAD, EXTRAS):
        return Upgrade(HEAD, HEAD)
    with _alone(home.root / "upgrade.lock"):
        revision, extras = _state(home.database)
        if (revision, extras) == (HEAD, EXTRAS):
            return Upgrade(HEAD, HEAD)
        _refuse_newer(str(home.database), revision)
        kept = backup.make(home.database, home.backups, f"before-{HEAD}") if revision is not None else None
        database = Database.of(home)
        try:
            _migrate(database, kept)
        finally:
            database.close()
        return Upgrade(revision, HEAD, kept)


def revision_of(path: Path) -> str:
    """Of which revision a database file is.

    Raises:
        DatabaseRefused: It is none of ours, or newer than this program.
    """
    revision, _ = _state(path)
    if revision is None:
        raise DatabaseRefused(f"{path} holds no tables of TEMPO Studio.")
    _refuse_newer(str(path), revision)
    return revision


def look(home: Home) -> tuple[str | None, str]:
    """(revision, name) of the database on the home's server; no revision where it has no tables yet.

    Raises:
        TempoError: The server does not answer, or the database is none for us.
    """
    database = Database.of(home)
    try:
        revision, _ = _state_on_server(database)
        _refuse_newer(database.name, revision)
        return revision, database.name
    finally:
        database.close()


def _upgrade_server(home: Home) -> Upgrade:
    """The same on Postgres, whose backups are the administrator's. The transaction is alone by the writers' lock."""
    database = Database.of(home)
    try:
        revision, extras = _state_on_server(database)
        if (revision, extras) != (HEAD, EXTRAS):
            _refuse_newer(database.name, revision)
            _migrate(database, None)
        return Upgrade(revision, HEAD)
    finally:
        database.close()


def _state_on_server(database: Database) -> tuple[str | None, str | None]:
    """As `_state`, of the tables where ours are to lie."""
    with database.readable_errors(), database.reader.connect() as connection:
        names = set(inspect(connection).get_table_names())
        if not names:
            postgres.refuse_unfit(connection)
            return None, None
        if not {"alembic_version", "meta"} <= names:
            raise DatabaseRefused(
                f"{database.name} has tables, but not those of TEMPO Studio. Make a database of its own for it."
            )
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision, connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'extras'").scalar()


def _state(path: Path) -> tuple[str | None, str | None]:
    """(revision, extras) of a database; (None, None) where there is none yet."""
    if not path.exists() or path.stat().st_size == 0:
        return None, None
    try:
        with closing(sqlite3.connect(path, timeout=dialect.BUSY_MS / 1000)) as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names:
                return None, None
            if not {"alembic_version", "meta"} <= names:
                raise DatabaseRefused(
                    f"{path} is a database, but not one of TEMPO Studio. Move it away, or set TEMPO_HOME."
                )
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            extras = connection.execute("SELECT value FROM meta WHERE key = 'extras'").fetchone()
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise DatabaseBusy(f"Another program holds {path}. Nothing was changed; try again.") from None
        raise DatabaseRefused(
            f"{path} cannot be read as a database ({error}). Restore a backup: python -m jobs restore lists them."
        ) from None
    return revision[0] if revision else None, extras[0] if extras else None


def _refuse_newer(name: str, revision: str | None) -> None:
    known = {script.name.partition("_")[0] for script in (SCRIPTS / "versions").glob("*.py")}
    if revision is not None and revision not in known:
        raise DatabaseRefused(
            f"{name} was made by a newer version of TEMPO Studio (revision {revision}; this one knows up to {HEAD}). "
            "Update the program, or restore the backup that the newer version made before it upgraded."
        )


def _migrate(database: Database, kept: Path | None) -> None:
    """FK off -> BEGIN -> revisions -> extras -> checks -> COMMIT -> FK on (the pragma is ignored in a transaction)."""
    with database.readable_errors(), database.writer.connect() as connection, _free_keys(connection):
        try:
            with connection.begin():
                _run_revisions(connection)
                finish(connection)
                compare(connection)
                with Session(connection) as session:
                    # With the tables or not at all: a start that finds them current looks for nobody.
                    people.local(session)
        except DatabaseRefused as error:
            raise DatabaseRefused(f"{error} Nothing was changed. {_way_out(kept)}") from None


@contextmanager
def _free_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew, which its foreign keys would refuse."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def _run_revisions(connection: Connection) -> None:
    # Imported here: at most starts nothing is to be done, and alembic would cost more than all the rest.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def finish(connection: Connection) -> None:
    """What follows every schema change: extras, and a note of what they are."""
    dialect.ensure_extras(connection)
    note = "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    connection.execute(text(note), {"key": "extras", "value": EXTRAS})
    connection.execute(text(note), {"key": "upgraded_ms", "value": str(now_ms())})


def compare(connection: Connection) -> None:
    """Raise `DatabaseRefused` where tables, triggers or the search are not those of this version."""
    if connection.dialect.name == "sqlite":
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if orphans:
            raise DatabaseRefused(f"The upgrade would leave {len(orphans)} rows that point to nothing.")
        expected = expected_structure()
    else:
        expected = _expected_on_server(connection)
    found = fingerprint(connection)
    if found != expected:
        parts = expected["tables"].keys() | found["tables"].keys()
        wrong = sorted(name for name in parts if expected["tables"].get(name) != found["tables"].get(name))
        raise DatabaseRefused(f"The database is not what this version expects ({wrong or 'triggers'}).")


def structures(database: Database) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fingerprints of a database and of a fresh one. On Postgres writers wait meanwhile: the fresh one is made."""
    if database.is_sqlite:
        with database.reading() as session:
            return fingerprint(session.connection()), expected_structure()
    with database.session() as session:
        connection = session.connection()
        return fingerprint(connection), _expected_on_server(connection)


def expected_structure() -> dict[str, Any]:
    """The fingerprint of a fresh database."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        dialect.ensure_extras(connection)
        return fingerprint(connection)


def _expected_on_server(connection: Connection) -> dict[str, Any]:
    """The same on Postgres, made in a schema of its own that is never committed."""
    with connection.begin_nested() as aside:
        connection.exec_driver_sql("CREATE SCHEMA tempo_expected")
        connection.exec_driver_sql("SET LOCAL search_path TO tempo_expected")
        Base.metadata.create_all(connection)
        dialect.ensure_extras(connection)
        found = fingerprint(connection)
        aside.rollback()
    return found


def _way_out(kept: Path | None) -> str:
    return f"A backup from just before is {kept}." if kept else "Please report this."


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def create_all(database: Database) -> None:
    """Every table and extra, and the local person, in an empty database, as `upgrade` leaves it."""
    with database.session() as session:
        connection = session.connection()
        create_tables(connection)
        finish(connection)
        people.local(session)


def create_tables(connection: Connection) -> None:
    """Every table of this version, without what `finish` adds."""
    Base.metadata.create_all(connection)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
    if connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar() == 0:
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
