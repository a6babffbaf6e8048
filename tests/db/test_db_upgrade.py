"""What survives: upgrades, backups, and a writer that is killed in the middle of its work."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from benchmarks.trust import databases, f01_killed_writer
from db import backup, migrate, people, reviews
from db.dialect import EXPRESSION_INDEXES, TRIGGERS, ensure_extras
from db.fingerprint import fingerprint
from db.reviews import ReviewItem
from db.session import Database
from db.tables import Base
from tempo_core.errors import DatabaseRefused
from tempo_core.settings import Home

pytestmark = pytest.mark.sqlite
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def upgraded_file(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("upgraded") / "home")
    assert migrate.upgrade(home) == migrate.Upgrade(None, migrate.HEAD)
    return home.database


@pytest.fixture
def upgraded(home, upgraded_file):
    """A home whose database was made by the revisions."""
    shutil.copy(upgraded_file, home.make().database)
    return home


def master(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_the_revisions_make_what_the_code_describes(upgraded, database):
    made = Database.open(upgraded.database)
    with made.session() as session:
        assert fingerprint(session.connection()) == migrate.expected_structure()
        ours = {
            "include_object": lambda _o, name, *_: not name.startswith("pair_fts") and name not in EXPRESSION_INDEXES
        }
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True, **ours})
        assert compare_metadata(context, Base.metadata) == []
    with database.session() as session:
        assert fingerprint(session.connection()) == migrate.expected_structure()
    made.close()


def test_the_known_head_is_the_newest_revision():
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_a_current_database_is_left_alone(upgraded):
    before = upgraded.database.read_bytes()
    assert migrate.upgrade(upgraded) == migrate.Upgrade(migrate.HEAD, migrate.HEAD)
    assert upgraded.database.read_bytes() == before
    assert list(upgraded.backups.iterdir()) == []


def test_a_current_database_costs_no_import_of_the_migration_tool(upgraded):
    script = (
        "import sys; from db import migrate; from tempo_core.settings import Home; from pathlib import Path;"
        "migrate.upgrade(Home(Path(sys.argv[1]))); print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(upgraded.root)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_lost_trigger_comes_back_with_a_backup_from_before(upgraded):
    with closing(sqlite3.connect(upgraded.database, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER review_no_update")
        connection.execute("UPDATE meta SET value = 'older' WHERE key = 'extras'")
    done = migrate.upgrade(upgraded)
    assert "review_no_update" in {name for _, name, _ in master(upgraded.database)}
    assert "review_no_update" not in {name for _, name, _ in master(done.backup)}


def test_extras_made_twice_are_the_same(upgraded):
    before = master(upgraded.database)
    opened = Database.open(upgraded.database)
    with opened.session() as session:
        ensure_extras(session.connection())
    opened.close()
    assert master(upgraded.database) == before
    assert set(TRIGGERS) <= {name for _, name, _ in before}


@pytest.mark.parametrize("sides", [2])
def test_two_programs_that_start_at_once_upgrade_once(home, sides):
    done, errors = [], []

    def start():
        try:
            done.append(migrate.upgrade(home))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(sides)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert sorted(str(one.before) for one in done) == [migrate.HEAD, "None"]


def test_a_newer_database_is_refused_in_plain_words(upgraded):
    with closing(sqlite3.connect(upgraded.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(DatabaseRefused, match=r"made by a newer version of TEMPO Studio \(revision 9999"):
        migrate.upgrade(upgraded)


@pytest.mark.parametrize(
    ("content", "words"), [(b"no database at all" * 100, "cannot be read"), (None, "not one of TEMPO")]
)
def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(home, content, words):
    home.make()
    if content is None:
        with closing(sqlite3.connect(home.database)) as connection:
            connection.execute("CREATE TABLE recipes (cake TEXT)")
    else:
        home.database.write_bytes(content)
    before = home.database.read_bytes()
    with pytest.raises(DatabaseRefused, match=words):
        migrate.upgrade(home)
    assert home.database.read_bytes() == before


def test_a_failing_upgrade_leaves_everything_as_it_was(upgraded):
    with closing(sqlite3.connect(upgraded.database, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE library ADD COLUMN surprise TEXT")
        connection.execute("DROP TRIGGER review_no_update")
        connection.execute("UPDATE meta SET value = 'older' WHERE key = 'extras'")
    before = master(upgraded.database)
    with pytest.raises(DatabaseRefused, match=r"library.*Nothing was changed. A backup from just before is"):
        migrate.upgrade(upgraded)
    assert master(upgraded.database) == before


def test_a_fingerprint_sees_a_lost_check_index_trigger_and_key(upgraded):
    opened = Database.open(upgraded.database)
    for change in ("DROP INDEX uq_response_recipe", "DROP TRIGGER pair_fts_update", "DROP INDEX uq_timeline_current"):
        with pytest.raises(KeyboardInterrupt), opened.session() as session:
            session.execute(text(change))
            assert fingerprint(session.connection()) != migrate.expected_structure()
            raise KeyboardInterrupt
    opened.close()


# ---- backups --------------------------------------------------------------------------------------------------------
def test_a_backup_beside_a_writer_is_whole_and_comes_back(shelf, me, tmp_path):
    first, second = shelf.pairs(2)
    shelf.do(reviews.decide, me, ReviewItem("kept", first, 1, "accept"))
    stop, written = threading.Event(), []

    def write():
        while not stop.is_set():
            shelf.person(f"p{len(written)}")
            written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    made = backup.make(shelf.database.path, tmp_path / "backups")
    stop.set()
    writer.join(60)
    shelf.do(reviews.decide, me, ReviewItem("lost", second, 1, "reject"))
    shelf.database.close()
    aside = backup.restore(made, shelf.database.path, tmp_path / "backups")
    assert [line.token for line in shelf.look(reviews.history, first)] == ["kept"]
    assert shelf.look(reviews.history, second) == []
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT count(*) FROM review").fetchone() == (2,)
    with pytest.raises(sqlite3.IntegrityError), closing(sqlite3.connect(shelf.database.path)) as connection:
        connection.execute("DELETE FROM review")


def test_a_damaged_backup_is_not_restored(shelf, tmp_path):
    made = backup.make(shelf.database.path, tmp_path / "backups")
    content = bytearray(made.read_bytes())
    content[8192:16384] = b"\x55" * 8192
    made.write_bytes(content)
    before = shelf.database.path.read_bytes()
    with pytest.raises(DatabaseRefused, match="damaged"):
        backup.restore(made, shelf.database.path, tmp_path / "backups")
    assert shelf.database.path.read_bytes() == before


def test_a_daily_backup_is_made_once_and_seven_are_kept(shelf, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 9):
        (folder / f"tempo-2020010{day}-000000-daily.db").write_bytes(b"")
    (folder / "tempo-20200101-000000-before-0001.db").write_bytes(b"")
    made = backup.daily(shelf.database.path, folder)
    assert backup.daily(shelf.database.path, folder) is None
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 8
    assert made.name in kept
    assert "tempo-20200101-000000-before-0001.db" in kept
    assert list(folder.glob("*.part*")) == []


# ---- kill -9 --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_a_writer_that_is_killed_loses_no_acknowledged_review(shelf, synchronous):
    """A few rounds; `make trust` has a hundred. Kills at different moments of the writes, never politely."""
    shelf.pairs(f01_killed_writer.N_PAIRS)
    lost, damaged = f01_killed_writer.killed(shelf.database.path, 4, synchronous, seed=1)
    assert lost.held and damaged.held, (lost.measured, damaged.measured)
    assert len(databases.tokens(shelf.database.path)) >= 4


def test_a_file_with_a_half_written_review_is_told_as_such(shelf):
    """The check itself can see what it looks for."""
    shelf.pair()
    assert databases.faults(shelf.database.path) == []
    with shelf.database.session() as session:
        session.execute(text("UPDATE pair SET version = 2"))
    assert databases.faults(shelf.database.path) == ["pair 1 is half written"]


def test_the_local_person_is_there_for_a_reader(upgraded):
    opened = Database.open(upgraded.database)
    with opened.reading() as session:
        assert people.local(session).role == "admin"
    opened.close()
