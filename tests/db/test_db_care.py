"""Backups that come back, and a check that sees every way in which something may no longer be as it was written."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from db import backup, health, integrity, people, restoring, reviews
from db.migrate import HEAD, create_all
from db.reviews import ReviewItem
from db.session import Database
from db.tables import JobRow, MetaRow, ModelRow, RunRow, RunStageRow
from tempo_core.errors import DatabaseBusy, DatabaseRefused, TempoError
from tempo_core.settings import Home
from tempo_core.training import sealed


@pytest.fixture
def home(frozen_file, tmp_path):
    """A home with a frozen version in its database."""
    made = Home(tmp_path / "home").make()
    shutil.copy(frozen_file, made.database)
    return made


@pytest.fixture
def opened(home):
    database = Database.open(home.database)
    yield database
    database.close()


def by_hand(home, *statements):
    """What somebody does who opens the file with another tool."""
    with closing(sqlite3.connect(home.database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def reds(home, opened, **how):
    found = integrity.check(home, opened, tell=lambda _: None, **how)
    return {one.what: one.fact for one in found if one.level == "red"}


# ---- the check ------------------------------------------------------------------------------------------------------
def test_what_is_as_it_was_written_passes_the_check(home, opened):
    found = integrity.check(home, opened, deep=True, tell=lambda _: None)
    assert [one.what for one in found] == [
        "file", "search", "structure", "reviews", "frozen versions", "adapters and checkpoints", "exports",
    ]  # fmt: skip
    assert {one.level for one in found} == {"ok"}


@pytest.mark.parametrize(
    ("what", "told", "statements"),
    [
        ("reviews", "Pairs 3 changed without a review", ["UPDATE pair SET version = 7 WHERE id = 3"]),
        ("structure", "review_no_update", ["DROP TRIGGER review_no_update"]),
        ("structure", "pair differ", ["DROP INDEX ix_pair_page"]),
        ("search", "does not hold", ["DROP TRIGGER pair_fts_update", "UPDATE pair SET prompt = 'x' WHERE id = 2"]),
        ("frozen versions", "first 1 was frozen as", ["UPDATE plan SET clip_order = '[3,2,1,0]' WHERE id = 2"]),
        ("file", "rows point to rows that are not there", ["PRAGMA foreign_keys = OFF", "DELETE FROM prompt"]),
    ],
)  # fmt: skip
def test_the_check_sees_what_another_tool_did(home, opened, what, told, statements):
    opened.close()
    by_hand(home, *statements)
    found = reds(home, opened)
    assert told in found.get(what, ""), found


def test_the_check_sees_a_damaged_page(home, opened):
    opened.close()
    content = bytearray(home.database.read_bytes())
    content[8 * 4096 : 9 * 4096] = b"\x55" * 4096
    home.database.write_bytes(content)
    whole = integrity.file(home.database)
    assert whole.level == "red" and "is damaged" in whole.fact and "jobs restore FILE" in whole.way_out


def test_the_check_sees_an_adapter_that_is_gone_and_deeply_one_that_was_changed(home, opened):
    folder = home.runs / "1" / "links" / "1"
    sha256 = sealed.write(folder, lambda place: (place / "weights").write_bytes(b"12345678"), {"ordinal": 1})
    with opened.session() as session:
        session.add(ModelRow(id=1000, name="m", path="/m", family="tiny", files_sha256="f" * 64, created_ms=1))
        session.flush()
        session.add(
            RunRow(id=1, name="", recipe="sft", preset="embedded", base_model_id=1000, config={}, config_sha256="",
                   seed=0, code_version="", env={}, state="succeeded", created_by=1, created_ms=1)
        )  # fmt: skip
        session.flush()
        session.add(
            RunStageRow(run_id=1, ordinal=1, phase="sft", name="sft", levels=[], n_items=1, state="succeeded",
                        adapter="runs/1/links/1", manifest_sha256=sha256)
        )  # fmt: skip
    assert reds(home, opened, deep=True) == {}
    (folder / "weights").write_bytes(b"12345679")
    assert reds(home, opened) == {}
    assert "weights was changed" in reds(home, opened, deep=True)["adapters and checkpoints"]
    (folder / "weights").unlink()
    assert "run 1, 1: weights is gone" in reds(home, opened)["adapters and checkpoints"]


def test_no_snapshot_is_open_while_files_are_hashed(home, opened):
    """An open one would keep the log from being moved into the file for as long as that takes."""
    busy = []

    def tell(part):
        if part == "files":
            with opened.session() as session:
                session.execute(text("UPDATE meta SET value = 'now' WHERE key = 'upgraded_ms'"))
            with closing(sqlite3.connect(home.database, timeout=0.1)) as connection:
                busy.append(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])

    integrity.check(home, opened, tell=tell)
    assert busy == [0]


def test_what_a_check_came_to_is_remembered(opened):
    with opened.session() as session:
        health.keep_check(session, [health.Finding("search", "red", "x"), health.Finding("file", "ok", "y")])
    with opened.reading() as session:
        last = health.checked(session)
    assert [(one.what, one.level) for one in last] == [("search", "red")]
    assert last[0].fact.startswith("x (Checked ")


# ---- backups --------------------------------------------------------------------------------------------------------
def test_backups_are_known_by_their_names(home):
    labels = ("daily", "before-0005", "by-hand", "before-restore", "before-0005")
    made = [backup.make(home.database, home.backups, label) for label in labels]
    (home.backups / "tempo-mine.db").write_bytes(b"")
    assert sorted(kept.label for kept in backup.listing(home.backups)) == sorted(labels)
    assert {kept.path for kept in backup.listing(home.backups)} == set(made)


def test_the_daily_ones_make_room_and_those_before_an_upgrade_stay(home):
    home.backups.mkdir(exist_ok=True)
    for day in range(1, 10):
        shutil.copy(home.database, home.backups / f"tempo-2020010{day}-000000-daily.db")
    for name in ("tempo-20190101-000000-before-0002.db", "tempo-20190101-000000-by-hand.db"):
        shutil.copy(home.database, home.backups / name)
    backup.daily(home.database, home.backups)
    kept = [one.label for one in backup.listing(home.backups)]
    assert sorted(kept) == ["before-0002", "by-hand", *["daily"] * 7]


def test_what_a_killed_backup_left_is_taken_away_and_what_a_living_one_writes_is_not(home, monkeypatch):
    home.backups.mkdir(exist_ok=True)
    left, written = (home.backups / f"tempo-20200101-000000-daily.part{pid}" for pid in (2**22 + 1, 1))
    for part in (left, written):
        part.write_bytes(b"half")
    backup.make(home.database, home.backups)
    assert not left.exists() and written.exists()


def test_a_damaged_database_gives_no_backup_and_says_so(home):
    content = bytearray(home.database.read_bytes())
    content[8 * 4096 : 60 * 4096] = b"\x55" * 52 * 4096
    home.database.write_bytes(content)
    with pytest.raises(DatabaseRefused, match="damaged"):
        backup.make(home.database, home.backups)
    assert list(home.backups.iterdir()) == []


def test_a_locked_database_is_not_called_a_damaged_one(home, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(backup.sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.1}))
    with closing(connect(home.database, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy, match="locked by another program"):
            backup.check(home.database)
        with pytest.raises(DatabaseBusy, match="Another program holds it"):
            backup.make(home.database, home.backups)


def test_a_folder_that_cannot_be_written_to_is_named(home):
    home.backups.rmdir()
    home.backups.write_bytes(b"a file")
    with pytest.raises(TempoError, match="can be written to"):
        backup.make(home.database, home.backups)


# ---- bringing one back ----------------------------------------------------------------------------------------------
def test_what_would_be_lost_is_counted_by_kind_before_anything_is_done(home, opened):
    made = backup.make(home.database, home.backups)
    with opened.session() as session:
        me = people.local(session)
        reviews.decide(session, me, ReviewItem("later", 1, 2, "reject"))
        session.add(JobRow(kind="sleep", payload={}, needs="cpu", idempotency_key="k", created_by=1, created_ms=1))
    found = restoring.outlook(made, home.database)
    assert found.lost == {"reviews": 1, "jobs": 1} and not found.older


def test_the_same_number_in_another_history_is_another_row(home, opened):
    made = backup.make(home.database, home.backups)
    opened.close()
    by_hand(home, "DROP TRIGGER review_no_update", "UPDATE review SET created_ms = created_ms + 1 WHERE id < 4")
    assert restoring.outlook(made, home.database).lost == {"reviews": 3}


def test_a_database_that_somebody_has_open_is_not_replaced(home, opened):
    with opened.reading() as session:
        session.get(MetaRow, "extras")
    with pytest.raises(DatabaseRefused, match="is open in another program"):
        restoring.refuse_open(home.database)
    opened.close()
    restoring.refuse_open(home.database)


def test_a_restored_database_holds_what_the_backup_held_and_what_was_there_is_kept(home, opened):
    made = backup.make(home.database, home.backups)
    opened.close()
    by_hand(home, "UPDATE prompt SET template = 'changed later'")
    aside = backup.restore(made, home.database, home.backups)
    assert [kept.label for kept in backup.listing(home.backups) if kept.path == aside] == ["before-restore"]
    templates = []
    for path in (home.database, aside):
        with closing(sqlite3.connect(path)) as connection:
            templates.append({row[0] for row in connection.execute("SELECT template FROM prompt")})
    assert templates == [{"describe"}, {"changed later"}]
    again = Database.open(home.database)
    assert reds(home, again) == {}
    again.close()


def test_what_is_only_in_the_log_goes_with_the_file_that_is_set_aside(home):
    """The log of the old file, left beside the new one, would be read as its own."""
    made = backup.make(home.database, home.backups)
    writer = sqlite3.connect(home.database, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE prompt SET template = 'in the log'")
    for ending in ("", "-wal"):
        shutil.copy(f"{home.database}{ending}", f"{home.database}.copy{ending}")
    writer.close()
    for ending in ("", "-wal"):
        shutil.move(f"{home.database}.copy{ending}", f"{home.database}{ending}")
    aside = backup.restore(made, home.database, home.backups)
    with closing(sqlite3.connect(home.database)) as new, closing(sqlite3.connect(aside)) as old:
        assert new.execute("SELECT template FROM prompt").fetchone() == ("describe",)
        assert old.execute("SELECT template FROM prompt").fetchone() == ("in the log",)


def test_a_bare_copy_of_a_database_comes_back_with_what_is_only_in_its_log(home, tmp_path):
    bare = tmp_path / "bare.db"
    with closing(sqlite3.connect(home.database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE prompt SET template = 'in the log'")
        for ending in ("", "-wal"):
            shutil.copy(f"{home.database}{ending}", f"{bare}{ending}")
    backup.restore(bare, home.database, home.backups)
    with closing(sqlite3.connect(home.database)) as restored:
        assert restored.execute("SELECT template FROM prompt").fetchone() == ("in the log",)


def test_a_restore_that_fails_says_why_and_changes_nothing(home, tmp_path):
    made = backup.make(home.database, home.backups)
    before, taken = home.database.read_bytes(), tmp_path / "a file"
    taken.write_bytes(b"")
    with pytest.raises(TempoError, match=r"Bringing back .* failed"):
        backup.restore(made, home.database, taken)
    assert home.database.read_bytes() == before
    assert [path.name for path in home.root.iterdir() if path.name.startswith("tempo.")] == ["tempo.db"]


def test_what_an_earlier_version_did_not_know_is_not_lost(home):
    made = backup.make(home.database, home.backups)
    by_hand(home, "DROP TABLE experiment", "UPDATE job SET created_ms = 1")
    assert restoring.outlook(made, home.database).lost == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "made by a newer version"),
        ("DROP TABLE alembic_version", "not one of TEMPO Studio"),
    ],
)
def test_a_backup_that_this_program_cannot_read_is_refused(home, change, words):
    made = backup.make(home.database, home.backups)
    with closing(sqlite3.connect(made)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(DatabaseRefused, match=words):
        restoring.outlook(made, home.database)


def test_an_empty_studio_has_an_empty_outlook(tmp_path, home):
    fresh = Database.open(tmp_path / "fresh.db")
    create_all(fresh)
    fresh.close()
    found = restoring.outlook(tmp_path / "fresh.db", tmp_path / "none.db")
    assert (found.lost, found.revision) == ({}, HEAD)
