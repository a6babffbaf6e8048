"""The two doors, the locks, and what SQLite must never be asked to do."""

import sqlite3
import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db import dialect, people
from db.dialect import sqlite_verdict
from db.session import Database, Gate
from tempo_core.errors import DatabaseBusy, DatabaseRefused, LeaseLost, NoSpace


def pragma(session, name):
    return session.execute(text(f"PRAGMA {name}")).scalar()


@pytest.mark.sqlite
def test_both_doors_have_the_settings_that_keep_data_safe(database):
    with database.session() as session:
        assert [pragma(session, name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 2, 1]
        assert pragma(session, "busy_timeout") == 15_000
    with database.reading() as session:
        assert pragma(session, "query_only") == 1


def test_the_reading_door_refuses_to_write(database):
    with pytest.raises(DBAPIError, match=r"readonly|read-only"), database.reading() as session:
        session.execute(text("UPDATE app_user SET name = 'x'"))


def test_a_reader_sees_one_moment_while_others_write(shelf):
    with shelf.database.reading() as session:
        before = session.execute(text("SELECT count(*) FROM app_user")).scalar()
        shelf.person("Zoe")
        assert session.execute(text("SELECT count(*) FROM app_user")).scalar() == before


def test_an_exception_takes_everything_back(shelf):
    with pytest.raises(RuntimeError), shelf.database.session() as session:
        people.add(session, "test|Zoe", "Zoe", "viewer")
        raise RuntimeError
    with shelf.database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM app_user WHERE name = 'Zoe'")).scalar() == 0


def test_a_session_inside_a_session_is_a_mistake_and_no_deadlock(database):
    with database.session(), pytest.raises(ValueError, match="pass the open session on"), database.session():
        pass
    with database.session():
        pass


def test_a_fence_stops_a_process_that_lost_its_lease_before_it_writes(database):
    def fence(session):
        raise LeaseLost("This process no longer owns its job.")

    fenced = Database(database.url, fence)
    with pytest.raises(LeaseLost), fenced.session() as session:
        session.execute(text("UPDATE app_user SET name = 'x'"))
    fenced.close()
    with database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM app_user WHERE name = 'x'")).scalar() == 0


@pytest.mark.sqlite
def test_a_locked_database_is_told_in_words_and_works_afterwards(database):
    impatient = Database.open(database.path, busy_ms=50)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(DatabaseBusy, match=r"stayed locked for 0\.05 s.*Nothing was lost; try again"),
        impatient.session(),
    ):
        pass
    other.execute("ROLLBACK")
    other.close()
    with impatient.session() as session:
        people.add(session, "test|Zoe", "Zoe", "viewer")
    impatient.close()


def test_a_writer_that_keeps_the_gate_is_told_too(database):
    impatient = Database(database.url, busy_ms=50)
    inside, release = threading.Event(), threading.Event()

    def hold():
        with impatient.session():
            inside.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(30)
    with pytest.raises(DatabaseBusy, match="another part of this program"), impatient.session():
        pass
    release.set()
    holder.join(30)
    impatient.close()


def test_the_gate_lets_in_who_came_first_and_forgets_who_gave_up():
    gate, came = Gate(), []
    assert gate.acquire(0)
    assert not gate.acquire(0.01)  # gives up

    def come(number):
        assert gate.acquire(30)
        came.append(number)
        gate.release()

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for n_waiting, thread in enumerate(threads, 1):
        thread.start()
        while len(gate._waiting) < n_waiting:
            time.sleep(0.001)
    gate.release()
    for thread in threads:
        thread.join()
    assert came == list(range(8))
    assert gate.acquire(0)


@pytest.mark.sqlite
def test_a_full_disk_is_told_in_words_and_leaves_the_database_whole(database):
    with database.session() as session:
        pages = pragma(session, "page_count")
        session.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
    with pytest.raises(NoSpace, match="Free some space"), database.session() as session:
        for number in range(500):
            people.add(session, f"test|{number}", "x" * 1000, "viewer")
    with database.session() as session:
        session.execute(text("PRAGMA max_page_count = 100000"))
        assert pragma(session, "integrity_check") == "ok"
        people.add(session, "test|after", "after", "viewer")


def test_rows_must_point_to_rows_that_are_there(database):
    insert = "INSERT INTO location (library_id, rel_path, video_id, seen_ms) VALUES (7, 'a', 7, 0)"
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.session() as session:
        session.execute(text(insert))


@pytest.mark.sqlite
def test_a_column_takes_only_its_own_type(database):
    """A numpy integer would otherwise be stored as bytes, and read as something else."""
    insert = "INSERT INTO library (root, name, created_ms) VALUES ('r', 'n', x'0100000000000000')"
    with pytest.raises(IntegrityError, match="cannot store BLOB value in INTEGER"), database.session() as session:
        session.execute(text(insert))


def test_an_error_text_shows_no_values(database):
    with pytest.raises(DBAPIError) as caught, database.session() as session:
        session.execute(text("SELECT nothing FROM app_user WHERE name = :name"), {"name": "a secret prompt"})
    assert "a secret prompt" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ((3, 36, 0), "refuse"), ((3, 40, 1), "warn"), ((3, 44, 5), "warn"), ((3, 44, 6), "ok"), ((3, 45, 0), "warn"),
        ((3, 50, 6), "warn"), ((3, 50, 7), "ok"), ((3, 51, 2), "warn"), ((3, 51, 3), "ok"), ((3, 52, 0), "warn"),
        ((3, 52, 1), "ok"),
    ],
)  # fmt: skip
def test_the_sqlite_library_is_judged_by_its_version(version, status):
    verdict = sqlite_verdict(version, fts5=True)
    assert verdict.status == status
    assert ".".join(map(str, version)) in verdict.text


def test_a_sqlite_library_without_full_text_search_is_refused():
    assert sqlite_verdict((3, 51, 3), fts5=False).status == "refuse"


def test_a_network_file_system_is_refused(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\n")
    assert dialect.file_system_of(tmp_path / "tempo.db", mounts) == "nfs4"
    assert dialect.file_system_of(tmp_path.parent / "tempo.db", mounts) == "ext4"
    with pytest.raises(DatabaseRefused, match=r"network file system \(nfs4\)"):
        dialect.refuse_unsafe(tmp_path, mounts)
