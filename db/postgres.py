"""What Postgres needs beside the tables: triggers, the search, and what is refused.

Everything is named without a schema, so that it lies where the tables lie; `migrate` makes a second copy in a schema of
its own to compare with. Meanings are those of `dialect`; decisions/0018 tells what differs and why.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

from sqlalchemy import Connection

from tempo_core.errors import DatabaseRefused

OLDEST = 140_000
"""14 is the first with CREATE OR REPLACE TRIGGER and functions that bind names when they are made."""

LOCK_NOT_AVAILABLE, DISK_FULL = "55P03", "53100"
AWAY = ("08", "57P", "25P03")
"""Beginnings of the codes for a lost connection, a server that shuts down or starts, and a write that stood still."""


# ---- what is refused ------------------------------------------------------------------------------------------------
def refuse_unfit(connection: Connection) -> None:
    """Raise `DatabaseRefused` where words would be compared or searched otherwise than in SQLite."""
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version < OLDEST:
        raise DatabaseRefused(f"The server is Postgres {version // 10_000}; 14 or newer is needed.")
    encoding, collation = connection.exec_driver_sql(
        "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()"
    ).one()
    if encoding != "UTF8" or collation not in ("C", "POSIX", "C.UTF-8", "C.utf8"):
        raise DatabaseRefused(
            f"The database is of encoding {encoding} and collation {collation}; names would be in another order than "
            "their bytes. Make it with `createdb --encoding=UTF8 --locale=C.UTF-8 --template=template0 NAME`."
        )


# ---- triggers -------------------------------------------------------------------------------------------------------
_REFUSE = "RAISE EXCEPTION '{words}' USING ERRCODE = 'integrity_constraint_violation';"
_KEEP = "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW;"
_FROZEN = _REFUSE.format(words="a frozen data set does not change")

FUNCTIONS: dict[str, str] = {
    "tempo_append_only": "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
    "USING ERRCODE = 'integrity_constraint_violation'; END",
    "tempo_version_frozen": f"BEGIN IF OLD.frozen_ms IS NOT NULL THEN {_FROZEN} END IF; {_KEEP} END",
    "tempo_item_frozen": "BEGIN IF EXISTS (SELECT 1 FROM dataset_version WHERE frozen_ms IS NOT NULL "
    f"AND id IN (OLD.dataset_version_id, NEW.dataset_version_id)) THEN {_FROZEN} END IF; {_KEEP} END",
    "tempo_never_emptied": f"BEGIN {_FROZEN} END",
    "tempo_pair_texts": "BEGIN IF NEW.chosen IS DISTINCT FROM (SELECT text FROM response WHERE id = NEW.chosen_id) OR "
    "NEW.rejected IS DISTINCT FROM (SELECT text FROM response WHERE id = NEW.rejected_id) THEN "
    f"{_REFUSE.format(words='a pair holds copies of its responses')} END IF; RETURN NEW; END",
    "tempo_search": "BEGIN INSERT INTO pair_fts VALUES (NEW.id, pair_words(NEW.prompt, NEW.chosen, NEW.rejected)) "
    "ON CONFLICT (rowid) DO UPDATE SET words = excluded.words; RETURN NEW; END",
}

_APPEND_ONLY = ("review", "comment", "opinion", "guideline")
TRIGGERS: dict[str, str] = {
    # UNIQUE stands for SQLite's third trigger: there is no INSERT OR REPLACE here.
    **{
        f"{table}_no_change": f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION tempo_append_only()"
        for table in _APPEND_ONLY
    },
    **{
        f"{table}_no_truncate": f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION tempo_append_only()"
        for table in _APPEND_ONLY
    },
    "dataset_version_no_change": "BEFORE UPDATE OR DELETE ON dataset_version FOR EACH ROW "
    "EXECUTE FUNCTION tempo_version_frozen()",
    "dataset_item_no_change": "BEFORE INSERT OR UPDATE OR DELETE ON dataset_item FOR EACH ROW "
    "EXECUTE FUNCTION tempo_item_frozen()",
    **{
        f"{table}_no_truncate": f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION tempo_never_emptied()"
        for table in ("dataset_version", "dataset_item")
    },
    "pair_texts_match": "BEFORE INSERT ON pair FOR EACH ROW EXECUTE FUNCTION tempo_pair_texts()",
    "pair_fts_written": "AFTER INSERT OR UPDATE OF prompt, chosen, rejected ON pair FOR EACH ROW "
    "EXECUTE FUNCTION tempo_search()",
}


# ---- search ---------------------------------------------------------------------------------------------------------
_KINDS = "asciiword, word, numword, int, uint, float, sfloat, version"
_WORDS_OF = "regexp_replace(regexp_replace(normalize(left({0}, 100000), NFD), '[\\u0300-\\u036F]', '', 'g'), " + (
    "'[^[:alnum:]]+', ' ', 'g')"
)
_TEXTS = " || ' ' || ".join(_WORDS_OF.format(name) for name in ("prompt", "chosen", "rejected"))
SEARCH: tuple[str, ...] = (
    # Words as FTS5 with `porter unicode61` has them: letters and digits, without accents, by their stem, none left out.
    "CREATE TEXT SEARCH DICTIONARY tempo_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = porter)",
    "CREATE TEXT SEARCH CONFIGURATION tempo (PARSER = pg_catalog.default)",
    f"ALTER TEXT SEARCH CONFIGURATION tempo ADD MAPPING FOR {_KINDS} WITH tempo_stem",
    # A vector holds 1 MB, and a longer answer must not fail: its first 100,000 letters can be found.
    "CREATE FUNCTION pair_words(prompt text, chosen text, rejected text) RETURNS tsvector LANGUAGE sql "
    f"IMMUTABLE PARALLEL SAFE RETURN to_tsvector('tempo'::regconfig, {_TEXTS})",
    # Under the names of SQLite's search table, so that the same queries ask it. A table and not an index over the
    # function alone: the planner then often makes the vectors again, row by row, which took 200 ms instead of 13.
    "CREATE TABLE pair_fts (rowid bigint PRIMARY KEY REFERENCES pair (id) ON DELETE CASCADE, words tsvector NOT NULL)",
    "INSERT INTO pair_fts SELECT id, pair_words(prompt, chosen, rejected) FROM pair",
    "CREATE INDEX ix_pair_fts_words ON pair_fts USING gin (words)",
)
_SEARCH_AWAY = (
    "DROP TABLE IF EXISTS pair_fts",
    "DROP FUNCTION IF EXISTS pair_words(text, text, text)",
    "DROP TEXT SEARCH CONFIGURATION IF EXISTS tempo",
    "DROP TEXT SEARCH DICTIONARY IF EXISTS tempo_stem",
)


def words_of(search: str) -> str:
    """Letters as the index holds them, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", search) if not unicodedata.combining(c))


def query_of(tokens: Sequence[str], *, unfinished: bool) -> str:
    """All words in any order, as `to_tsquery` wants them; of an unfinished last one the beginning."""
    quoted = [f"'{token}'" for token in tokens]
    if quoted and unfinished:
        quoted[-1] += ":*"
    return " & ".join(quoted)


# ---- making them ----------------------------------------------------------------------------------------------------
def ensure_extras(connection: Connection) -> None:
    """Make functions, triggers and the search what the code says. Running it twice changes nothing."""
    for name, body in FUNCTIONS.items():
        _run(connection, f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    for name, body in TRIGGERS.items():
        _run(connection, f"CREATE OR REPLACE TRIGGER {name} {body}")
    _ensure_search(connection)


def _ensure_search(connection: Connection) -> None:
    """Made anew where it was made by other statements: vectors do not notice that their function changed."""
    stamp = hashlib.sha256(repr(SEARCH).encode()).hexdigest()
    made_by = "SELECT obj_description(to_regclass('pair_fts'), 'pg_class')"
    if connection.exec_driver_sql(made_by).scalar() == stamp:
        return
    for statement in (*_SEARCH_AWAY, *SEARCH, f"COMMENT ON TABLE pair_fts IS '{stamp}'"):
        _run(connection, statement)


def _run(connection: Connection, statement: str) -> None:
    """With percent signs doubled, which the driver takes for parameters."""
    connection.exec_driver_sql(statement.replace("%", "%%"))
