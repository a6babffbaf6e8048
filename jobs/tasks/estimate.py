"""Say what a run would take, before it is started: time, memory and disk, and what this machine is too small for."""

from __future__ import annotations

import importlib
from pathlib import Path

from db.session import Database
from jobs.child import Report
from jobs.payloads import EstimatePayload
from jobs.starting import pair_ref
from jobs.tasks import JobRef
from jobs.tasks.material import NO_PAIRS, data, measured
from tempo_core.curriculum import training_plan
from tempo_core.pictures import Pictures
from tempo_core.recipes import RunConfig
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """The estimate in words and numbers. Nothing is trained and no run is made."""
    payload = job.payload
    if not isinstance(payload, EstimatePayload):
        raise ValueError(f"estimate was given {type(payload).__name__}")
    config, base = RunConfig(**payload.config), Path(payload.model)
    report(Progress(0, 3, "reading the data"))
    with database.reading() as session:
        pairs, examples = data(session, config.recipe, payload.version_id, payload.sft_set_id)
    report(Progress(1, 3, "counting tokens"))
    long_side, too_long = measured(base, pairs, config.max_tokens)
    trainable = [pair_ref(pair) for pair_id, pair in pairs.items() if pair_id not in too_long]
    mercy = {"skip_small": payload.skip_small, "smaller_step": payload.smaller_step}
    plan = training_plan(trainable, config, **mercy) if pairs else NO_PAIRS
    report(Progress(2, 3, "timing one small forward and backward"))
    found = importlib.import_module("tempo_core.training.preview").preview(
        base=base,
        pairs=pairs,
        plan=plan,
        examples=examples,
        config=config,
        folder=job.home.runs,
        pictures=Pictures(job.home.cache, long_side).get,
        cache=job.home.cache,
        n_devices=payload.ranks,
    )
    return {
        "text": str(found.estimate),
        "n_steps": found.n_steps,
        "n_pairs": len(plan.planned),
        "n_too_long": len(too_long),
        "seconds": found.estimate.seconds,
        "memory_bytes": found.estimate.memory.total,
        "disk_bytes": found.estimate.disk.total,
        "warnings": list(found.warnings),
    }
