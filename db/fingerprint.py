"""The structure of a SQLite database as a value, so that an upgraded one can be compared with a fresh one.

Not the text in `sqlite_master`: a batch migration writes the same table in other words.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection

OURS = "name NOT LIKE 'sqlite_%' AND name <> 'alembic_version' AND NOT (type = 'table' AND name LIKE 'pair_fts_%')"


def fingerprint(connection: Connection) -> dict[str, Any]:
    """Tables with columns, keys, checks and indexes; triggers; the search table."""
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
