"""Backup, restore and check as a person at the terminal meets them: sentences, exit codes, and nothing lost."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from db import backup, health, jobs, models, people
from db.migrate import create_all
from db.session import Database, now_ms
from db.tables import JobRow, RunRow
from jobs import launch, nightly, space
from jobs.__main__ import main
from jobs.launchers.base import log_path
from jobs.payloads import SleepPayload
from jobs.rhythm import Rhythm
from jobs.worker import Worker
from tempo_core.errors import NoSpace
from tempo_core.settings import Home


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "tempo.db"
    database = Database.open(path)
    create_all(database)
    database.close()
    return path


@pytest.fixture
def home(file, tmp_path, monkeypatch):
    made = Home(tmp_path / "home").make()
    shutil.copy(file, made.database)
    monkeypatch.setenv("TEMPO_HOME", str(made.root))
    return made


def add_job(home):
    database = Database.open(home.database)
    with database.session() as session:
        jobs.enqueue(session, "sleep", {}, created_by=people.local(session).id, needs="cpu")
    database.close()


def n_jobs(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM job").fetchone()[0]


def test_a_backup_goes_where_it_is_asked_to_and_overwrites_nothing(home, tmp_path, capsys):
    to = tmp_path / "elsewhere.db"
    assert main(["backup", "--to", str(to)]) == 0
    assert "read back and whole" in capsys.readouterr().out
    backup.check(to)
    assert backup.listing(home.backups) == []
    to.write_bytes(b"mine")
    assert main(["backup", "--to", str(to)]) == 2
    assert "exists already" in capsys.readouterr().err and to.read_bytes() == b"mine"
    assert main(["backup", "--to", str(tmp_path / "no" / "such.db")]) == 2
    assert main(["backup", "--to", "/proc/such.db"]) == 2
    assert "/proc/such.db cannot be written" in capsys.readouterr().err and backup.listing(home.backups) == []
    assert main(["backup"]) == 0 and [kept.label for kept in backup.listing(home.backups)] == ["by-hand"]


def test_restore_first_tells_what_would_be_lost_and_does_it_only_when_told_so(home, capsys):
    main(["backup"])
    (kept,) = backup.listing(home.backups)
    add_job(home)
    assert main(["restore", str(kept.path)]) == 3
    told = capsys.readouterr().out
    assert "Lost would be what the backup does not hold: jobs (1)." in told and "Nothing was changed" in told
    assert n_jobs(home.database) == 1
    assert main(["restore", str(kept.path), "--yes"]) == 0
    assert n_jobs(home.database) == 0
    aside = next(one for one in backup.listing(home.backups) if one.label == "before-restore")
    assert f"What was there is kept as {aside.path}" in capsys.readouterr().out and n_jobs(aside.path) == 1
    assert main(["restore", str(aside.path), "--yes"]) == 0 and n_jobs(home.database) == 1


def test_restore_without_a_file_lists_what_there_is(home, capsys):
    assert main(["restore"]) == 2
    assert "no backup in" in capsys.readouterr().err
    main(["backup"])
    capsys.readouterr()
    assert main(["restore"]) == 0
    assert "by-hand" in capsys.readouterr().out


def test_restore_refuses_while_another_process_has_the_database_open_and_names_it(home, capsys):
    main(["backup"])
    (kept,) = backup.listing(home.backups)
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode = WAL').fetchall();"
    script += "c.execute('SELECT count(*) FROM job').fetchall(); print('open', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(home.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"open\n"
    before = home.database.read_bytes()
    assert main(["restore", str(kept.path), "--yes"]) == 2
    said = capsys.readouterr().err
    assert "is open in another program" in said and f"Open in: {holder.pid} (-c" in said and "Stop the studio" in said
    assert home.database.read_bytes() == before
    holder.communicate(b"\n")
    assert main(["restore", str(kept.path), "--yes"]) == 0


def test_a_damaged_database_is_found_by_the_check_and_mended_by_a_restore(home, capsys):
    main(["backup"])
    (kept,) = backup.listing(home.backups)
    home.database.write_bytes(b"no database at all" * 1000)
    assert main(["check"]) == 1
    assert "python -m jobs restore FILE" in capsys.readouterr().out
    assert main(["restore", str(kept.path), "--yes"]) == 0
    assert "cannot be counted" in capsys.readouterr().out
    assert main(["check", "--deep"]) == 0
    found = capsys.readouterr().out
    assert found.count("\nok ") == 7 and "red" not in found


@pytest.mark.parametrize("command", [["backup"], ["check"]])
def test_where_nothing_is_there_the_way_to_something_is_told(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setenv("TEMPO_HOME", str(tmp_path / "none"))
    assert main(command) == 2
    assert "Set TEMPO_HOME, or make one" in capsys.readouterr().err and not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [["backup"], ["restore"], ["restore", "x.db", "--yes"]])
def test_of_a_server_its_own_tools_are_named(home, monkeypatch, capsys, command):
    monkeypatch.setenv("TEMPO_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:9/none")
    assert main(command) == 2
    assert "pg_dump -Fc" in capsys.readouterr().err and backup.listing(home.backups) == []


def test_no_job_is_queued_on_a_disk_that_is_nearly_full(home, monkeypatch):
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 150_000_000))
    database = Database.open(home.database)
    with database.session() as session:
        person = people.local(session)
    with pytest.raises(NoSpace, match=r"150 MB are free .* at least 200 MB"):
        launch.enqueue(database, SleepPayload(), person)
    assert n_jobs(home.database) == 0
    database.close()


def test_the_workers_log_is_bounded(home, monkeypatch):
    monkeypatch.setattr(launch, "LONGEST_LOG", 10)
    log = home.runs / "worker.log"
    for lines in (b"first and long\n", b"second and long\n", b"third"):
        log.write_bytes(lines)
        assert launch._worker_log(home) == log
    assert log.read_bytes() == b"third" and (home.runs / "worker.log.1").read_bytes() == b"second and long\n"


def test_what_keeps_the_worker_from_its_round_is_said_once(home, capsys):
    database = Database.open(home.database)
    looping = Worker(home, database, Rhythm())
    for why in ("locked", "locked", "full", "locked"):
        looping.tell_once(why)
    database.close()
    assert capsys.readouterr().out == "locked\nfull\nlocked\n"


def test_logs_of_jobs_that_ended_long_ago_are_removed_and_those_of_runs_stay(home):
    database, ago_ms = Database.open(home.database), now_ms() - 91 * 86_400_000
    with database.session() as session:
        me = people.local(session)
        for number, (ended_ms, state) in enumerate([(ago_ms, "failed"), (now_ms(), "failed"), (ago_ms, "succeeded")]):
            job = jobs.enqueue(session, "sleep", {"label": str(number)}, created_by=me.id, needs="cpu")
            row = session.get(JobRow, job.id)
            row.state, row.ended_ms = state, ended_ms
        jobs.enqueue(session, "sleep", {}, created_by=me.id, needs="cpu")
        model_id = models.register(session, Path("/m"), "tiny", "f" * 64, "m")
        session.add(
            RunRow(id=1, name="", recipe="sft", preset="embedded", base_model_id=model_id, config={}, config_sha256="",
                   seed=0, code_version="", env={}, state="succeeded", job_id=3, created_by=1, created_ms=1)
        )  # fmt: skip
    for job_id in (1, 2, 3, 4):
        log_path(home, job_id, 1).parent.mkdir(parents=True)
        log_path(home, job_id, 1).write_bytes(b"said")
    (log_path(home, 1, 1).parent / "answers.jsonl").write_bytes(b"kept")
    nightly.forget_logs(home, database)
    left = sorted(str(path.relative_to(home.runs / "jobs")) for path in (home.runs / "jobs").glob("*/*"))
    database.close()
    assert left == ["1/answers.jsonl", "2/attempt-1.log", "3/attempt-1.log", "4/attempt-1.log"]


def test_what_the_night_finds_damaged_is_on_the_health_page_and_pushes_no_whole_backup_out(home):
    database = Database.open(home.database)
    nightly.care(home, database)
    (whole,) = backup.listing(home.backups)
    whole.path.rename(home.backups / "tempo-20200101-000000-daily.db")
    by_hand = sqlite3.connect(home.database, isolation_level=None)
    by_hand.execute("PRAGMA foreign_keys = OFF")
    by_hand.execute("INSERT INTO library VALUES (1, '/x', 'x', 1)")
    by_hand.execute("INSERT INTO location VALUES (1, 'a.mp4', 99, 1)")
    by_hand.close()
    with database.reading() as session:
        assert [one.level for one in health.checked(session)] == ["ok"]
    nightly.care(home, database)
    with database.reading() as session:
        found = health.checked(session)
    database.close()
    assert [(one.what, one.level) for one in found] == [("file", "red")]
    assert [kept.path.name for kept in backup.listing(home.backups)] == ["tempo-20200101-000000-daily.db"]
