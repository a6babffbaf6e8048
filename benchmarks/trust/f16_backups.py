"""Backups beside a busy writer, and the drill of bringing one back.

A process decides about pairs a hundred times a second, as reviewers do, and tells how long each decision took. Backups
are made meanwhile; the last is then restored into an empty home, checked to the last index, and counted.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import many_pairs
from benchmarks.trust import databases
from benchmarks.trust.rows import Row, at_most, none_of
from db import backup, migrate, pairs, people, reviews
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.session import Database
from tempo_core.settings import Home

EVERY_S = 0.01
N_BACKUPS = 3
PROCESSES = get_context("forkserver")
Written = list[tuple[str, float, float]]
"""(token, when its decision began, when it was acknowledged), in seconds of one clock."""


def measure(scratch: Path, effort: float) -> list[Row]:
    home = Home(scratch / "home")
    # 45,000 pairs are 200 MB.
    many_pairs.build(home, max(500, round(45_000 * effort))).close()
    made, spans, written = _beside_a_writer(home, N_BACKUPS)
    return [*_while(home, made, spans, written), *_drill(made[-1], Home(scratch / "restored"))]


def _beside_a_writer(home: Home, n: int) -> tuple[list[Path], list[tuple[float, float]], Written]:
    """Backups, when each began and ended, and what was written all the while."""
    heard, said = PROCESSES.Pipe()
    writer = PROCESSES.Process(target=_decide, args=(home.database, said), daemon=True)
    writer.start()
    said.close()
    heard.recv()
    made, spans = [], []
    for _ in range(n):
        time.sleep(1)
        begun_s = time.monotonic()
        made.append(backup.make(home.database, home.backups, backup.BY_HAND))
        spans.append((begun_s, time.monotonic()))
    heard.send("enough")
    written: Written = heard.recv()
    writer.join(60)
    return made, spans, written


def _decide(path: Path, said: Connection) -> None:
    """Decide at a steady pace until told that it is enough, then tell everything."""
    database, written = Database.open(path), []
    with database.reading() as session:
        me = people.local(session)
        waiting = [card.id for card in pairs.page(session, PairFilter(status="pending"), limit=1_000)]
    over = threading.Event()
    threading.Thread(target=lambda: (said.recv(), over.set()), daemon=True).start()
    said.send("begun")
    due_s, number = time.monotonic(), 0
    while not over.is_set():
        act = ("accept", "reject")[number // len(waiting) % 2]
        item = ReviewItem(f"paced-{number}", waiting[number % len(waiting)], 1, act)
        begun_s = time.monotonic()
        with database.session() as session:
            reviews.decide(session, me, item)
        written.append((item.token, begun_s, time.monotonic()))
        number += 1
        due_s = max(due_s + EVERY_S, time.monotonic() - 1)
        time.sleep(max(0.0, due_s - time.monotonic()))
    said.send(written)


def _while(home: Home, made: list[Path], spans: list[tuple[float, float]], written: Written) -> list[Row]:
    waited_ms = [1000 * (end - start) for _, start, end in written if any(a < end and start < b for a, b in spans)]
    longest_s, n_mb = max(b - a for a, b in spans), home.database.stat().st_size / 1e6
    longest_ms = max(waited_ms, default=float("inf"))
    wrong = 0
    for path, (begun_s, ended_s) in zip(made, spans, strict=True):
        held = databases.tokens(path)
        wrong += sum(end < begun_s and token not in held for token, _, end in written)
        wrong += sum(start > ended_s and token in held for token, start, _ in written)
        wrong += len(databases.faults(path))
    what = f"backup of {n_mb:.0f} MB beside {len(written) / (written[-1][2] - written[0][1]):.0f} decisions a second"
    return [
        at_most(f"{what}, {len(waited_ms)} meanwhile: the longest wait of one", longest_ms, 250, " ms"),
        at_most("the longest backup, written and read back", longest_s, 10, " s"),
        none_of("what each backup holds", wrong, len(written) * len(made), "decisions are lost, too early, or half"),
    ]


def _drill(made: Path, empty: Home) -> list[Row]:
    begun_s = time.monotonic()
    backup.restore(made, empty.make().database, empty.backups)
    took_s = time.monotonic() - begun_s
    migrate.upgrade(empty)
    then, now = _counts(made), _counts(empty.database)
    differ = [name for name in then if then[name] != now.get(name)] + databases.faults(empty.database)
    return [
        at_most(f"restore of {made.stat().st_size / 1e6:.0f} MB, every page and index checked", took_s, 10, " s"),
        none_of(f"rows after the restore, {sum(then.values()):,} in all", len(differ), len(then), "tables differ"),
    ]


def _counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
