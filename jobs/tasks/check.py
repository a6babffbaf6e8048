"""The check of everything as a job, so that the page can ask for it; what it finds is kept for the Health page."""

from __future__ import annotations

from itertools import count

from db import health, integrity
from db.session import Database
from jobs.child import Report
from jobs.payloads import CheckPayload
from jobs.tasks import JobRef
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Read and compare; nothing is mended."""
    payload = job.payload
    if not isinstance(payload, CheckPayload):
        raise ValueError(f"check was given {type(payload).__name__}")
    done = count()
    found = integrity.check(
        job.home, database, deep=payload.deep, tell=lambda part: report(Progress(next(done), integrity.N_PARTS, part))
    )
    for finding in found:
        print(f"{finding.level:6} {finding.what}: {finding.fact} {finding.way_out}", flush=True)
    with database.session() as session:
        health.keep_check(session, found)
    return {"faults": sum(one.level == "red" for one in found)}
