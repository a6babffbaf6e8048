"""Import pairs of another tool as proposals, for a page that must not wait while files are read and hashed."""

from __future__ import annotations

from pathlib import Path

from db import jobs, people
from db.session import Database
from jobs import pair_imports
from jobs.child import Report
from jobs.payloads import ImportPayload
from jobs.tasks import JobRef
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Read every file to its end, then keep its pairs; each line that was skipped is in the log with its reason."""
    payload = job.payload
    if not isinstance(payload, ImportPayload):
        raise ValueError(f"import was given {type(payload).__name__}")
    place = Path(payload.path).expanduser()
    report(Progress(0, 1, f"reading {place.name}"))
    with database.reading() as session:
        person = people.get(session, jobs.asked_by(session, job.id))
    files = pair_imports.read_through(
        database,
        place,
        form=payload.format,
        folder=None if payload.videos is None else Path(payload.videos).expanduser(),
        skip_missing=payload.skip_missing,
    )
    results = pair_imports.import_files(database, person, files, report, job.id)
    for result in results:
        print(pair_imports.told(result), flush=True)
        for line, reason in result.skipped:
            print(f"{result.name}, line {line}: {reason}", flush=True)
    return {
        "imports": [result.import_id for result in results],
        "read": sum(result.n_read for result in results),
        "imported": sum(result.kept.n for result in results),
        "whole": sum(result.kept.n_whole for result in results),
        "refused_by_a_rule": sum(result.kept.n_filtered for result in results),
        "skipped": sum(len(result.skipped) for result in results),
    }
