"""What depends on the database engine: its version, its pragmas, and what SQLAlchemy cannot express.

`ensure_extras` is run after every upgrade, because a batch migration silently drops triggers and indexes over
expressions.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, bindparam, cast
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from db import postgres
from tempo_core.errors import DatabaseRefused

BUSY_MS = 15_000
MOUNTS = Path("/proc/mounts")
OLDEST = (3, 37, 0)
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.glusterfs", "ceph", "lustre", "afs"}


@dataclass(frozen=True, slots=True)
class SqliteVerdict:
    """Whether this SQLite library can be trusted with the data; `text` is for the health page and `doctor`."""

    status: Literal["ok", "warn", "refuse"]
    text: str


def sqlite_verdict(version: tuple[int, int, int] | None = None, *, fts5: bool | None = None) -> SqliteVerdict:
    """Judge a SQLite version (default: the one this Python is linked with)."""
    major, minor, patch = version or sqlite3.sqlite_version_info[:3]
    v, name = (major, minor, patch), f"SQLite {major}.{minor}.{patch}"
    if v < OLDEST:
        return SqliteVerdict(
            "refuse",
            f"{name} is too old: 3.37 or newer is needed. Use a Python linked with a newer "
            "SQLite (Python 3.11 of Debian 12, python.org or uv), or Postgres.",
        )
    if not (_has_fts5() if fts5 is None else fts5):
        return SqliteVerdict("refuse", f"{name} was built without FTS5, which the search needs. Use another build.")
    fixed = (v >= (3, 51, 3) and v != (3, 52, 0)) or (3, 50, 7) <= v < (3, 51, 0) or (3, 44, 6) <= v < (3, 45, 0)
    if fixed:
        return SqliteVerdict("ok", f"{name}, with the fix of the WAL reset race.")
    return SqliteVerdict(
        "warn",
        f"{name} has a rare race that can lose commits when a checkpoint meets a committing "
        "connection (sqlite.org/wal.html#walresetbug; fixed in 3.51.3, 3.50.7 and 3.44.6). "
        "Keep the backups, or use a newer SQLite.",
    )


def _has_fts5() -> bool:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(x)")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def refuse_unsafe(path: Path, mounts: Path = MOUNTS) -> None:
    """Raise `DatabaseRefused` where SQLite would lose data: a too old library, or a network file system."""
    verdict = sqlite_verdict()
    if verdict.status == "refuse":
        raise DatabaseRefused(verdict.text)
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseRefused(
            f"{path} lies on a network file system ({kind}), where SQLite's write-ahead log can lose data. "
            "Put TEMPO_HOME on a local disk, or use Postgres through TEMPO_DATABASE_URL."
        )


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system that holds `path`; None where the system does not tell."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    best, kind, resolved = -1, None, path.resolve()
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if resolved.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind


def insert_for(session: Session) -> Any:
    """The engine's own `insert`, which knows ON CONFLICT DO UPDATE. (INSERT OR REPLACE would walk round triggers.)"""
    return sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert


class _Elements(FunctionElement[str]):
    """The elements of a JSON list, as rows."""

    inherit_cache = True


@compiles(_Elements)
def _elements(element: _Elements, compiler: Any, **named: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **named)})"


@compiles(_Elements, "postgresql")
def _elements_postgres(element: _Elements, compiler: Any, **named: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **named)} AS JSON))"


def each_of(numbers: str) -> ColumnElement[int]:
    """The whole numbers of a JSON list, to be selected."""
    return cast(
        _Elements(bindparam(None, numbers)).table_valued("value").c.value,
        BigInteger().with_variant(Integer(), "sqlite"),
    )


class _Found(FunctionElement[Any]):
    """Whether `pair_fts` holds the words, which each engine wants written in its own way."""

    inherit_cache = True


@compiles(_Found)
def _found(element: _Found, compiler: Any, **named: Any) -> str:
    return f"pair_fts MATCH {compiler.process(next(iter(element.clauses)), **named)}"


@compiles(_Found, "postgresql")
def _found_postgres(element: _Found, compiler: Any, **named: Any) -> str:
    return f"pair_fts.words @@ to_tsquery('tempo', {compiler.process(list(element.clauses)[1], **named)})"


_TOKEN = re.compile(r"[^\W_]+")


def matching(search: str, *, unfinished: bool) -> FunctionElement[Any]:
    """Pairs of `pair_fts` with all these words, in any order. Quoted, so that nothing is taken as an operator.

    Args:
        unfinished: Of the last word only the beginning was typed.
    """
    quoted = [f'"{token}"' for token in _TOKEN.findall(search)]
    if quoted and unfinished:
        quoted[-1] += "*"
    plain = _TOKEN.findall(postgres.words_of(search))
    return _Found(
        bindparam(None, " ".join(quoted) or '""'), bindparam(None, postgres.query_of(plain, unfinished=unfinished))
    )


def prepare(connection: sqlite3.Connection, *, read_only: bool, busy_ms: int) -> None:
    """The settings of every SQLite connection."""
    connection.execute(f"PRAGMA busy_timeout={busy_ms}")
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA cache_size=-64000")
    if read_only:
        connection.execute("PRAGMA query_only=ON")


def _append_only(table: str, same: str) -> dict[str, str]:
    """REPLACE deletes without firing delete triggers (unless recursive_triggers is on), hence the third trigger."""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return {
        f"{table}_no_update": f"BEFORE UPDATE ON {table} {refuse}",
        f"{table}_no_delete": f"BEFORE DELETE ON {table} {refuse}",
        f"{table}_no_replace": f"BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}",
    }


_FROZEN = "BEGIN SELECT RAISE(ABORT, 'a frozen data set does not change'); END"
_ITEM_FROZEN = "EXISTS (SELECT 1 FROM dataset_version WHERE id = {row}.dataset_version_id AND frozen_ms IS NOT NULL)"
_FTS_OUT = (
    "INSERT INTO pair_fts(pair_fts, rowid, prompt, chosen, rejected) "
    "VALUES ('delete', OLD.id, OLD.prompt, OLD.chosen, OLD.rejected)"
)
_FTS_IN = "INSERT INTO pair_fts(rowid, prompt, chosen, rejected) VALUES (NEW.id, NEW.prompt, NEW.chosen, NEW.rejected)"

TRIGGERS: dict[str, str] = {
    **_append_only(
        "review", "id = NEW.id OR token = NEW.token OR (pair_id = NEW.pair_id AND pair_version = NEW.pair_version)"
    ),
    **_append_only("comment", "id = NEW.id OR token = NEW.token"),
    **_append_only("opinion", "id = NEW.id OR token = NEW.token"),
    **_append_only("guideline", "id = NEW.id OR sha256 = NEW.sha256"),
    "dataset_version_no_update": f"BEFORE UPDATE ON dataset_version WHEN OLD.frozen_ms IS NOT NULL {_FROZEN}",
    "dataset_version_no_delete": f"BEFORE DELETE ON dataset_version WHEN OLD.frozen_ms IS NOT NULL {_FROZEN}",
    "dataset_version_no_replace": "BEFORE INSERT ON dataset_version WHEN EXISTS (SELECT 1 FROM dataset_version WHERE "
    "id = NEW.id OR (name = NEW.name AND number = NEW.number)) " + _FROZEN,
    "dataset_item_no_insert": f"BEFORE INSERT ON dataset_item WHEN {_ITEM_FROZEN.format(row='NEW')} {_FROZEN}",
    "dataset_item_no_update": f"BEFORE UPDATE ON dataset_item WHEN {_ITEM_FROZEN.format(row='OLD')} "
    f"OR {_ITEM_FROZEN.format(row='NEW')} {_FROZEN}",
    "dataset_item_no_delete": f"BEFORE DELETE ON dataset_item WHEN {_ITEM_FROZEN.format(row='OLD')} {_FROZEN}",
    "pair_texts_match": "BEFORE INSERT ON pair WHEN "
    "NEW.chosen IS NOT (SELECT text FROM response WHERE id = NEW.chosen_id) OR "
    " NEW.rejected IS NOT (SELECT text FROM response WHERE id = NEW.rejected_id) "
    "BEGIN SELECT RAISE(ABORT, 'a pair holds copies of its responses'); END",
    "pair_fts_insert": f"AFTER INSERT ON pair BEGIN {_FTS_IN}; END",
    "pair_fts_delete": f"AFTER DELETE ON pair BEGIN {_FTS_OUT}; END",
    "pair_fts_update": f"AFTER UPDATE OF prompt, chosen, rejected ON pair BEGIN {_FTS_OUT}; {_FTS_IN}; END",
}

EXPRESSION_INDEXES: dict[str, str] = {
    "uq_response_recipe": "response(video_id, coalesce(timeline_id, 0), coalesce(plan_id, 0), model_id, prompt_id, "
    "sampling_id, seed)",
    "uq_evaluation_measured": "evaluation(coalesce(run_id, 0), model_id, moment, benchmark, split, metric, "
    "settings_sha256, coalesce(job_id, 0))",
}


SEARCH_TABLE = (
    "CREATE VIRTUAL TABLE pair_fts USING fts5(prompt, chosen, rejected, "
    "content='pair', content_rowid='id', tokenize='porter unicode61')"
)


EXTRAS = hashlib.sha256(
    repr((TRIGGERS, EXPRESSION_INDEXES, SEARCH_TABLE, postgres.FUNCTIONS, postgres.TRIGGERS, postgres.SEARCH)).encode()
).hexdigest()
"""Changes with everything that `ensure_extras` makes, so that a changed trigger is noticed at start."""


def ensure_extras(connection: Connection) -> None:
    """Make triggers, the search table and expression indexes what the code says. Running it twice changes nothing."""
    if connection.dialect.name != "sqlite":
        for name, on in EXPRESSION_INDEXES.items():
            connection.exec_driver_sql(f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {on}")
        postgres.ensure_extras(connection)
        return
    for name, on in EXPRESSION_INDEXES.items():
        _ensure(connection, "index", name, f"CREATE UNIQUE INDEX {name} ON {on}")
    if _ensure(connection, "table", "pair_fts", SEARCH_TABLE):
        connection.exec_driver_sql("INSERT INTO pair_fts(pair_fts) VALUES ('rebuild')")
    for name, body in TRIGGERS.items():
        _ensure(connection, "trigger", name, f"CREATE TRIGGER {name} {body}")


def _ensure(connection: Connection, kind: str, name: str, sql: str) -> bool:
    """Create, or replace where the stored text differs. True if something was made."""
    row: Any = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type = ? AND name = ?", (kind, name)
    ).fetchone()
    if row is not None and row[0] == sql:
        return False
    if row is not None:
        connection.exec_driver_sql(f"DROP {kind.upper()} {name}")
    connection.exec_driver_sql(sql)
    return True
