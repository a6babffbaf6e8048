"""Read in captions that came with videos, for a page that must not wait for gigabytes of hashes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from db.session import Database
from jobs import caption_files
from jobs.child import Report
from jobs.payloads import CaptionsPayload
from jobs.tasks import JobRef
from tempo_core.types import JsonDict, Progress

NAMED = 20
"""So many videos are named in the result; all are in the log."""


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Keep the file whole or not at all; what was not used is counted with its reason."""
    payload = job.payload
    if not isinstance(payload, CaptionsPayload):
        raise ValueError(f"captions was given {type(payload).__name__}")
    file = Path(payload.file).expanduser()
    report(Progress(0, 1, f"reading {file.name} and its videos"))
    done = caption_files.read_in(
        database,
        job.home,
        file,
        folder=None if payload.folder is None else Path(payload.folder).expanduser(),
        name=payload.name or None,
        skip_missing=payload.skip_missing,
    )
    for line in done.told():
        print(line, flush=True)
    left_out = [f"{video}: {why}" for video, why in done.left_out.items()]
    return asdict(done) | {"left_out": len(left_out), "left_out_named": left_out[:NAMED]}
