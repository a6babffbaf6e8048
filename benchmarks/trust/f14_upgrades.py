"""Upgrades from every revision with rows in every table, killed at any moment.

Each round copies a home as an earlier revision left it, kills the process that upgrades it with SIGKILL, looks whether
the file is wholly the old or wholly the new one, and starts again. The backup from before is put back and compared.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmarks.trust import databases, old_homes
from benchmarks.trust.rows import Row, none_of
from db import backup, migrate
from tempo_core.settings import Home

Old = tuple[Home, old_homes.Rows]


def measure(scratch: Path, effort: float) -> list[Row]:
    homes = {revision: Home(scratch / revision) for revision in old_homes.revisions()}
    made = {revision: (home, old_homes.make(home, revision)) for revision, home in homes.items()}
    return [upgraded(made, scratch / "copy"), *killed(made, scratch / "copy", max(4, round(100 * effort)))]


def upgraded(made: Mapping[str, Old], place: Path) -> Row:
    """From each revision to the newest and, by the backup from before, back again."""
    wrong = [revision for revision, (home, rows) in made.items() if _faults(_fresh(home, place), rows)]
    n_rows = sum(len(held) for _, found in made.values() for _, held in found.values())
    what = f"upgrade from each of {len(made)} revisions with {n_rows} rows in all tables, and the backup put back"
    return none_of(what, len(wrong), len(made), "upgrades are unlike a fresh database, or lost a row")


def _faults(home: Home, rows: old_homes.Rows) -> list[str]:
    done = migrate.upgrade(home)
    found = old_homes.faults(home, rows) + databases.faults(home.database)
    if done.backup is not None:
        backup.restore(done.backup, home.database, home.backups)
        found += old_homes.missing(rows, home.database) + old_homes.faults(home, rows)
    return found


def killed(made: Mapping[str, Old], place: Path, n_rounds: int, seed: int = 0) -> list[Row]:
    """Two of three rounds before a statement that is drawn, the third after a time that is drawn."""
    rng, standings, faults = random.Random(seed), Counter[str](), list[str]()
    older = sorted(made)[:-1]
    n_statements = {revision: old_homes.run(_fresh(made[revision][0], place)) or 0 for revision in older}
    for number in range(n_rounds):
        revision = older[number % len(older)]
        home = _fresh(made[revision][0], place)
        was = old_homes.structure(home)
        if number % 3 == 2:
            old_homes.run(home, after_s=rng.random())
        else:
            old_homes.run(home, stop_at=rng.randrange(n_statements[revision]))
        standings[old_homes.standing(home, was)] += 1
        faults += old_homes.faults(home, made[revision][1]) + databases.faults(home.database)
    wholly = f"{standings['old']} were still the old, {standings['new']} the new"
    what = f"kill -9 of an upgrade at any statement or moment, {n_rounds} rounds"
    return [
        none_of(f"{what} ({wholly})", standings["half"], n_rounds, "databases were something between"),
        none_of("the start after each of them", len(faults), n_rounds, "starts left a fault"),
    ]


def _fresh(home: Home, place: Path) -> Home:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(home.root, place)
    return Home(place)
