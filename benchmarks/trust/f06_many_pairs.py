"""Lists, searches and counts among 100,000 pairs, as the pages ask for them.

The database is drawn by `benchmarks/many_pairs.py`; filters vary over every facet, levels, ranges and words, and pages
lie anywhere (`benchmarks/pairs.py`). Every statement that a list and a count send is then explained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event

from benchmarks import pairs as among
from benchmarks.trust.rows import Row, at_most, none_of
from db import pairs
from db.pair_filters import PairFilter
from db.session import Database
from tempo_core.settings import Home

LIMITS = {"page": (10, "page of 50 by key"), "hardest": (10, "page of 50, the hardest first"),
          "search": (25, "search with other filters"), "counts": (50, "counts of all facets, as sliders move"),
          "histogram": (10, "histogram that was drawn before")}  # fmt: skip


def measure(scratch: Path, effort: float) -> list[Row]:
    home, n_pairs = Home(scratch), max(3_000, round(100_000 * effort))
    figures = among.measure(home, n_pairs, repeats=max(20, round(200 * effort)))
    rows = [
        at_most(f"p95, {n_pairs:,} pairs: {words}", figures[f"{name}_p95_ms"], limit, " ms")
        for name, (limit, words) in LIMITS.items()
    ]
    return [*rows, _explained(home)]


def _explained(home: Home) -> Row:
    """Statements that would read every pair with its texts."""
    database = Database.open(home.database)
    steps = [step for sql, values in _sent(database) for step in _plan(database, sql, values)]
    database.close()
    whole = [step for step in steps if step.split()[:2] == ["SCAN", "pair"] and "COVERING INDEX" not in step]
    return none_of("EXPLAIN of each statement of lists, searches and counts", len(whole), len(steps),
                   "steps read all pairs by the table itself")  # fmt: skip


def _sent(database: Database) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []
    event.listen(database.reader, "before_cursor_execute", lambda *a: sent.append((a[2], a[3])))
    wanted = (PairFilter(), PairFilter(status="accepted", kinds=("drop",)), PairFilter(levels=(1, 2)),
              PairFilter(search="red kettle"), PairFilter(edited=True), PairFilter(by="person"))  # fmt: skip
    with database.reading() as session:
        for one in wanted:
            pairs.listed(session, one)
            pairs.facets(session, one)
            pairs.listed(session, one, order="hardest")
    return [(sql, values) for sql, values in sent if sql.lstrip().upper().startswith(("SELECT", "WITH"))]


def _plan(database: Database, sql: str, values: Any) -> list[str]:
    with database.reading() as session:
        found = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        return [str(row[3]) for row in found]
