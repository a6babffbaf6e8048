"""Alembic's entry. `db.migrate.upgrade` passes its open connection; the command line (for developers) opens one.

What alembic cannot see (triggers, the search table, indexes over expressions) is made by `db.dialect.ensure_extras`.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from db import dialect
from db.session import Database
from db.tables import Base, Flag, Json
from tempo_core.settings import Home


def include_object(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """The search table and its shadow tables, and expression indexes, are not alembic's."""
    if kind == "table" and name is not None and name.startswith("pair_fts"):
        return False
    return not (kind == "index" and name in dialect.EXPRESSION_INDEXES)


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Revisions hold plain types, so that they do not change when our own types do."""
    if kind == "type" and isinstance(item, Json):
        return "sa.Text()"
    if kind == "type" and isinstance(item, Flag):
        return "sa.Integer()"
    return False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        include_object=include_object,
        render_item=render_item,
        compare_type=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    database = Database.of(Home.from_environment().make())
    with database.writer.connect() as opened, opened.begin():
        run(opened)
    database.close()
