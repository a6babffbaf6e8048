"""Write what goes into a paper about runs: a folder below `exports/`, and the same as a zip to take away."""

from __future__ import annotations

import shutil
from itertools import chain, count
from pathlib import Path

from db import artifacts
from db.session import Database
from jobs import paper_facts
from jobs.child import Report
from jobs.payloads import PaperPayload
from jobs.tasks import JobRef
from tempo_core.exchange.base import full_disk_is_told
from tempo_core.media import sha256_of
from tempo_core.paper import writing
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Read what is stored of the runs, write the folder."""
    payload = job.payload
    if not isinstance(payload, PaperPayload):
        raise ValueError(f"paper was given {type(payload).__name__}")
    report(Progress(0, 2, "reading runs"))
    with database.reading() as session:
        found = paper_facts.of_runs(session, payload.run_ids)
        experiments = paper_facts.experiments_of(session, payload.run_ids)
        transferred = paper_facts.transferred(session, payload.run_ids)
    folder = Path(payload.folder) if payload.folder else _new_folder(job.home.exports, payload.run_ids)
    report(Progress(1, 2, "drawing figures"))
    figures = writing.write(found, folder, experiments, transferred)
    done: JsonDict = {"folder": str(folder), "runs": list(payload.run_ids), "figures": len(figures)}
    return done | {"artifact_id": _packed(database, job, folder)}


def _new_folder(exports: Path, run_ids: tuple[int, ...]) -> Path:
    name = "paper-" + "-".join(str(run_id) for run_id in run_ids[:8])
    names = chain([name], (f"{name}-{n}" for n in count(2)))
    return next(exports / n for n in names if not (exports / n).exists() and not (exports / f"{n}.zip").exists())


def _packed(database: Database, job: JobRef, folder: Path) -> int | None:
    """Only below `exports`: what was written elsewhere is where the person wants it."""
    if folder.parent != job.home.exports:
        return None
    place = job.home.exports / f"{folder.name}.zip"
    with full_disk_is_told(place):
        shutil.make_archive(str(place.with_suffix("")), "zip", folder)
    rel_path, size = str(place.relative_to(job.home.root)), place.stat().st_size
    with database.session() as session:
        return artifacts.record(session, "export", sha256_of(place), rel_path, size, job_id=job.id)
