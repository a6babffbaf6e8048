"""The two doors to the database: `session()` writes, `reading()` is a snapshot.

Verbs take the session first and never commit. One transaction writes at a time on either engine: SQLite locks the
file, Postgres takes a lock of ours (`postgres_engine`; decisions/0018). Writers of one process pass a gate first,
because SQLite's own busy handler is unfair; the gate lives in the `Database`, not in a module, since the web server
re-imports modules.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InternalError, OperationalError
from sqlalchemy.orm import Session

from db import dialect, postgres
from tempo_core.errors import DatabaseBusy, DatabaseRefused, NoSpace, TempoError
from tempo_core.settings import Home

Fence = Callable[[Session], None]
"""Runs first in every write transaction; raises when this process must not write any more."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Gate:
    """A lock that lets in who came first.

    Python's own lets a thread that gives it back take it again at once: of eight that write without a pause the
    unluckiest waited 270 ms for a claim, by turns 74 ms (measured).
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float) -> bool:
        """Whether it is ours now; False after `timeout` seconds."""
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=timeout):
            return True
        with self._mutex:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        return True  # it was handed over at this very moment

    def release(self) -> None:
        """Hand it to who waits the longest."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


class Database:
    """One open database. Keep one per process; it is safe to share between threads."""

    def __init__(self, url: URL, fence: Fence | None = None, *, busy_ms: int = dialect.BUSY_MS) -> None:
        self.url, self.fence, self.busy_ms = url, fence, busy_ms
        self.path = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        self.writer = _engine(url, read_only=False, busy_ms=busy_ms)
        self.reader = _engine(url, read_only=True, busy_ms=busy_ms)
        self._gate = Gate()
        self._inside = threading.local()

    @classmethod
    def of(cls, home: Home, fence: Fence | None = None, *, busy_ms: int = dialect.BUSY_MS) -> Database:
        """A studio's database: the file in its home, or the server that TEMPO_DATABASE_URL names."""
        if home.database_url is not None:
            return cls(_of_postgres(home.database_url), fence, busy_ms=busy_ms)
        return cls.open(home.database, fence, busy_ms=busy_ms)

    @classmethod
    def open(cls, where: str | Path, fence: Fence | None = None, *, busy_ms: int = dialect.BUSY_MS) -> Database:
        """Open a SQLite file or a Postgres URL. Tables are made by `migrate.upgrade`, not here.

        Raises:
            DatabaseRefused: SQLite would lose data there, or the URL is none of Postgres.
        """
        if isinstance(where, str) and "://" in where:
            return cls(_of_postgres(where), fence, busy_ms=busy_ms)
        file = Path(where).resolve()
        dialect.refuse_unsafe(file.parent)
        return cls(URL.create("sqlite+pysqlite", database=str(file)), fence, busy_ms=busy_ms)

    @property
    def is_sqlite(self) -> bool:
        """One file, which the studio itself backs up. A Postgres database is its administrator's to back up."""
        return self.path is not None

    @property
    def is_there(self) -> bool:
        """False once somebody removed the file under a running program."""
        return self.path is None or self.path.exists()

    @property
    def name(self) -> str:
        """For people: the path, or the URL without its password."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A write transaction: committed at the end of the block, rolled back on any exception."""
        door = Session(self.writer, expire_on_commit=False)
        with self._one_writer(), self.readable_errors(), door as session, session.begin():
            # The lock is taken now: who waits for it should wait here, not in the middle of the work.
            session.connection()
            if self.fence is not None:
                self.fence(session)
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A snapshot that refuses to write. Do not keep it open while a page draws or a model computes."""
        with self.readable_errors(), Session(self.reader, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        self.writer.dispose()
        self.reader.dispose()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if getattr(self._inside, "writing", False):
            raise ValueError("session() inside session(): pass the open session on instead")
        if not self._gate.acquire(timeout=self.busy_ms / 1000):
            raise self._busy("another part of this program is")
        self._inside.writing = True
        try:
            yield
        finally:
            self._inside.writing = False
            self._gate.release()

    @contextmanager
    def readable_errors(self) -> Iterator[None]:
        """A locked database, a full disk and a server that is away, in words for people."""
        try:
            yield
        except (OperationalError, InternalError) as error:
            told = self._told(str(error.orig), getattr(error.orig, "sqlstate", None))
            if told is None:
                raise
            raise told from error

    def _told(self, reason: str, sqlstate: str | None) -> TempoError | None:
        if sqlstate == postgres.LOCK_NOT_AVAILABLE or (self.is_sqlite and ("locked" in reason or "busy" in reason)):
            return self._busy("another program is")
        if sqlstate == postgres.DISK_FULL or "disk is full" in reason or "disk I/O error" in reason:
            return NoSpace(f"{self.name}: {reason}. Nothing of this step was saved. Free some space, then try again.")
        if not self.is_sqlite and (sqlstate is None or sqlstate.startswith(postgres.AWAY)):
            why = reason.strip().partition("\n")[0]
            return DatabaseBusy(
                f"The database server of {self.name} does not answer ({why}). Nothing of "
                "this step was saved; try again once it is back, or correct TEMPO_DATABASE_URL."
            )
        return None

    def _busy(self, who: str) -> DatabaseBusy:
        return DatabaseBusy(
            f"The database {self.name} stayed locked for {self.busy_ms / 1000:g} s: {who} writing "
            "to it. Nothing was lost; try again, or close the program that holds it open."
        )


def _of_postgres(where: str) -> URL:
    try:
        url = make_url(where)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        kind, there, _ = where.partition("://")
        # Without one it is not repeated: it may begin with a password.
        begins = f"begins with {kind}://" if there else "is no address of a server"
        raise DatabaseRefused(
            f"TEMPO_DATABASE_URL {begins}; it must be postgresql+psycopg://user@host/name. Leave it unset for the "
            "SQLite file in TEMPO_HOME."
        )
    url = url.set(drivername="postgresql+psycopg")
    if password := url.query.get("password"):
        # Where it is known as one, and so is never shown.
        url = url.set(password=str(password)).difference_update_query(["password"])
    return url


def _engine(url: URL, *, read_only: bool, busy_ms: int) -> Engine:
    pool: dict[str, Any] = {"pool_size": 5 if read_only else 1, "max_overflow": 3 if read_only else 0}
    if url.get_backend_name() != "sqlite":
        # Imported here: who keeps to the file need not wait for the driver.
        from db import postgres_engine

        return postgres_engine.engine(url, read_only=read_only, busy_ms=busy_ms, **pool)
    engine = create_engine(
        url, hide_parameters=True, connect_args={"check_same_thread": False, "isolation_level": None}, **pool
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        dialect.prepare(connection, read_only=read_only, busy_ms=busy_ms)

    @event.listens_for(engine, "begin")
    def _began(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
