"""More for the runs page, on top of `tests.pages.finished`: a plan, margins, notes, and a second run that is at work.

Run 1 is done: its pairs have margins before and after, one of them is still ranked the wrong way, one fell.
Run 2 trains its second stage: strict, so a stage a level; its chosen rewards fall, and it left a pair out.
"""

from __future__ import annotations

import os
from dataclasses import replace

from db import datasets, jobs, metrics, people, run_notes, runs
from db.runs import PairScore, StageLine
from db.session import Database
from jobs import processes, starting
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.types import Metric
from tests.pages import finished

STRICT = replace(
    finished.CONFIG, pacing="strict", pairs_per_step=1, micro_batch=1, dpo_epochs=2, sft_weight=0.0, dpo_lr=5e-4
)
WRONG, FELL = -0.8, 0.1


def add(database: Database) -> None:
    _finish_first(database)
    _begin_second(database)


def _finish_first(database: Database) -> None:
    with database.session() as session:
        version = datasets.listing(session)[0].id
        plan = starting.preview(session, version, finished.CONFIG)
        runs.store_plan(session, 1, plan.planned, plan.sha256)
        ids = sorted({place.pair_id for place in plan.planned})
        final = {pair_id: PairScore(0.5 + 0.1 * i) for i, pair_id in enumerate(ids)}
        final |= {ids[2]: PairScore(WRONG), ids[5]: PairScore(FELL)}
        runs.score_pairs(session, 1, "before", {pair_id: PairScore(0.2) for pair_id in ids})
        runs.score_pairs(session, 1, "final", final)
        metrics.record(session, 1, [metric for step in range(1, finished.N_STEPS + 1) for metric in _lengths(step)])


def _lengths(step: int) -> list[Metric]:
    """Longer wins on level 1; the rejected reward goes down."""
    found = [Metric(f"l{level}/longer_wins", step, 0.99 if level == 1 else 0.55) for level in (1, 2, 3, 4)]
    return found + [Metric(f"l{level}/reward_rejected", step, -step / 40) for level in (1, 2, 3, 4)]


def _begin_second(database: Database) -> None:
    with database.session() as session:
        version, me = datasets.listing(session)[0].id, people.local(session)
    run_id = starting.start_run(database, me, STRICT, EMBEDDED_MODEL, version_id=version, smaller_step=True)
    with database.session() as session:
        plan = starting.preview(session, version, STRICT, smaller_step=True)
        job = jobs.claim(session, "gpu:0", lease_ms=3_600_000)
        assert job is not None and job.token
        started = processes.started(os.getpid())
        jobs.started(session, job.id, job.token, os.getpid(), started, "runs/none.log")
        runs.set_state(session, run_id, "running")
        runs.store_plan(session, run_id, plan.planned, plan.sha256)
        _half_way(session, run_id)
        first, second = runs.outline(session, run_id)[:2]
        done = (first.last_step or 0) + 2
        jobs.progress(session, job.id, job.token, done / len(plan.planned) * 2, f"dpo {second.name}")
        for step in range(1, done + 1):
            metrics.record(session, run_id, _falling(step, 1 if step <= (first.last_step or 0) else 2))


def _half_way(session, run_id: int) -> None:
    waiting = runs.outline(session, run_id)
    for stage in waiting[:2]:
        runs.set_stages(session, run_id, [StageLine(stage.ordinal, stage.phase, stage.name, (), stage.n_items,
                                                    stage.first_step, stage.last_step)])  # fmt: skip
    runs.set_stage(session, run_id, waiting[0].ordinal, "succeeded")
    runs.set_stage(session, run_id, waiting[1].ordinal, "running")
    left_out = {runs.planned(session, run_id)[0].pair_id: 21_318}
    run_notes.leave_out(session, run_id, left_out, 1204)
    run_notes.add(session, run_id, "memory", "Out of memory in step 3: 1 pair a forward, the step stays the same.")


def _falling(step: int, level: int) -> list[Metric]:
    values = {"loss": 0.69 - step / 100, "margin": step / 20, "accuracy": 0.6, "longer_wins": 0.7}
    values |= {"reward_chosen": -step / 10, "reward_rejected": -step / 5, "accuracy_per_token": 0.6}
    told = {"speed/pairs_per_s": 3.4, "speed/tokens": 8192.0, "speed/shared_tokens": 20480.0}
    told |= {"cache/feature_hits": 0.75, "cache/reference_hits": 1.0, "canary/moved": 0.31, "dpo/loss": 0.6}
    told |= {"memory/gpu_bytes": 61.2e9, "memory/gpu_total_bytes": 140e9}
    return [Metric(f"l{level}/{name}", step, value) for name, value in values.items()] + [
        Metric(name, step, value) for name, value in told.items()
    ]
