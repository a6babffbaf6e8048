"""Many reviewers decide at once."""

from __future__ import annotations

import statistics
from multiprocessing import get_context
from pathlib import Path

from benchmarks import many_pairs
from benchmarks.trust import databases, desks, reviewers, serving
from benchmarks.trust.reviewers import Judged
from benchmarks.trust.rows import Row, at_most, none_of
from db import pairs, people
from db.pair_filters import PairFilter
from tempo_core.settings import Home

N_REVIEWERS = 8
PAUSE_S = 0.1


def measure(scratch: Path, effort: float) -> list[Row]:
    return decisions(scratch, effort) + at_desks(scratch, effort)


def decisions(scratch: Path, effort: float) -> list[Row]:
    """Eight reviewers decide as fast as the database takes it: in four processes, and then in one as a server has."""
    n_each = max(5, round(200 * effort))
    home = Home(scratch / "reviewers").make()
    database = many_pairs.build(home, n_pairs=6 * N_REVIEWERS * n_each)
    with database.session() as session:
        persons = [people.add(session, f"trust|{i}", f"reviewer {i}", "reviewer") for i in range(N_REVIEWERS)]
    database.close()
    before = databases.tokens(home.database)
    apart = judged(home.database, persons, n_each)
    pair_ids = [pair_id for one in apart for pair_id in one.pair_ids]
    lost = len(pair_ids) - len(databases.tokens(home.database) - before)
    errors = sum(one.error is not None for one in apart)
    what = f"{N_REVIEWERS} reviewers in 4 processes, {n_each} decisions each"
    return [
        none_of(f"{what}: pairs decided twice", len(pair_ids) - len(set(pair_ids)), len(pair_ids), "decisions"),
        none_of(f"{what}: decisions without a row", lost, len(pair_ids), "decisions"),
        none_of(f"{what}: ended by an error", errors, len(apart), "reviewers"),
        _claims(home.database, persons, max(5, n_each // 2)),
        none_of("a file with a fault afterwards", int(bool(databases.faults(home.database))), 1, "files"),
    ]


def _claims(path: Path, persons: list[people.Person], n_each: int) -> Row:
    """In one process, as a server has them, each faster than people are.

    Without a pause the row would measure a queue that never ends: eight times what a write takes, whoever comes.
    """
    found = judged(path, persons, n_each, a_process=len(persons), pause_s=PAUSE_S)
    claim_ms = [1000 * s for one in found for s in one.claim_s]
    what = f"{len(persons)} reviewers in one process, {n_each} decisions each, ten a second: a claim of 8 pairs, p95"
    return at_most(what, statistics.quantiles(claim_ms, n=20)[-1], 25, " ms")


def judged(
    path: Path | str, persons: list[people.Person], n_each: int, *, a_process: int = 2, pause_s: float = 0.0
) -> list[Judged]:
    """What each reviewer did, so many in a process."""
    spawn = get_context("spawn")
    told = spawn.Queue()
    at_work = [
        spawn.Process(target=reviewers.judge, args=(path, persons[k : k + a_process], n_each, told, pause_s))
        for k in range(0, len(persons), a_process)
    ]
    for process in at_work:
        process.start()
    found: list[Judged] = [told.get(timeout=300) for _ in persons]
    for process in at_work:
        process.join(60)
    return found


def at_desks(scratch: Path, effort: float) -> list[Row]:
    """Eight reviewers at three browsers decide about the same pairs, all in the same order, as fast as keys go."""
    n = max(5, round(200 * effort))
    home = Home(scratch / "desks").make()
    database = many_pairs.build(home, n_pairs=4 * n)
    with database.reading() as session:
        pair_ids = [line.id for line in pairs.page(session, PairFilter(status="pending"), limit=n)]
    database.close()
    before, names = databases.tokens(home.database), serving.named(N_REVIEWERS)
    with serving.serving(home, names) as studio:
        found = desks.decide(studio, names, pair_ids)
    rows = databases.tokens(home.database) - before
    sent, saved, refused = (
        set().union(*(getattr(one, name) for one in found)) for name in ("sent", "saved", "refused")
    )
    told, errors = sum(len(one.told) for one in found), [error for one in found for error in one.errors]
    what = f"{N_REVIEWERS} reviewers at {desks.N_BROWSERS} browsers, {n} keys each on the same {n} pairs"
    return [
        none_of(f"{what}: lost, neither saved nor refused", len(sent - saved - refused), len(sent), "decisions"),
        none_of(f"{what}: saved without a row, or a row that was not said to be saved", len(saved ^ rows), len(saved),
                "saved decisions"),
        none_of("a file with a fault afterwards", int(bool(databases.faults(home.database))), 1, "files"),
        Row(f"{what}: who came second is told who came first", "each refusal in words",
            f"{told:,} of {len(refused):,} refusals", told == len(refused) > 0),
        none_of(f"{what}: script errors", len(errors), len(found), "pages"),
    ]  # fmt: skip
