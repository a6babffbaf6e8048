"""Write all that trains a run elsewhere: its data, its stored order, its settings and the pictures it is shown."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path

from sqlalchemy.orm import Session

from db import datasets, models, run_notes, runs, sft_sets
from db.session import Database
from jobs.child import Report
from jobs.payloads import BundlePayload
from jobs.tasks import JobRef
from jobs.tasks.train import Prepared, prepared
from tempo_core.errors import TempoError
from tempo_core.exchange import run_bundle
from tempo_core.exchange.run_bundle import Origin, RunBundle
from tempo_core.pictures import Pictures
from tempo_core.types import JsonDict, Progress

LIBRARIES = ("python", "torch", "transformers", "trl", "peft", "accelerate")


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Plan as training would, store the plan, write the folder."""
    payload = job.payload
    if not isinstance(payload, BundlePayload):
        raise ValueError(f"bundle was given {type(payload).__name__}")
    report(Progress(0, 2, "counting tokens"))
    ready = prepared(database, job, payload.run_id)
    if ready.card.state in ("running", "succeeded"):
        raise TempoError(f"Run {payload.run_id} is {ready.card.state}. A bundle is made of a run that waits.")
    with database.session() as session:
        ready.store(session)
        for text in ready.plan.notes:
            run_notes.add(session, payload.run_id, "plan", text)
        origin = _origin(session, ready)
    named = {place.pair_id for place in ready.plan.planned}
    pairs = {pair_id: pair for pair_id, pair in ready.pairs.items() if pair_id in named}
    found = RunBundle(origin, ready.card.config, pairs, tuple(ready.examples), ready.plan.planned, ready.plan.stages)
    folder = Path(payload.folder) if payload.folder else _new_folder(job.home.exports, payload.run_id)
    run_bundle.write(found, Pictures(job.home.cache, ready.long_side), folder, report)
    with database.session() as session:
        run_notes.add(session, payload.run_id, "bundle", f"Bundled to be trained elsewhere: {folder}")
    return {
        "folder": str(folder),
        "pairs": len(pairs),
        "examples": len(found.examples),
        "too_long": len(ready.too_long),
    }


def _new_folder(exports: Path, run_id: int) -> Path:
    names = chain([f"run-{run_id}-bundle"], (f"run-{run_id}-bundle-{n}" for n in count(2)))
    return next(exports / name for name in names if not (exports / name).exists())


def _origin(session: Session, ready: Prepared) -> Origin:
    card, base = runs.get(session, ready.card.id), models.get(session, ready.card.base_model_id)
    version, examples = card.dataset_version_id, card.sft_set_id
    return Origin(
        run_id=card.id,
        name=card.name,
        run_sha256=runs.identity(session, card.id),
        base=base.name,
        base_sha256=base.files_sha256,
        plan_sha256=str(card.training_plan_sha256),
        dataset_sha256=None if version is None else datasets.get(session, version).content_sha256,
        sft_set_sha256=None if examples is None else sft_sets.get(session, examples).content_sha256,
        long_side=ready.long_side,
        code_version=card.code_version,
        libraries={name: str(card.env[name]) for name in LIBRARIES if name in card.env},
    )
