"""Kill anything at any time: the work is done once, by one process, and nothing is left behind."""

import json
import os
import signal
import subprocess

import psutil
import pytest

from benchmarks.trust.clock import Clock
from benchmarks.trust.yard import HANG_S
from db import jobs
from db.session import Database
from jobs import launch, processes
from tempo_core.errors import DatabaseBusy

STEPS, EVERY = 24, 4


def test_a_killed_job_goes_on_from_its_checkpoint_and_leaves_no_grandchild(yard):
    yard.worker()
    job_id = yard.enqueue(steps=STEPS, checkpoint_every=EVERY)
    held = yard.hold(job_id, 10)
    job = yard.at_step(job_id, 9)
    os.kill(job.pid, signal.SIGKILL)
    held.unlink()

    job = yard.ended(job_id)
    assert (job.state, job.attempt, job.error) == ("succeeded", 2, None)
    assert job.result["resumed_from"] == 8
    assert {step for step, _ in yard.executed(job_id)} == set(range(STEPS))
    assert yard.twice(job_id) <= EVERY
    assert yard.until(lambda: not yard.orphans(job_id))


def test_a_killed_worker_disturbs_no_job_and_the_next_one_looks_after_it_without_a_second_start(yard):
    worker = yard.worker()
    job_id = yard.enqueue(steps=10_000, checkpoint_every=EVERY)
    pid = yard.at_step(job_id, 5).pid
    worker.kill()
    worker.wait()
    heir = yard.worker()

    yard.until(lambda: yard.leader_pid() == heir.pid)
    last_step, _ = yard.executed(job_id)[-1]
    assert yard.at_step(job_id, last_step + 10).pid == pid
    assert yard.twice(job_id) == 0

    os.kill(pid, signal.SIGKILL)
    last_step, _ = yard.executed(job_id)[-1]
    again = yard.at_step(job_id, last_step + 1, attempt=2)
    assert again.attempt == 2
    assert again.error == f"The process ended without a word. Its log ends: attempt 1 goes on at step 0, pid {pid}"
    assert yard.twice(job_id) <= EVERY


def test_worker_and_job_killed_together_are_made_good_by_the_next_worker(yard):
    worker = yard.worker()
    job_id = yard.enqueue(steps=STEPS, checkpoint_every=EVERY)
    held = yard.hold(job_id, 10)
    job = yard.at_step(job_id, 9)
    worker.kill()
    os.killpg(job.pid, signal.SIGKILL)
    worker.wait()
    held.unlink()
    yard.worker()

    job = yard.ended(job_id)
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert {step for step, _ in yard.executed(job_id)} == set(range(STEPS))
    assert yard.twice(job_id) <= EVERY
    assert yard.until(lambda: not yard.orphans(job_id))


def test_cancelling_a_running_job_keeps_its_checkpoint_and_a_waiting_one_ends_at_once(yard):
    yard.worker()
    running, waiting = yard.enqueue(steps=10_000, label="running"), yard.enqueue(steps=10_000, label="waiting")
    yard.at_step(running, 5)
    with yard.database.session() as session:
        assert jobs.cancel(session, waiting).state == "cancelled"
        assert jobs.cancel(session, running).state == "running"

    job = yard.ended(running)
    assert (job.state, job.attempt, yard.executed(waiting)) == ("cancelled", 1, [])
    assert job.error.startswith("Stopped after ")
    assert yard.until(lambda: not yard.orphans(running))

    last_step = max(step for step, _ in yard.executed(running))
    with yard.database.session() as session:
        jobs.retry(session, running)
    yard.at_step(running, last_step + 1, attempt=2)
    assert min(step for step, attempt in yard.executed(running) if attempt == 2) == last_step + 1


def test_two_workers_run_one_job_at_a_time_in_a_slot(yard):
    job_ids = [yard.enqueue(steps=6, label=str(n)) for n in range(3)]
    yard.worker(), yard.worker()
    at_once = []

    def ended():
        at_once.append(yard.started_jobs())
        return all(yard.job(job_id).ended for job_id in job_ids)

    yard.until(ended)
    assert max(at_once) == 1
    assert all(yard.executed(job_id) == [(step, 1) for step in range(6)] for job_id in job_ids)
    yard.until(lambda: (yard.home.root / "worker.log").read_text().count("Another worker leads already") == 1)


def test_a_process_that_froze_with_the_database_locked_is_ended_and_its_job_goes_on(yard):
    """Nobody can write while it lives, the worker neither: it must end it on what it can read."""
    # So little patience must not end the next attempt, too, where a heartbeat comes late.
    yard.rhythm = {**yard.rhythm, "TEMPO_LEASE_S": "15"}
    job_id = yard.enqueue(steps=2)
    with yard.database.session() as session:
        job = jobs.claim(session, "gpu:0", lease_ms=60_000)
    frozen = yard.frozen_writer(job)
    with pytest.raises(DatabaseBusy):
        launch.cancel(Database.open(yard.home.database, busy_ms=100), yard.person, job_id)
    worker = yard.worker(patience_s=1)

    job = yard.ended(job_id)
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert frozen.wait(timeout=HANG_S) == -signal.SIGKILL
    assert worker.poll() is None


def test_a_process_frozen_past_its_lease_can_write_nothing_when_it_thaws(yard):
    """No worker here: on the same machine it would have killed the frozen process, on another it could not."""
    job_id = yard.enqueue(steps=STEPS, checkpoint_every=EVERY)
    with yard.database.session() as session:
        first = jobs.claim(session, "gpu:0", lease_ms=20_000)
    held = yard.hold(job_id, 8)
    zombie = yard.child(first)
    yard.at_step(job_id, 7)
    second = yard.until(lambda: freeze_and_take_over(yard, zombie.pid, first))
    held.unlink()
    heir = yard.child(second)
    yard.at_step(job_id, 9, attempt=2)
    os.kill(zombie.pid, signal.SIGCONT)

    assert zombie.wait(timeout=HANG_S) in (-signal.SIGKILL, 75)
    assert heir.wait(timeout=HANG_S) == 0
    job = yard.job(job_id)
    assert (job.state, job.attempt) == ("succeeded", 2)
    # The step in hand when it thawed may have run; its report was the first thing refused.
    assert len([1 for step, attempt in yard.executed(job_id) if attempt == 1 and step > 7]) <= 1
    assert processes.started(zombie.pid) is None


def freeze_and_take_over(yard, pid, job):
    """Freeze the process outside of a write, as a frozen writer locks everybody out; the job's next attempt."""
    os.kill(pid, signal.SIGSTOP)
    impatient = Database.open(yard.home.database, busy_ms=100)
    try:
        with impatient.session() as session:
            jobs.lost(session, job.id, job.token, "lease_lost", "no heartbeat")
            return jobs.claim(session, "gpu:0", lease_ms=20_000)
    except DatabaseBusy:
        os.kill(pid, signal.SIGCONT)
        return None
    finally:
        impatient.close()


def test_a_job_of_another_studio_and_a_later_attempt_are_left_alone(yard, tmp_path_factory):
    job_id = yard.enqueue(steps=2)
    with yard.database.session() as session:
        job = jobs.claim(session, "gpu:0", lease_ms=60_000)
    ticket = {processes.TICKET: f"{job_id}.1.{job.token}"}
    other = {processes.HOME: str(tmp_path_factory.mktemp("other"))}
    later = {processes.TICKET: f"{job_id}.2.later"}
    mine, theirs, next_one = (
        subprocess.Popen(["sleep", "300"], env=yard.environment() | ticket | more, start_new_session=True)
        for more in ({}, other, later)
    )
    yard.started += [mine, theirs, next_one]
    yard.until(lambda: len(yard.orphans(job_id)) == 2)
    processes.end(yard.home.root, job_id, 1, None, None)
    assert processes.started(mine.pid) is None
    assert theirs.poll() is None and next_one.poll() is None


def test_ranks_whose_torchrun_was_killed_end_with_it_and_the_job_goes_on(yard):
    """Each rank has a session of its own, so that killing torchrun's process group does not reach them."""
    yard.worker()
    job_id = yard.enqueue(steps=10_000, ranks=2)
    job = yard.at_step(job_id, 9)
    ranks = yard.until(lambda: [process for process in yard.ranks(job_id) if len(yard.ranks(job_id)) == 2])
    os.kill(psutil.Process(job.pid).ppid(), signal.SIGKILL)

    assert yard.until(lambda: yard.job(job_id).attempt == 2)
    assert [rank.pid for rank in ranks if processes.started(rank.pid)] == []


def test_a_job_goes_on_while_another_program_locks_the_database_longer_than_its_lease(yard):
    """It can neither renew its lease nor tell its progress, and the worker can take nothing back; it waits."""
    yard.worker()
    job_id = yard.enqueue(steps=STEPS, checkpoint_every=EVERY)
    held = yard.hold(job_id, 6)
    yard.at_step(job_id, 5)
    with yard.locked():
        held.unlink()
        yard.until(lambda: yard.job(job_id).lease_until_ms < jobs.boot_ms() - 1000)

    job = yard.ended(job_id)
    assert (job.state, job.attempt) == ("succeeded", 1)
    assert yard.executed(job_id) == [(step, 1) for step in range(STEPS)]


def test_a_clock_that_is_set_starts_no_job_twice(yard, tmp_path_factory):
    clock = Clock.made_in(tmp_path_factory.mktemp("clock") / "set")
    yard.rhythm = {**yard.rhythm, **clock.environment}
    worker = yard.worker()
    first = yard.enqueue(steps=60, checkpoint_every=EVERY)
    held = [yard.hold(first, step) for step in (6, 26, 46)]
    started = yard.at_step(first, 5)
    clock.turn(3600)
    held[0].unlink()
    yard.at_step(first, 25)
    clock.turn(-3600)
    held[1].unlink()
    yard.at_step(first, 45)
    clock.freeze(started.started_ms * 1_000_000)
    held[2].unlink()
    second = yard.enqueue(steps=2, label="after")

    jobs_ended = yard.ended(first), yard.ended(second)
    assert [(job.state, job.attempt) for job in jobs_ended] == [("succeeded", 1)] * 2
    assert yard.executed(first) == [(step, 1) for step in range(60)]
    assert jobs_ended[0].ended_ms == started.started_ms, "the processes did not see the clock stand still"
    with yard.database.reading() as session:
        assert [job.id for job in jobs.latest(session)] == [second, first]
    assert worker.poll() is None and yard.until(lambda: yard.leader_pid() == worker.pid)


def test_a_heart_beats_on_once_a_full_disk_has_room_again(yard):
    job_id = yard.enqueue()
    heart = yard.heart(yard.claimed())
    assert heart.stdout.readline() == b"room again\n"
    lease_ms = yard.job(job_id).lease_until_ms
    yard.until(lambda: heart.poll() is None and yard.job(job_id).lease_until_ms > lease_ms)


def test_a_disk_that_is_full_at_a_checkpoint_ends_the_job_with_the_way_out_and_it_goes_on_later(yard):
    yard.worker()
    job_id = yard.enqueue(steps=40, checkpoint_every=EVERY)
    folder, held = yard.home.runs / "jobs" / str(job_id), yard.hold(job_id, 6)
    yard.at_step(job_id, 5)
    (folder / "checkpoint.tmp").symlink_to("/dev/full")
    held.unlink()

    job = yard.ended(job_id)
    assert (job.state, job.error_class, job.attempt) == ("failed", "disk_full", 1)
    assert "Free some space, then retry; what was saved is kept" in job.error
    kept = json.loads((folder / "checkpoint.json").read_text())["step"]
    assert kept == EVERY

    (folder / "checkpoint.tmp").unlink()
    with yard.database.session() as session:
        jobs.retry(session, job_id)
    job = yard.ended(job_id)
    assert (job.state, job.result["resumed_from"]) == ("succeeded", kept)
    assert yard.twice(job_id) <= EVERY
