"""Find the files of a folder that moved. They are known by size and hash; nothing is scanned or decoded again."""

from __future__ import annotations

from pathlib import Path

from db import places
from db.places import NothingFound, Relinked
from db.session import Database
from jobs.child import Report
from jobs.payloads import RelinkPayload
from jobs.tasks import JobRef
from tempo_core.media import sha256_of
from tempo_core.types import JsonDict, Progress

LONGEST_LIST = 200
"""Names of missing files kept in the job's result; the count is whole."""


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Look for every missing file of the old folder in the new one, then write all places at once."""
    payload = job.payload
    if not isinstance(payload, RelinkPayload):
        raise ValueError(f"relink was given {type(payload).__name__}")
    old, new = Path(payload.old).expanduser().absolute(), folder(payload.new)
    with database.reading() as session:
        wanted = places.lost(session, old)
    done = Relinked()
    for n, (file, found, n_hashed) in enumerate(places.matches(wanted, new, sha256_of), start=1):
        done.n_hashed = n_hashed
        if found is None:
            done.missing.append(file)
        else:
            done.found[file] = found
        line = f"{'found   ' if found else 'missing '} {file.rel_path}" + (f" -> {found}" if found else "")
        print(line, flush=True)
        report(Progress(n, len(wanted), f"{n} of {len(wanted)}: {len(done.found)} found"))
    with database.session() as session:
        places.relink(session, old, new, done)
    return {
        "old": str(old), "new": str(new), "found": len(done.found), "still_missing": len(done.missing),
        "read": done.n_hashed, "missing_files": [file.rel_path for file in done.missing[:LONGEST_LIST]],
    }  # fmt: skip


def folder(named: str) -> Path:
    """The folder to look in."""
    path = Path(named).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise NothingFound(f"{path} {what}. Name the folder into which the videos were moved.")
    return path.resolve()
