"""Counts steps and can be killed anywhere: the task of the chaos tests, not offered to users.

Every executed step is a line of `executed.txt`, every recorded one a key of the result: a task may execute a step
twice, but it must never record one twice. It stands still before step N while there is a file `hold-N` in its folder,
so that what must happen in the middle of it does, on a machine of any speed.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from db import jobs, metrics
from db.session import Database
from jobs.child import Report
from jobs.payloads import SleepPayload
from jobs.tasks import JobRef
from tempo_core.errors import Cancelled
from tempo_core.types import JsonDict, Metric, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Count to `payload.steps`, going on from the last checkpoint."""
    payload = job.payload
    if not isinstance(payload, SleepPayload):
        raise ValueError(f"sleep was given {type(payload).__name__}")
    if int(os.environ.get("RANK", "0")):
        return _beside(database, job, payload)
    checkpoint = job.folder / "checkpoint.json"
    first = json.loads(checkpoint.read_text())["step"] if checkpoint.exists() else 0
    print(f"attempt {job.attempt} goes on at step {first}, pid {os.getpid()}", flush=True)
    _forget_after(database, payload, first)
    # A grandchild in a session of its own, as torchrun starts its ranks: killing the group does not reach it.
    grandchild = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        for step in range(first, payload.steps):
            _step(job, payload, step)
            _record(database, job, payload, step + 1)
            stopping = report.should_stop()
            if stopping or (step + 1) % payload.checkpoint_every == 0:
                _save(checkpoint, step + 1)
            if stopping:
                raise Cancelled(f"Stopped after {step + 1} of {payload.steps} steps; the next start goes on there.")
            # `report()` may itself hear of a stop, after the look above, and would end the task with nothing saved.
            report.tell(Progress(step + 1, payload.steps, f"step {step + 1} of {payload.steps}"))
    finally:
        grandchild.kill()
        grandchild.wait()
    return {"steps": payload.steps, "resumed_from": first}


def _step(job: JobRef, payload: SleepPayload, step: int) -> None:
    if step == payload.fail_at:
        raise RuntimeError(f"asked to fail at step {step}")
    time.sleep(payload.step_s)
    while (job.folder / f"hold-{step}").exists():
        time.sleep(0.01)
    with (job.folder / "executed.txt").open("a") as file:
        file.write(f"{step} {job.attempt} {os.getpid()}\n")


def _forget_after(database: Database, payload: SleepPayload, step: int) -> None:
    """Take back what a killed attempt recorded after the checkpoint, as `train` does."""
    if payload.run_id is not None:
        with database.session() as session:
            metrics.resumed(session, payload.run_id, step)


def _record(database: Database, job: JobRef, payload: SleepPayload, step: int) -> None:
    if payload.run_id is not None:
        with database.session() as session:
            metrics.record(session, payload.run_id, [Metric("sleep/step", step, float(step))], job.attempt)


def _beside(database: Database, job: JobRef, payload: SleepPayload) -> JsonDict:
    """A rank that waits for the first one, as ranks do between two steps."""
    state = "running"
    while state == "running":
        time.sleep(payload.step_s)
        with database.reading() as session:
            state = jobs.get(session, job.id).state
    return {}


def _save(checkpoint: Path, step: int) -> None:
    half = checkpoint.with_suffix(".tmp")
    half.write_text(json.dumps({"step": step}))
    os.replace(half, checkpoint)
