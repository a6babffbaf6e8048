"""The queue's own rules, without a process: what is one job, who may write, what becomes of a failure."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from db import jobs
from db.session import Database
from db.tables import JobRow, WorkerRow
from jobs import child, launch
from jobs.payloads import SleepPayload
from tempo_core.errors import LeaseLost, Unknown


def claim(yard, slot="gpu:0", lease_ms=60_000):
    with yard.database.session() as session:
        return jobs.claim(session, slot, lease_ms=lease_ms)


def lose(yard, job, error_class="killed"):
    with yard.database.session() as session:
        return jobs.lost(session, job.id, job.token, error_class, "it ended")


def test_eight_threads_that_queue_the_same_work_make_one_job(yard):
    databases = [Database.of(yard.home) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda d: launch.enqueue(d, SleepPayload(), yard.person), databases))
    assert len(ids) == 1
    assert yard.enqueue(label="other work") not in ids


def test_eight_databases_that_claim_one_slot_get_one_job(yard):
    for n in range(8):
        yard.enqueue(label=str(n))
    databases = [Database.of(yard.home) for _ in range(8)]

    def take(database):
        with database.session() as session:
            return jobs.claim(session, "gpu:0", lease_ms=60_000)

    with ThreadPoolExecutor(8) as pool:
        claimed = [job for job in pool.map(take, databases) if job]
    assert [job.attempt for job in claimed] == [1]
    with yard.database.reading() as session:
        assert [job.id for job in jobs.running(session)] == [claimed[0].id]


def test_the_database_itself_refuses_a_second_running_job_in_a_slot(yard):
    first, second = yard.enqueue(label="a"), yard.enqueue(label="b")
    claim(yard)
    with pytest.raises(Exception, match=r"(?i)unique"), yard.database.session() as session:
        row = session.get(JobRow, second)
        row.state, row.resource = "running", "gpu:0"
    assert (yard.job(first).state, yard.job(second).state) == ("running", "queued")


def test_jobs_of_the_two_slots_do_not_wait_for_each_other(yard):
    model, light = yard.enqueue(needs="gpu"), yard.enqueue(needs="cpu")
    assert (claim(yard, "gpu:0").id, claim(yard, "cpu:0").id) == (model, light)
    assert claim(yard, "gpu:0") is None


def test_only_the_newest_token_may_write(yard):
    job_id = yard.enqueue()
    old = claim(yard)
    lose(yard, old)
    new = claim(yard)
    assert new.attempt == 2
    with pytest.raises(LeaseLost), yard.database.session() as session:
        jobs.progress(session, job_id, old.token, 0.5, "from the grave")
    with pytest.raises(LeaseLost), yard.database.session() as session:
        jobs.succeed(session, job_id, old.token, {})
    assert lose(yard, old).state == "running"
    with yard.database.session() as session:
        jobs.succeed(session, job_id, new.token, {"n": 1})
    assert (yard.job(job_id).state, yard.job(job_id).result) == ("succeeded", {"n": 1})


def test_a_fenced_database_commits_nothing_once_the_job_was_given_away(yard):
    job_id = yard.enqueue()
    old = claim(yard)
    fenced = Database.of(yard.home, fence=lambda session: jobs.check(session, job_id, old.token))
    with fenced.session() as session:
        jobs.cancel(session, yard.enqueue_in(session, label="written while it held the lease"))
    lose(yard, old)
    with pytest.raises(LeaseLost), fenced.session() as session:
        yard.enqueue_in(session, label="never written")
    with yard.database.reading() as session:
        assert len(jobs.latest(session)) == 2


def test_a_job_killed_three_times_fails_and_a_retry_gives_it_three_more(yard):
    job_id = yard.enqueue()
    states = [lose(yard, claim(yard)).state for _ in range(3)]
    assert states == ["queued", "queued", "failed"]
    assert claim(yard) is None
    assert yard.enqueue() == job_id
    assert [lose(yard, claim(yard)).state for _ in range(3)] == ["queued", "queued", "failed"]


@pytest.mark.parametrize("error_class", ["bad_input", "untrusted", "diverged", "disk_full", "bug"])
def test_a_fault_of_the_job_itself_is_not_tried_again(yard, error_class):
    yard.enqueue()
    job = claim(yard)
    with yard.database.session() as session:
        after = jobs.fail(session, job.id, job.token, error_class, "because")
    assert (after.state, after.error_class, after.error) == ("failed", error_class, "because")


def test_out_of_memory_is_tried_once_more_and_the_task_is_told(yard):
    job_id = yard.enqueue()
    states = []
    for _ in range(2):
        job = claim(yard)
        with yard.database.session() as session:
            states.append(jobs.fail(session, job_id, job.token, "oom", "too big").state)
    with yard.database.reading() as session:
        assert (states, jobs.n_oom(session, job_id)) == (["queued", "failed"], 2)


def test_a_machine_that_stops_a_job_costs_it_no_attempt(yard):
    yard.enqueue()
    for _ in range(5):
        job = claim(yard)
        with yard.database.session() as session:
            after = jobs.fail(session, job.id, job.token, "cancelled", "stopped by a signal")
        assert after.state == "queued"


def test_finished_work_is_done_anew_only_when_asked(yard):
    job_id = yard.enqueue()
    job = claim(yard)
    with yard.database.session() as session:
        jobs.succeed(session, job_id, job.token, {})
    assert launch.enqueue(yard.database, SleepPayload(), yard.person, again=False) == job_id
    assert yard.enqueue() != job_id
    assert yard.job(job_id).state == "succeeded"


def test_cancelling_an_ended_job_changes_nothing(yard):
    job_id = yard.enqueue()
    for _ in range(2):
        launch.cancel(yard.database, yard.person, job_id)
        assert yard.job(job_id).state == "cancelled"
    assert claim(yard) is None


def test_an_unknown_job_is_named(yard):
    with pytest.raises(Unknown, match="77"):
        launch.cancel(yard.database, yard.person, 77)


def test_of_two_workers_one_leads_until_its_lease_ends(yard):
    one, two = jobs.Process(11, 1, jobs.boot_id()), jobs.Process(22, 2, jobs.boot_id())

    def lead(process, lease_ms=60_000):
        with yard.database.session() as session:
            return jobs.lead(session, process, "1", lease_ms=lease_ms)

    assert lead(one) is not None
    assert lead(two) is None
    assert lead(one, lease_ms=-1) is not None  # its last renewal, which has ended
    assert lead(two) is not None
    assert lead(one) is None


@pytest.mark.sqlite
def test_a_restart_of_the_machine_ends_every_lease(yard):
    before = jobs.Process(11, 1, "an earlier boot")
    with yard.database.session() as session:
        session.add(
            WorkerRow(
                host=before.host,
                boot_id=before.boot_id,
                pid=11,
                pid_started=1,
                version="1",
                lease_until_ms=jobs.boot_ms() + 10**9,
            )
        )
    assert not launch.worker_alive(yard.database)
    with yard.database.session() as session:
        assert jobs.lead(session, jobs.Process(22, 2, jobs.boot_id()), "1", lease_ms=1000) is not None


def test_a_job_that_told_no_progress_for_ten_minutes_is_stalled_until_it_does(yard):
    job_id = yard.enqueue()
    job = claim(yard)
    with yard.database.session() as session:
        assert jobs.stalled(session) == ()
        session.get(JobRow, job_id).progress_ms -= 601_000
    with yard.database.session() as session:
        assert [found.id for found in jobs.stalled(session)] == [job_id]
        jobs.progress(session, job_id, job.token, 0.5, "on again")
        assert jobs.stalled(session) == ()


def test_a_clock_that_was_turned_back_makes_no_negative_silence(yard):
    job_id = yard.enqueue()
    claim(yard)
    with yard.database.session() as session:
        session.get(JobRow, job_id).progress_ms += 3_600_000
    assert (yard.job(job_id).silent_s, yard.job(job_id).stalled) == (0, False)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")]
)
def test_memory_that_runs_out_without_a_gpu_is_out_of_memory_too(error):
    assert child.told(error)[0] == "oom"


@pytest.mark.parametrize(
    ("ranks", "words", "error_class"),
    [
        ("2", "[pair.cc:561] Connection closed by peer [127.0.0.1]:43419", "killed"),
        ("1", "[pair.cc:561] Connection closed by peer [127.0.0.1]:43419", "bug"),
        ("2", "shape mismatch", "bug"),
    ],
)
def test_a_rank_that_lost_another_is_tried_again_and_a_fault_is_not(monkeypatch, ranks, words, error_class):
    """The words are gloo's, as a rank printed them when the other was killed."""
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(words)
    assert child.told(caught.value)[0] == error_class
