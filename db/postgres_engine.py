"""How Postgres is connected to, and how a transaction begins there: decisions/0018.

Imported only where a server is used: the driver costs a tenth of a second.
"""

from __future__ import annotations

from typing import Any

from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

IDLE_MS = 60_000
"""A process that stops in the middle of a write loses its transaction after this; nothing of ours computes as long."""

_WRITER = 0x7E3990
"""The number of our one lock; Postgres keeps such locks apart by database."""


def engine(url: URL, *, read_only: bool, busy_ms: int, **pool: Any) -> Engine:
    """Readers see one snapshot. Writers wait for each other, then see everything that was committed before.

    Not REPEATABLE READ for writers: their snapshot would be as old as the beginning of the wait for the lock.
    """
    options: dict[str, Any] = {"isolation_level": "READ COMMITTED"}
    if read_only:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    made = create_engine(url, hide_parameters=True, execution_options=options, pool_pre_ping=True, **pool)

    @event.listens_for(made, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        _adapt(connection)

    if not read_only:

        @event.listens_for(made, "begin")
        def _began(connection: Connection) -> None:
            connection.exec_driver_sql(begin_writing(busy_ms))

    return made


def begin_writing(busy_ms: int) -> str:
    """One statement, so one way to the server and back; what is set holds from then on, to the transaction's end."""
    return (
        f"SELECT set_config('lock_timeout', '{busy_ms}', true), "
        f"set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true), pg_advisory_xact_lock({_WRITER})"
    )


class _Number(Loader):
    """A sum of whole numbers is `numeric` here, which would come as Decimal and fit into no JSON."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


class _Text(StrDumper):
    """A text cannot hold the character 0 here, and an answer with one must not end a job."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))


def _adapt(connection: Any) -> None:
    connection.adapters.register_loader("numeric", _Number)
    connection.adapters.register_dumper(str, _Text)
