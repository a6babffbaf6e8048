"""Another program locks the database.

For 20 s, which is longer than a writer waits (15 s) and than a lease lasts. Meanwhile somebody decides about a pair,
somebody types a command, and a job trains on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.trust import promises, trained
from benchmarks.trust import yard as yards
from benchmarks.trust.rows import Row, at_most, none_of
from benchmarks.trust.yard import ROOT, Yard
from db import reviews
from db.reviews import ReviewItem
from jobs import launch
from jobs.payloads import SleepPayload
from tempo_core.errors import DatabaseBusy
from tempo_core.settings import Home

LOCKED_S = 20
ITEM = ReviewItem("while-locked", 1, 2, "reject")


def measure(scratch: Path, effort: float) -> list[Row]:
    with yards.opened(Home(scratch / "home"), {}) as yard:
        version = trained.frozen(yard.database, yard.home)
        run_id = trained.curve(yard.database, yard.person, version, 0)
        yard.worker()
        payload = SleepPayload(100, 0.1, 10, run_id=run_id)
        job_id = launch.enqueue(yard.database, payload, yard.person)
        other = yard.enqueue(label="waits")
        yard.at_step(job_id, 5)
        with ThreadPoolExecutor(3) as pool:
            with yard.locked():
                end_s = time.monotonic() + LOCKED_S
                decided, typed = pool.submit(_decide, yard), pool.submit(_cancel, yard, other)
                said, waited_s = decided.result()
                while time.monotonic() < end_s:
                    time.sleep(0.05)
            shown = typed.result()
        _decide(yard), _decide(yard)
        yard.ended(job_id)
        with yard.database.reading() as session:
            n_saved = [line.token for line in reviews.history(session, 1)].count(ITEM.token)
        after = promises.After(yard, [job_id], {job_id: run_id}, payload.checkpoint_every)
        ok = "another program is writing" in said and "Nothing was lost" in said
        clean = "another program is writing" in shown and "Traceback" not in shown
        return [
            at_most("a decision while it is locked: seconds until its message", waited_s, 16, " s"),
            Row("its message", "who holds it and the way out", "both" if ok else said[:200], ok),
            Row("a command meanwhile", "the same, no traceback", "so" if clean else shown[-200:], clean),
            none_of("the decision's token, sent twice again: rows beside the one", n_saved - 1, 2, "tries"),
            after.ended_right("a job meanwhile, its lease over"),
            *after.rows()[:4],
        ]


def _decide(yard: Yard) -> tuple[str, float]:
    """What was said, and after how many seconds."""
    start_s = time.monotonic()
    try:
        with yard.database.session() as session:
            reviews.decide(session, yard.person, ITEM)
    except DatabaseBusy as error:
        return str(error), time.monotonic() - start_s
    return "saved", time.monotonic() - start_s


def _cancel(yard: Yard, job_id: int) -> str:
    """What `python -m jobs cancel` prints."""
    command = [sys.executable, "-m", "jobs", "cancel", str(job_id)]
    done = subprocess.run(command, cwd=ROOT, env=yard.environment(), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
