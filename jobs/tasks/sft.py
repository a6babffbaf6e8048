"""Import conversations about scanned videos as an SFT set, for a page that must not wait for gigabytes of hashes."""

from __future__ import annotations

from pathlib import Path

from db import people
from db.session import Database
from jobs import conversations
from jobs.child import Report
from jobs.payloads import SftPayload
from jobs.tasks import JobRef
from tempo_core.types import JsonDict, Progress

NAMED = 20
"""So many videos are named in the result; all are in the log."""


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Keep the file whole or not at all; what was left out is named with its reason."""
    payload = job.payload
    if not isinstance(payload, SftPayload):
        raise ValueError(f"sft was given {type(payload).__name__}")
    file = Path(payload.file).expanduser()
    report(Progress(0, 1, f"reading {file.name} and its videos"))
    with database.reading() as session:
        person = people.local(session)
    done = conversations.import_file(
        database,
        person,
        file,
        folder=None if payload.folder is None else Path(payload.folder).expanduser(),
        name=payload.name or None,
        skip_missing=payload.skip_missing,
        without_held_out=payload.without_held_out,
    )
    left_out = [f"{video}: {why}" for video, why in done.left_out.items()]
    for line in left_out:
        print(f"left out {line}", flush=True)
    return {
        "sft_set_id": done.sft_set_id, "examples": done.n_examples, "videos": done.n_videos,
        "left_out": len(left_out), "left_out_named": left_out[:NAMED],
    }  # fmt: skip
