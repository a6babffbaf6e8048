"""Postgres through the same models.

The tests of the database on both engines, and then both beside each other: the same pairs, the same questions.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import many_pairs
from benchmarks import pairs as questions
from benchmarks.trust.f04_reviewers import N_REVIEWERS, judged
from benchmarks.trust.postgres_server import NoServer, Server
from benchmarks.trust.rows import Row
from db import difficulties, pairs, people
from db.session import Database
from tempo_core.settings import Home

ROOT = Path(__file__).resolve().parents[2]
ENGINES = {"sqlite": "SQLite", "postgres": "Postgres"}


def measure(scratch: Path, effort: float) -> list[Row]:
    try:
        server = Server.start()
    except NoServer as error:
        return [Row("a Postgres server of the system's package", "is there", str(error), False)]
    try:
        homes = {"sqlite": Home(scratch / "sqlite"), "postgres": Home(scratch / "postgres", server.create("trust"))}
        return [_tests(scratch, effort), *_beside(homes, round(10_000 * effort), effort)]
    finally:
        server.stop()


def _tests(scratch: Path, effort: float) -> Row:
    """Each test of the database has its expected values written by hand, so passing on both is being the same."""
    report = scratch / "tests.xml"
    asked = ["tests/db", "tests/jobs/test_queue.py"] if effort >= 1 else ["tests/db/test_db_people.py"]
    # An expression that names Postgres brings the long ones too; this one leaves none out.
    every = ["-m", "postgres or not postgres"]
    command = [sys.executable, "-m", "pytest", *asked, *every, "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    passed = _passed(report)
    both = {name.replace("postgres", "sqlite", 1) for name in passed["postgres"]} & set(passed["sqlite"])
    n_run = sum(_of(case) == "postgres" for case in xml.parse(report).iter("testcase"))
    n_own = len(passed["postgres"]) - len(both)
    measured = f"{len(both):,} passed on both, {n_own} more that are about Postgres, of {n_run:,} run there"
    return Row("tests of the verbs, claims and the queue", "all pass on both", measured,
               0 < n_run == len(passed["postgres"]))  # fmt: skip


def _passed(report: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {engine: [] for engine in ENGINES}
    for case in xml.parse(report).iter("testcase"):
        engine = _of(case)
        if engine and not len(case):
            found[engine].append(f"{case.get('classname')}::{case.get('name')}")
    return found


def _of(case: xml.Element) -> str | None:
    """The engine of a test's parameters."""
    parameters = (case.get("name") or "").partition("[")[2].rstrip("]").split("-")
    if (case.get("classname") or "").endswith("test_postgres"):
        return "postgres"
    return next((engine for engine in ENGINES if engine in parameters), None)


def _beside(homes: dict[str, Home], n_pairs: int, effort: float) -> list[Row]:
    fill_s, opened = {}, {}
    for engine, home in homes.items():
        start_s = time.perf_counter()
        opened[engine] = many_pairs.build(home.make(), n_pairs)
        fill_s[engine] = time.perf_counter() - start_s
    filters = list(questions._filters(max(20, round(200 * effort)), n_pairs, ""))
    searches = list(questions._filters(max(20, round(200 * effort)), n_pairs, "search"))
    asked: dict[str, list[Callable[[Any], Any]]] = {
        "pages of the queue, 50 pairs": [lambda s, w=w, k=k: pairs.listed(s, w, after=k) for w, k in filters],
        "searches, 50 hits": [lambda s, w=w, k=k: pairs.listed(s, w, after=k) for w, k in searches],
        "facets with their counts": [lambda s, w=w: pairs.facets(s, w) for w, _ in filters],
        "histograms": [difficulties.histogram] * 10,
    }
    told = f"SQLite {fill_s['sqlite']:.0f} s, Postgres {fill_s['postgres']:.0f} s"
    rows = [Row(f"{n_pairs:,} pairs are put in", "as many", told, len({_count(each) for each in opened.values()}) == 1)]
    rows += [_compared(f"{len(verbs)} {what}", opened, verbs) for what, verbs in asked.items()]
    rows.append(_decided(opened, max(5, round(100 * effort))))
    for database in opened.values():
        database.close()
    return rows


def _compared(what: str, opened: dict[str, Database], verbs: Sequence[Callable[[Any], Any]]) -> Row:
    """The same questions of both; how long each took, and how many answers differ."""
    answers, took = {}, []
    for engine, database in opened.items():
        ms, answers[engine] = [], []
        for verb in verbs:
            start_s = time.perf_counter()
            with database.reading() as session:
                answers[engine].append(verb(session))
            ms.append(1000 * (time.perf_counter() - start_s))
        p50, p95 = np.percentile(ms, (50, 95))
        took.append(f"{ENGINES[engine]} {p50:.1f} / {p95:.1f}")
    n_other = sum(a != b for a, b in zip(*answers.values(), strict=True))
    return Row(f"{what}: ms, p50 / p95", "0 answers differ", f"{', '.join(took)}; {n_other} differ", n_other == 0)


def _count(database: Database) -> int:
    with database.reading() as session:
        return pairs.count(session)


def _decided(opened: dict[str, Database], n_each: int) -> Row:
    """Eight reviewers in four processes, as fast as the database takes it."""
    told, faults = [], 0
    for engine, database in opened.items():
        with database.session() as session:
            persons = [people.add(session, f"f17|{i}", f"r{i}", "reviewer") for i in range(N_REVIEWERS)]
        where = database.path or database.url.render_as_string(hide_password=False)
        start_s = time.perf_counter()
        found = judged(where, persons, n_each)
        took_s = time.perf_counter() - start_s
        decided = [pair_id for one in found for pair_id in one.pair_ids]
        faults += len(decided) - len(set(decided)) + N_REVIEWERS * n_each - len(decided)
        claim_ms = np.percentile([1000 * s for one in found for s in one.claim_s], 95)
        told.append(f"{ENGINES[engine]} {len(decided) / took_s:.0f} decisions/s, claim p95 {claim_ms:.0f} ms")
    what = f"{N_REVIEWERS} reviewers in 4 processes, {n_each} decisions each"
    return Row(what, "0 twice, 0 lost", f"{'; '.join(told)}; {faults} wrong", faults == 0)
