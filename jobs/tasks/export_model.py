"""Write a run's model with its card: the chain of adapters, or the base with all of them merged into it."""

from __future__ import annotations

import importlib
import shutil
from itertools import chain, count
from pathlib import Path

from db import artifacts, models, runs
from db.session import Database
from jobs import model_cards
from jobs.child import Report
from jobs.payloads import ExportModelPayload
from jobs.tasks import JobRef
from tempo_core.exchange import model_card
from tempo_core.exchange.base import full_disk_is_told
from tempo_core.exchange.model_card import Form
from tempo_core.media import sha256_of
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Read what is stored, check the links, write the folder; adapters also as a zip to take away."""
    payload = job.payload
    if not isinstance(payload, ExportModelPayload):
        raise ValueError(f"export_model was given {type(payload).__name__}")
    with database.reading() as session:
        card = runs.get(session, payload.run_id)
        base = Path(models.get(session, card.base_model_id).path)
        stages = model_cards.finished(session, card)
        text = model_card.card(model_cards.facts(session, payload.run_id), payload.form)
    link = importlib.import_module("tempo_core.training.chain").Link
    exports = importlib.import_module("tempo_core.training.exports")
    links = [link(s.ordinal, s.name, s.phase, job.home.root / str(s.adapter), s.manifest_sha256) for s in stages]
    folder = Path(payload.folder) if payload.folder else _new_folder(job.home.exports, payload.run_id, payload.form)
    done: JsonDict = {"folder": str(folder), "stages": len(links)}
    report(Progress(0, 2, f"checking {len(links)} stages, then writing {folder.name}"))
    if payload.form == "merged":
        sha256 = exports.merged(base, links, folder, text, max_shard_size=payload.max_shard_size)
        return done | {"files_sha256": sha256}
    exports.adapters(base, links, folder, text)
    report(Progress(1, 2, "packing"))
    return done | {"artifact_id": _packed(database, job, folder, payload.run_id)}


def _new_folder(exports: Path, run_id: int, form: Form) -> Path:
    """The first free name: a card written later says more, and the one before may be in use."""
    names = (f"run-{run_id}-{form}{suffix}" for suffix in chain([""], (f"-{n}" for n in count(2))))
    return exports / next(n for n in names if not (exports / n).exists() and not (exports / f"{n}.zip").exists())


def _packed(database: Database, job: JobRef, folder: Path, run_id: int) -> int | None:
    """Only below `exports`: what was written elsewhere is where the person wants it."""
    if folder.parent != job.home.exports:
        return None
    half, place = job.folder / f"{folder.name}.zip", job.home.exports / f"{folder.name}.zip"
    try:
        with full_disk_is_told(place):
            shutil.make_archive(str(half.with_suffix("")), "zip", folder)
            shutil.move(half, place)
    finally:
        half.unlink(missing_ok=True)
    rel_path, size = str(place.relative_to(job.home.root)), place.stat().st_size
    with database.session() as session:
        return artifacts.record(session, "export", sha256_of(place), rel_path, size, run_id=run_id, job_id=job.id)
