"""The clock is set while jobs run.

Every process of the studio sees a clock that jumps in the middle of a job: an hour on, an hour back, or it stands
still from then on. Clocks that count from the start of the machine go on, as they do.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.trust import promises, trained
from benchmarks.trust import yard as yards
from benchmarks.trust.clock import Clock
from benchmarks.trust.rows import Row, none_of
from benchmarks.trust.yard import Yard
from db import jobs
from jobs import launch
from jobs.payloads import SleepPayload
from tempo_core import curves
from tempo_core.curves import Beat
from tempo_core.settings import Home

HOUR_S = 3600


def measure(scratch: Path, effort: float) -> list[Row]:
    rows = []
    for how in ("an hour on", "an hour back", "standing still"):
        clock = Clock.made_in(scratch / how / "clock")
        with yards.opened(Home(scratch / how / "home"), {**yards.QUICK, **clock.environment}) as yard:
            found = _set(yard, clock, how)
        wrong = [row for row in found if not row.held]
        told = "; ".join(f"{row.what}: {row.measured}" for row in wrong or found)
        target = "no double start, no length below 0, order by id"
        rows.append(Row(f"clock {how} in the middle of a job", target, told, not wrong))
    return rows


def _set(yard: Yard, clock: Clock, how: str) -> list[Row]:
    """One job that runs at the moment at which the clock is set, and one that starts after it."""
    version = trained.frozen(yard.database, yard.home)
    worker = yard.worker()
    run_of = {}
    for number in range(2):
        run_id = trained.curve(yard.database, yard.person, version, number)
        run_of[launch.enqueue(yard.database, SleepPayload(60, run_id=run_id), yard.person)] = run_id
    first, second = run_of
    started = yard.at_step(first, 20)
    if how == "standing still":
        clock.freeze((started.started_ms or 0) * 1_000_000)
    else:
        clock.turn(HOUR_S if how == "an hour on" else -HOUR_S)
    yard.ended(first), yard.ended(second)
    after = promises.After(yard, list(run_of), run_of, SleepPayload().checkpoint_every)
    told_s = [seconds for run_id in run_of.values() for seconds in _told_s(yard, run_id)]
    with yard.database.reading() as session:
        newest_first = [job.id for job in jobs.latest(session)]
        leads = jobs.leader(session)
    # A lease that is late for a moment has no leader, and replaces none.
    replaced = worker.poll() is not None or (leads is not None and leads.process.pid != worker.pid)
    return [
        after.ended_right("that job and the next"),
        *after.rows()[:3],
        none_of("paces told below 0", sum(seconds < 0 for seconds in told_s), len(told_s), "paces"),
        none_of("lists out of order", int(newest_first != [second, first]), 1, "lists"),
        none_of("workers replaced", int(replaced), 1, "workers"),
    ]


def _told_s(yard: Yard, run_id: int) -> list[float]:
    """The pace that the page of a run told after each of its steps."""
    ends = "SELECT step, ts_ms FROM metric WHERE run_id = ? AND key = 'sleep/step' ORDER BY step"
    with closing(sqlite3.connect(yard.home.database)) as connection:
        beats = [Beat(step, at_ms) for step, at_ms in connection.execute(ends, (run_id,))]
    found = [curves.seconds_a_step(beats[:n]) for n in range(3, len(beats) + 1)]
    return [seconds for seconds in found if seconds is not None]
