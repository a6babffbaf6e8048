"""The structure of a database as a value, so that an upgraded one can be compared with a fresh one.

On SQLite not the text in `sqlite_master`: a batch migration writes the same table in other words. On Postgres as its
catalogue words it, without the schema's name.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection

OURS = "name NOT LIKE 'sqlite_%' AND name <> 'alembic_version' AND NOT (type = 'table' AND name LIKE 'pair_fts_%')"


def fingerprint(connection: Connection) -> dict[str, Any]:
    """Tables with columns, keys, checks and indexes; triggers; the search table."""
    if connection.dialect.name != "sqlite":
        return {"tables": _tables_on_server(connection), "triggers": dict(_rows(connection, _FUNCTIONS))}
    master = _rows(connection, f"SELECT type, name, sql FROM sqlite_master WHERE {OURS} ORDER BY type, name")
    tables = {name: sql for kind, name, sql in master if kind == "table"}
    return {
        "tables": {name: _table(connection, name, sql) for name, sql in tables.items()},
        "triggers": {name: _folded(sql) for kind, name, sql in master if kind == "trigger"},
    }


def _table(connection: Connection, name: str, sql: str) -> dict[str, Any]:
    if sql.startswith("CREATE VIRTUAL"):
        return {"virtual": _folded(sql)}
    flags = next(row for row in _rows(connection, "PRAGMA table_list") if row[1] == name)
    columns = {row[1]: list(row[2:6]) for row in _rows(connection, f'PRAGMA table_xinfo("{name}")')}
    keys = sorted(list(row[2:]) for row in _rows(connection, f'PRAGMA foreign_key_list("{name}")'))
    return {
        "without_rowid": flags[4],
        "strict": flags[5],
        "columns": columns,
        "foreign_keys": keys,
        "checks": sorted(_checks(sql)),
        "indexes": _indexes(connection, name),
    }


def _indexes(connection: Connection, table: str) -> dict[str, Any]:
    """By what they index; unnamed ones (of UNIQUE and PRIMARY KEY) by their columns, since SQLite numbers them."""
    found: dict[str, Any] = {}
    for row in _rows(connection, f'PRAGMA index_list("{table}")'):
        name, unique, origin, partial = row[1:5]
        columns = [(part[2], part[3]) for part in _rows(connection, f'PRAGMA index_xinfo("{name}")') if part[5]]
        sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).scalar()
        named = name if sql is not None else f"{origin}({','.join(str(column) for column, _ in columns)})"
        found[named] = [unique, partial, columns, _folded(sql.partition(" ON ")[2]) if sql else ""]
    return found


def _checks(sql: str) -> list[str]:
    """Each CHECK with its parentheses balanced."""
    found = []
    for match in re.finditer(r"\bCHECK\s*\(", sql):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        found.append(_folded(sql[match.end() : end - 1]))
    return found


def _folded(sql: str) -> str:
    return re.sub(r"\s+", " ", sql.replace('"', "")).strip()


def _rows(connection: Connection, sql: str) -> list[Any]:
    return list(connection.exec_driver_sql(sql).all())


_OF_EXTENSION = "EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{}'::regclass AND e.objid = {} AND e.deptype = 'e')"
"""Administrators put such things beside ours, `pg_stat_statements` for one."""
_OURS = (
    "c.relnamespace = current_schema()::regnamespace AND c.relname <> 'alembic_version' "
    f"AND NOT {_OF_EXTENSION.format('pg_class', 'c.oid')}"
)
_PARTS = (
    "SELECT c.relname, 'column ' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "pg_get_expr(d.adbin, d.adrelid)) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
    f"WHERE {_OURS} AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped",
    "SELECT c.relname, 'rule ' || k.conname, pg_get_constraintdef(k.oid, true) FROM pg_class c "
    f"JOIN pg_constraint k ON k.conrelid = c.oid WHERE {_OURS}",
    "SELECT c.relname, 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid, 0, true) FROM pg_class c "
    f"JOIN pg_index i ON i.indrelid = c.oid WHERE {_OURS}",
    "SELECT c.relname, 'trigger ' || t.tgname, pg_get_triggerdef(t.oid, true) FROM pg_class c "
    f"JOIN pg_trigger t ON t.tgrelid = c.oid WHERE {_OURS} AND NOT t.tgisinternal",
    f"SELECT c.relname, 'view', pg_get_viewdef(c.oid, true) FROM pg_class c WHERE {_OURS} AND c.relkind = 'v'",
)
_FUNCTIONS = (
    "SELECT proname, coalesce(pg_get_function_sqlbody(oid), prosrc) FROM pg_proc "
    f"WHERE pronamespace = current_schema()::regnamespace AND NOT {_OF_EXTENSION.format('pg_proc', 'pg_proc.oid')}"
)


def _tables_on_server(connection: Connection) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for query in _PARTS:
        for table, part, text in _rows(connection, query):
            found.setdefault(table, {})[part] = text
    return found
