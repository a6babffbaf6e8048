"""The disk fills: at a review, at a metric, at a checkpoint, at an export.

Each on a real small disk that is made larger afterwards. Review and metric go through the database's verbs, checkpoint
and export are jobs of a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from benchmarks.trust import databases, disks, trained
from benchmarks.trust import yard as yards
from benchmarks.trust.disks import MayNotMount
from benchmarks.trust.rows import Row
from benchmarks.trust.yard import Yard
from db import bulk, datasets, jobs, metrics, models, people, reviews, runs
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.session import Database
from jobs import launch
from jobs.payloads import ExportPayload
from tempo_core.errors import NoSpace
from tempo_core.recipes import PRESETS
from tempo_core.settings import Home
from tempo_core.types import Metric

SMALL, LARGE = 3_000_000, 64_000_000
WAYS_OUT = ("Free some space", "Make room")


def measure(scratch: Path, effort: float) -> list[Row]:
    try:
        return [at_review(scratch / "review"), at_metric(scratch / "metric"), *at_jobs(Home(scratch / "jobs"))]
    except MayNotMount as error:
        return [Row("a disk that fills", "measured", str(error), False)]


def at_review(folder: Path) -> Row:
    with disks.small(folder, SMALL) as resize:
        path = databases.with_pairs(folder, 5)
        database = Database.open(path)
        with database.reading() as session:
            me = people.local(session)

        def decide(session: Session, number: int) -> None:
            item = ReviewItem(f"t{number}", 1 + number % 5, 1, "accept", note="x" * 20_000)
            reviews.decide(session, me, item)

        n, told = _until_full(database, decide)
        resize(LARGE)
        with database.session() as session:
            decide(session, n)
        database.close()
        kept = databases.tokens(path) == {f"t{number}" for number in range(n + 1)}
        return _row(f"a review, after {n} that were kept", told, kept, databases.faults(path))


def at_metric(folder: Path) -> Row:
    with disks.small(folder, SMALL) as resize:
        path = databases.with_pairs(folder, 1)
        database = Database.open(path)
        run_id = _run(database)

        def record(session: Session, step: int) -> None:
            metrics.record(session, run_id, [Metric(f"m{i:03}/{'x' * 40}", step, 0.5) for i in range(300)])

        n, told = _until_full(database, record)
        resize(LARGE)
        with database.session() as session:
            record(session, n)
        with database.reading() as session:
            kept = [len(values) for values in metrics.series(session, run_id).values()] == [n + 1] * 300
        database.close()
        return _row(f"a step's metrics, after {n} that were kept", told, kept, databases.faults(path))


def _run(database: Database) -> int:
    """A run on a version of the one pair that is there."""
    config = replace(PRESETS["embedded"], recipe="dpo")
    with database.session() as session:
        me = people.local(session)
        bulk.decide(session, me, PairFilter(), "accepted", token="all")
        version = datasets.freeze(session, me, "one", held_out_share=0.0)
        return runs.create(session, me, config, models.listing(session)[0].id, dataset_version_id=version)


def at_jobs(home: Home) -> list[Row]:
    """A checkpoint of a training, and an export, by a worker."""
    with yards.opened(home) as yard:
        version = trained.frozen(yard.database, home)
        yard.worker()
        runs, exports = home.runs / "run-1", home.exports / "small"
        with disks.small(runs, 400_000) as resize:
            _, job_id = trained.queued(yard.database, yard.person, version, 0)
            checkpoint = _job(yard, "a checkpoint", job_id, runs, resize)
        with disks.small(exports, 10_000) as resize:
            payload = ExportPayload(version, "hub", str(exports / "set"))
            export = _job(yard, "an export", launch.enqueue(yard.database, payload, yard.person), exports, resize)
    return [checkpoint, export]


def _job(yard: Yard, what: str, job_id: int, disk: Path, resize: Callable[[int], None]) -> Row:
    """Let a job fill its disk, then make room and let it go on."""
    full = yard.ended(job_id)
    unfinished = [path.name for path in disk.rglob(".*") if path.exists()]
    resize(LARGE)
    with yard.database.session() as session:
        jobs.retry(session, job_id)
    again = yard.ended(job_id)
    told = full.error if full.error_class == "disk_full" else f"{full.state}: {full.error}"
    kept = again.state == "succeeded" and not unfinished
    return _row(f"{what} of a job", told or "", kept, databases.faults(yard.home.database))


def _until_full(database: Database, write: Callable[[Session, int], None]) -> tuple[int, str]:
    """How often it could be written, and what was said then."""
    for number in range(100_000):
        try:
            with database.session() as session:
                write(session, number)
        except NoSpace as error:
            return number, str(error)
    raise AssertionError("the disk did not fill")


def _row(what: str, told: str, kept: bool, faults: list[str]) -> Row:
    """Held where the message has a way out, all that was kept is there, and the rest works now."""
    clear = any(way_out in told for way_out in WAYS_OUT)
    measured = ", ".join(
        [
            "told with the way out" if clear else f"told: {told[:200]}",
            "nothing lost, works after" if kept else "something is lost or left over",
            "the file is whole" if not faults else "; ".join(faults),
        ]
    )
    return Row(f"full at {what}", "clear words, nothing lost, works after", measured, clear and kept and not faults)
