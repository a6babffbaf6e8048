"""Look for the same footage in several files, by the thumbnails that the scans kept. Nothing is decoded again.

Each video's tiny pictures are made once and kept beside its measurements. The groups are the job's result.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db import videos
from db.session import Database
from jobs.child import Report
from jobs.payloads import CopiesPayload
from jobs.tasks import JobRef
from tempo_core import copies
from tempo_core.errors import MediaError, TempoError
from tempo_core.measures import load_measures, measures_path, temporary_name
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """The groups of videos that share footage; withdrawn videos are looked at too, missing ones as well."""
    payload = job.payload
    if not isinstance(payload, CopiesPayload):
        raise ValueError(f"copies was given {type(payload).__name__}")
    if not 0.5 <= payload.likeness <= 1.0:
        raise TempoError(f"likeness is {payload.likeness:g}; it must be from 0.5 to 1.")
    with database.reading() as session:
        scanned = videos.scanned(session)
    signatures: dict[int, NDArray[np.uint8]] = {}
    for n, (video_id, name, sha256, _) in enumerate(scanned, start=1):
        rows = _signature(job.home.cache, sha256)
        if rows is not None:
            signatures[video_id] = rows
        if n % 20 == 0 or n == len(scanned):
            report(Progress(n, len(scanned) + 1, f"looked at {n} of {len(scanned)}: {name}"))
    found = copies.matches(signatures, payload.likeness)
    alike = [[match.a, match.b, round(match.share, 3), match.offset] for match in found]
    groups = [list(group) for group in copies.groups(found)]
    print(f"{len(groups)} groups of copies among {len(signatures)} videos", flush=True)
    return {"videos": len(signatures), "not_measured": len(scanned) - len(signatures), "groups": groups, "alike": alike}


def _signature(cache: Path, sha256: str) -> NDArray[np.uint8] | None:
    stored = measures_path(cache, sha256)
    path = stored.with_suffix(".tiny.npy")
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.uint8)
    except (OSError, ValueError):
        pass
    try:
        rows = copies.signature(load_measures(stored))
    except MediaError:
        return None
    half = temporary_name(path, os.getpid())
    with half.open("wb") as file:
        np.save(file, rows)
    half.replace(path)
    return rows
