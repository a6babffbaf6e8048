"""Metrics of a run arrive while pages look at it.

A process records a run's values as training does, one transaction a log step; viewers in this process read, again and
again, what the Runs page reads of a run under way, each with the page's pause between two looks.
"""

from __future__ import annotations

import threading
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.trust.rows import Row, at_most, none_of
from db import metrics, models, people
from db.migrate import create_all
from db.session import Database
from db.tables import RunRow
from tempo_core.types import Metric

KEYS = ("dpo/loss", "l1/loss", "l1/margin", "l1/accuracy", "speed/pairs_per_s")
N_VIEWERS, LOOK_EVERY_S = 4, 2.0
"""`pages/runs.py` looks every two seconds."""
PROCESSES = get_context("forkserver")


def measure(scratch: Path, effort: float) -> list[Row]:
    path, run_id = _with_run(scratch / "tempo.db")
    n_steps = max(100, round(4_000 * effort))
    heard, said = PROCESSES.Pipe(duplex=False)
    writer = PROCESSES.Process(target=_record, args=(path, run_id, n_steps, said), daemon=True)
    writer.start()
    said.close()
    heard.recv()
    polls, over = list[float](), threading.Event()
    database = Database.open(path)
    viewers = [
        threading.Thread(target=_look, args=(database, run_id, over, polls, n / N_VIEWERS * LOOK_EVERY_S))
        for n in range(N_VIEWERS)
    ]
    for viewer in viewers:
        viewer.start()
    inserts = heard.recv()
    over.set()
    for viewer in viewers:
        viewer.join()
    with database.reading() as session:
        kept = metrics.series(session, run_id)
    database.close()
    n_rows, n_kept = n_steps * len(KEYS), sum(len(points) for points in kept.values())
    what = f"{n_rows:,} metric rows, {len(KEYS)} a transaction, {N_VIEWERS} viewers"
    return [
        at_most(f"{what}: p95 of an insert", float(np.percentile(inserts, 95)), 5, " ms", digits=2),
        at_most(f"p95 of a look at the whole run ({len(polls)} looks)", float(np.percentile(polls, 95)), 60, " ms"),
        none_of("rows that are there afterwards", n_rows - n_kept, n_rows, "rows are missing"),
    ]


def _with_run(path: Path) -> tuple[Path, int]:
    database = Database.open(path)
    create_all(database)
    with database.session() as session:
        model = models.register(session, Path("/models/tiny"), "tiny", "0" * 64)
        row = RunRow(
            name="", recipe="sft", preset="embedded", base_model_id=model, config={}, config_sha256="", seed=0,
            code_version="", env={}, state="running", created_by=people.local(session).id, created_ms=0,
        )  # fmt: skip
        session.add(row)
        session.flush()
        run_id = row.id
    database.close()
    return path, run_id


def _record(path: Path, run_id: int, n_steps: int, said: Connection) -> None:
    database, took_ms = Database.open(path), []
    said.send("begun")
    for step in range(n_steps):
        values = [Metric(key, step, 1.0 / (step + 1)) for key in KEYS]
        start = time.perf_counter()
        with database.session() as session:
            metrics.record(session, run_id, values)
        took_ms.append((time.perf_counter() - start) * 1000)
    said.send(took_ms)


def _look(database: Database, run_id: int, over: threading.Event, took_ms: list[float], first_s: float) -> None:
    over.wait(first_s)
    # Once at least, however soon all is written.
    while True:
        start = time.perf_counter()
        with database.reading() as session:
            metrics.beats(session, run_id)
            metrics.series(session, run_id)
        took_ms.append((time.perf_counter() - start) * 1000)
        if over.wait(LOOK_EVERY_S):
            return
