"""Write a frozen version for another tool: a folder below `exports/`, and the same as a zip to take away."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import agreement, artifacts, datasets, pairs
from db.session import Database
from jobs import export_rows
from jobs.child import Report
from jobs.payloads import ExportPayload
from jobs.tasks import JobRef
from tempo_core.errors import Unknown
from tempo_core.exchange import FORMS, Exported, Version
from tempo_core.media import sha256_of
from tempo_core.types import JsonDict

MOST_REASONS = 20
"""Reasons for leaving pairs out that the result holds; the log names each pair."""


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Check the version against its hash, then write it whole or not at all."""
    payload = job.payload
    if not isinstance(payload, ExportPayload):
        raise ValueError(f"export was given {type(payload).__name__}")
    if payload.format not in FORMS:
        raise Unknown(f"There is no format {payload.format!r}; there are {', '.join(FORMS)}.")
    form = FORMS[payload.format]
    with database.reading() as session:
        datasets.verify(session, payload.version_id)
        card = datasets.get(session, payload.version_id)
        known: dict[str, Any] = {"funnel": _funnel(session), "agreement": _agreement(session), "stated": card.stated}
    rows = export_rows.rows(database, card.id, report)
    if form.clips:
        rows = export_rows.with_clips(database, job.home, card.id, rows, report)
    name = f"{_file_name(card.name)}-{card.number}-{payload.format}"
    folder = Path(payload.folder) if payload.folder else job.home.exports / name
    known |= {"licence": payload.licence, "videos_from": payload.videos_from}
    done = form.write(rows, Version(card.name, card.number, card.content_sha256, **known), folder)
    artifact_id = _packed(database, job, done, name, card.id)
    for skipped in done.skipped:
        print(f"left out {skipped.uid}: {skipped.reason}", flush=True)
    found = {"folder": str(done.folder), "pairs": done.n_pairs, "left_out": len(done.skipped)}
    reasons = dict(Counter(skipped.reason for skipped in done.skipped).most_common(MOST_REASONS))
    return found | {"artifact_id": artifact_id} | ({"reasons": reasons} if reasons else {})


def _file_name(name: str) -> str:
    """A data set's name is a person's text: only what is safe in a file name of it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:60] or "pairs"


def _funnel(session: Session) -> dict[str, int]:
    """What became of every pair that was made in this studio."""
    found = pairs.facets(session)
    made = {"made or imported": sum(found.status.values())}
    made |= {f"refused by {rule}": n for rule, n in found.rules.items() if n}
    return made | {f"{status} now": n for status, n in found.status.items() if n and status != "filtered"}


def _agreement(session: Session) -> str:
    kappa, _ = agreement.overall(agreement.compared(session))
    if kappa.value is None or kappa.low is None or kappa.high is None:
        return ""
    return (
        f"{kappa.n} pairs were judged by two people: Cohen's kappa {kappa.value:.2f}, 95 % interval {kappa.low:.2f} to "
        f"{kappa.high:.2f}."
    )


def _packed(database: Database, job: JobRef, done: Exported, name: str, version_id: int) -> int:
    half = shutil.make_archive(str(job.folder / name), "zip", done.folder)
    place = job.home.exports / f"{name}.zip"
    shutil.move(half, place)
    rel_path, size = str(place.relative_to(job.home.root)), place.stat().st_size
    with database.session() as session:
        return artifacts.record(
            session, "export", sha256_of(place), rel_path, size, dataset_version_id=version_id, job_id=job.id
        )
