"""A run that trains, as its page sees it: a row, a stage, and a process of its own that writes every step's values."""

from __future__ import annotations

import time
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from db import datasets, metrics, models, people, runs
from db.pair_filters import PairFilter
from db.runs import StageLine
from db.session import Database
from tempo_core.recipes import PRESETS
from tempo_core.types import Metric

LEVELS = ("l1", "l2", "l3", "l4")
NAMES = ("loss", "margin", "accuracy", "reward_chosen", "longer_wins")
A_STEP = 1 + len(LEVELS) * len(NAMES)
"""Rows of the table that one step writes, in one transaction."""


def start(database: Database, n_steps: int) -> int:
    """A run on a frozen version of what was accepted, in the middle of its only stage."""
    with database.session() as session:
        me = people.local(session)
        version = datasets.freeze(session, me, "load", wanted=PairFilter(status="accepted"), held_out_share=0.1)
        model = models.register(session, Path("/models/base"), "tiny", "b" * 64, "base")
        config = replace(PRESETS["embedded"], recipe="dpo")
        run_id = runs.create(session, me, config, model, dataset_version_id=version)
        runs.set_state(session, run_id, "running")
        runs.set_stages(
            session, run_id, [StageLine(0, "dpo", "all", (1, 2, 3, 4), 16 * n_steps, 1, n_steps, "running")]
        )
    return run_id


def write(path: Path, run_id: int, n_steps: int, every_s: float, told: Queue[Any]) -> None:
    """Write the steps one by one, by the clock; tells how long each transaction took, in seconds."""
    database, took, start_s = Database.open(path), [], time.monotonic()
    for step in range(1, n_steps + 1):
        time.sleep(max(0.0, start_s + step * every_s - time.monotonic()))
        before_s = time.monotonic()
        with database.session() as session:
            metrics.record(session, run_id, values(step))
        took.append(time.monotonic() - before_s)
    database.close()
    told.put(took)


def values(step: int) -> list[Metric]:
    """What one step tells."""
    of_levels = [Metric(f"{level}/{name}", step, 1 / step) for level in LEVELS for name in NAMES]
    return [Metric("dpo/loss", step, 1 / step), *of_levels]
