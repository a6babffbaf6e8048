"""The two doors to the database: `session()` writes, `reading()` is a snapshot.

Verbs take the session first and never commit. Writers of one process pass a gate, because SQLite's own busy handler
is unfair; the gate lives in the `Database`, not in a module, since the web server re-imports modules.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import dialect
from tempo_core.errors import DatabaseBusy, NoSpace, TempoError

Fence = Callable[[Session], None]
"""Runs first in every write transaction; raises when this process must not write any more."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Database:
    """One open database. Keep one per process; it is safe to share between threads."""

    def __init__(self, url: URL, fence: Fence | None = None, *, busy_ms: int = dialect.BUSY_MS) -> None:
        self.url, self.fence, self.busy_ms = url, fence, busy_ms
        self.path = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        self.writer = _engine(url, read_only=False, busy_ms=busy_ms)
        self.reader = _engine(url, read_only=True, busy_ms=busy_ms)
        self._gate = threading.Lock()
        self._inside = threading.local()

    @classmethod
    def open(cls, where: str | Path, fence: Fence | None = None, *, busy_ms: int = dialect.BUSY_MS) -> Database:
        """Open a SQLite file or a URL. Tables are made by `migrate.upgrade`, not here."""
        if isinstance(where, str) and "://" in where:
            url = make_url(where)
        else:
            url = URL.create("sqlite+pysqlite", database=str(Path(where).resolve()))
        if url.get_backend_name() == "sqlite":
            dialect.refuse_unsafe(Path(url.database or "").parent)
        return cls(url, fence, busy_ms=busy_ms)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A write transaction: committed at the end of the block, rolled back on any exception."""
        door = Session(self.writer, expire_on_commit=False)
        with self._one_writer(), self.readable_errors(), door as session, session.begin():
            # BEGIN IMMEDIATE now: who waits for the lock should wait here, not in the middle of the work.
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
        if self.path is None:
            yield
            return
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
        """A locked database and a full disk, in words for people."""
        try:
            yield
        except OperationalError as error:
            told = self._told(str(error.orig))
            if told is None:
                raise
            raise told from error

    def _told(self, reason: str) -> TempoError | None:
        if "locked" in reason or "busy" in reason:
            return self._busy("another program is")
        if "disk is full" in reason or "disk I/O error" in reason:
            return NoSpace(f"{self.path}: {reason}. Nothing of this step was saved. Free some space, then try again.")
        return None

    def _busy(self, who: str) -> DatabaseBusy:
        return DatabaseBusy(
            f"The database {self.path or self.url.database} stayed locked for {self.busy_ms / 1000:g} s: {who} writing "
            "to it. Nothing was lost; try again, or close the program that holds it open."
        )


def _engine(url: URL, *, read_only: bool, busy_ms: int) -> Engine:
    if url.get_backend_name() != "sqlite":
        options: dict[str, Any] = {"postgresql_readonly": True} if read_only else {}
        return create_engine(url, hide_parameters=True, execution_options=options)
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "isolation_level": None},
        pool_size=5 if read_only else 1,
        max_overflow=3 if read_only else 0,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        dialect.prepare(connection, read_only=read_only, busy_ms=busy_ms)

    @event.listens_for(engine, "begin")
    def _began(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
