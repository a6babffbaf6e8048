"""Write a frozen version for another tool: a folder below `exports/`, and the same as a zip to take away."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from db import artifacts, datasets, pairs
from db.datasets import FrozenPair
from db.session import Database
from jobs.child import Report
from jobs.payloads import ExportPayload
from jobs.tasks import JobRef
from tempo_core.errors import Unknown
from tempo_core.exchange import FORMATS, Exported, ExportPair, Provenance, Version
from tempo_core.media import sha256_of
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Check the version against its hash, then write it whole or not at all."""
    payload = job.payload
    if not isinstance(payload, ExportPayload):
        raise ValueError(f"export was given {type(payload).__name__}")
    if payload.format not in FORMATS:
        raise Unknown(f"There is no format {payload.format!r}; there are {', '.join(FORMATS)}.")
    with database.reading() as session:
        datasets.verify(session, payload.version_id)
        card = datasets.get(session, payload.version_id)
        frozen = datasets.items(session, payload.version_id)
        rows = []
        for n, item in enumerate(frozen, start=1):
            rows.append(_row(session, item))
            if n % 200 == 0:
                report(Progress(n, len(frozen), f"{n} of {len(frozen)} pairs read"))
    name = f"{_file_name(card.name)}-{card.number}-{payload.format}"
    folder = Path(payload.folder) if payload.folder else job.home.exports / name
    version = Version(card.name, card.number, card.content_sha256, stated=card.stated)
    done = FORMATS[payload.format](rows, version, folder)
    artifact_id = _packed(database, job, done, name, card.id)
    for skipped in done.skipped:
        print(f"left out {skipped.uid}: {skipped.reason}", flush=True)
    return {
        "folder": str(done.folder), "pairs": done.n_pairs, "left_out": len(done.skipped), "artifact_id": artifact_id,
    }  # fmt: skip


def _file_name(name: str) -> str:
    """A data set's name is a person's text: only what is safe in a file name of it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:60] or "pairs"


def _row(session: Session, item: FrozenPair) -> ExportPair:
    """One pair with where it comes from."""
    pair, card = item.pair, pairs.get(session, item.pair.pair_id)
    last = card.last
    return ExportPair(
        uid=pair.uid,
        video=pair.video.path,
        video_sha256=pair.video.sha256,
        prompt=pair.prompt,
        chosen=pair.chosen,
        rejected=pair.rejected,
        kind=pair.kind,
        magnitude=pair.magnitude,
        difficulty=pair.difficulty,
        level=pair.level,
        order=item.order,
        split=item.split,
        provenance=Provenance(
            model=card.from_clean.model,
            input=card.input,
            n_clips=len(card.timeline) or None,
            seed=card.plan.seed if card.plan else None,
            law=card.plan.law if card.plan else None,
            sampling=card.from_clean.sampling,
            filters=card.verdicts,
            reviewer=last.by if last else "",
            edited=pair.chosen != card.chosen or pair.rejected != card.rejected,
            bulk=bool(last and last.act.startswith("bulk")),
        ),
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
