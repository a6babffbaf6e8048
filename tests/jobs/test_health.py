"""What the health page and `doctor` say: each state of each finding, and that a bad one always names the way out."""

import os
import shutil
import time
from dataclasses import replace

import pytest
from sqlalchemy import text

from db import health, jobs, people, videos
from db.health import Finding
from db.migrate import create_all
from db.session import Database, now_ms
from db.tables import JobRow
from jobs import doctor, space
from jobs import health as studio
from tempo_core.settings import Home

DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").make()


@pytest.fixture
def database(home):
    opened = Database.open(home.database)
    create_all(opened)
    yield opened
    opened.close()


def told(home, database) -> dict[str, Finding]:
    found = studio.findings(home, database)
    assert all(one.fact.endswith((".", ".)")) and (one.level == "ok" or one.way_out) for one in found), found
    return {one.what: one for one in found}


def job(database, state="queued", **values):
    with database.session() as session:
        row = JobRow(kind="sleep", payload={}, needs="cpu", idempotency_key=os.urandom(4).hex(), state=state,
                     created_by=people.local(session).id, **({"created_ms": now_ms()} | values))  # fmt: skip
        session.add(row)
        session.flush()
        return row.id


def test_a_fresh_studio_is_told_before_it_has_a_database(home):
    assert "made at the first start" in told(home, None)["database size"].fact


def test_of_a_server_that_does_not_answer_the_way_out_is_told(home):
    served = Home(home.root, "postgresql+psycopg://nobody:secret@127.0.0.1:9/none")
    found = doctor.database(served)
    assert found.level == "red" and "TEMPO_DATABASE_URL" in found.way_out and "secret" not in found.fact
    assert "pg_dump" in told(served, None)["backup"].way_out


def test_nothing_is_red_where_nothing_has_happened(home, database):
    found = told(home, database)
    assert not [one for one in found.values() if one.level == "red"]
    assert found["queue"].fact == "0 running, 0 waiting, 0 failed so far."


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ("2.10.0", "ok", ""),
        ("2.14.1+cpu", "ok", ""),
        ("2.9.1", "red", "torch 2.9.1: loading a checkpoint can run code"),
    ],
)
def test_a_version_with_a_known_fault_is_red(monkeypatch, version, level, words):
    have = {**studio.NEEDED, "torch": version}
    monkeypatch.setattr(studio, "_version", have.get)
    found = studio.packages()
    assert (found.level, words in found.fact) == (level, True)


def test_a_package_that_is_old_or_not_there_is_amber(monkeypatch):
    have = {name: floor for name, floor in studio.NEEDED.items() if name != "peft"} | {"trl": "1.2"}
    monkeypatch.setattr(studio, "_version", have.get)
    found = studio.packages()
    assert found.level == "amber" and "older than needed: trl 1.2" in found.fact.lower() and "peft" in found.fact


@pytest.mark.parametrize(("free", "level"), [(10**12, "ok"), (4 * 10**9, "amber"), (10**8, "red")])
def test_the_disk_is_told_by_its_free_space(home, monkeypatch, free, level):
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, free))
    assert studio.disk(home).level == level


def test_backups_grow_old(home):
    assert health.backups(home.backups).level == "amber"
    for days, level in ((3, "amber"), (1, "ok")):
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() - 86_400 * days - 60))
        (home.backups / f"tempo-{stamp}-daily.db").write_bytes(b"x")
        assert health.backups(home.backups).level == level
    assert "The newest is 24 hours old" in health.backups(home.backups).fact


def test_what_a_restore_set_aside_is_no_backup(home):
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (home.backups / f"tempo-{stamp}-before-restore.db").write_bytes(b"x")
    assert health.backups(home.backups).fact == "None was made yet."


def test_work_that_waits_for_nobody_is_red_and_for_somebody_too_long_amber(home, database):
    job(database, created_ms=now_ms() - 2 * 3_600_000)
    with database.reading() as session:
        assert health.queue(session, worker_leads=False).level == "red"
        late = health.queue(session, worker_leads=True)
    assert late.level == "amber" and "has waited for 2 hours" in late.fact
    job(database, "running", resource="cpu:0")
    with database.reading() as session:
        assert health.queue(session, worker_leads=True).level == "ok"


def test_a_job_without_progress_is_named_with_where_to_look(home, database):
    number = job(database, "running", resource="cpu:0", progress_ms=now_ms() - 700_000)
    found = told(home, database)["stalled job"]
    assert found.level == "amber" and f"Job {number}" in found.fact and f"jobs jobs {number} shows" in found.way_out
    assert found.page == ""  # only a training has a page that shows its log


def test_a_clock_that_was_set_back_is_told(home, database):
    job(database, created_ms=now_ms() + 3 * DAY_MS + 60_000)
    assert "It stands 3 days behind" in told(home, database)["clock"].fact


def test_a_folder_of_videos_that_is_gone_is_told(home, database, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    with database.session() as session:
        videos.library(session, folder)
    assert told(home, database)["video folders"].level == "ok"
    folder.rmdir()
    gone = told(home, database)["video folders"]
    assert gone.level == "amber" and str(folder) in gone.fact and gone.page == "library"


def test_a_long_write_ahead_log_is_told(home, database, monkeypatch):
    assert health.storage(home.database).level == "ok"
    monkeypatch.setattr(health, "WAL_BYTES", 1_000)
    assert health.storage(home.database).level == "amber"


def test_a_worker_that_leads_is_named(home, database):
    me = jobs.Process(os.getpid(), studio.processes.started(os.getpid()), jobs.boot_id())
    with database.session() as session:
        jobs.lead(session, me, "1", lease_ms=60_000)
    assert f"Process {os.getpid()} on {me.host} leads; it was started" in told(home, database)["worker"].fact


def test_of_a_worker_on_another_machine_no_age_is_told():
    far = jobs.Worker(1, jobs.Process(os.getpid(), 1, "another machine", "far"), "1", 0)
    assert studio.worker(far).fact == f"Process {os.getpid()} on far leads."


def test_the_doctor_says_that_a_newer_database_is_refused(tmp_path):
    home = Home(tmp_path / "with # and ?").make()
    database = Database.open(home.database)
    create_all(database)
    assert doctor.database(home).level == "ok"
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    found = doctor.database(home)
    assert found.level == "red" and "newer version" in found.fact and found.way_out.startswith("Update the program")


def test_a_finding_of_the_last_check_stays_until_the_next_one(home, database):
    bad = Finding("search", "red", "It does not hold.", "Make it anew.")
    for kept, expected in (([bad], {"search"}), ([replace(bad, level="ok")], {"check"})):
        with database.session() as session:
            health.keep_check(session, kept)
        assert {"check", "search"} & set(told(home, database)) == expected
