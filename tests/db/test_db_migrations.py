"""Every revision, full of rows, becomes what a fresh database is, whatever moment it is killed at."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from benchmarks.trust import databases, old_homes
from db import backup, migrate
from db.dialect import EXPRESSION_INDEXES
from db.fingerprint import fingerprint
from db.session import Database
from db.tables import Base
from tempo_core.settings import Home

NO_UPDATE = ("review", "comment", "opinion", "guideline")


@pytest.fixture(scope="module", params=old_homes.revisions())
def old(request, tmp_path_factory):
    """(revision, home, its rows)"""
    home = Home(tmp_path_factory.mktemp(f"old{request.param}") / "home")
    return request.param, home, old_homes.make(home, request.param)


@pytest.fixture
def copied(old, tmp_path):
    revision, home, rows = old
    shutil.copytree(home.root, tmp_path / "home")
    return revision, Home(tmp_path / "home"), rows


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_an_upgraded_database_is_a_fresh_one_with_all_its_rows(copied):
    revision, home, rows = copied
    assert {"pair", "review", "dataset_item", "run", "metric", "job"} <= {
        name for name, (_, held) in rows.items() if held
    }
    done = migrate.upgrade(home)
    assert (done.before, done.after) == (revision, migrate.HEAD)
    assert old_homes.missing(rows, home.database) == [] and databases.faults(home.database) == []
    opened = Database.open(home.database)
    with opened.reading() as session:
        connection = session.connection()
        assert fingerprint(connection) == migrate.expected_structure()
        ours = {
            "include_object": lambda _o, name, *_: not name.startswith("pair_fts") and name not in EXPRESSION_INDEXES
        }
        context = MigrationContext.configure(connection, opts={"compare_type": True, **ours})
        assert compare_metadata(context, Base.metadata) == []
    opened.close()
    backup.check(done.backup)
    assert old_homes.missing(rows, done.backup) == []


def test_what_may_only_be_added_to_still_refuses_and_the_search_finds(copied):
    _, home, rows = copied
    migrate.upgrade(home)
    with closing(sqlite3.connect(home.database)) as connection:
        for table in set(NO_UPDATE) & set(rows):
            for act in (f"UPDATE {table} SET created_ms = 9", f"DELETE FROM {table}",
                        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"):  # fmt: skip
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(act)
        with pytest.raises(sqlite3.IntegrityError, match="frozen"):
            connection.execute("DELETE FROM dataset_item WHERE dataset_version_id = 1")
        found = connection.execute("SELECT rowid FROM pair_fts WHERE pair_fts MATCH 'responses AND 2'").fetchall()
        assert found == [(2,)]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A home of the first revision, its rows, and how many statements bring it up to date."""
    folder = tmp_path_factory.mktemp("first")
    home = Home(folder / "home")
    rows = old_homes.make(home, "0001")
    shutil.copytree(home.root, folder / "tried")
    return home, rows, old_homes.run(Home(folder / "tried"))


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 1])
def test_an_upgrade_that_is_killed_leaves_the_old_and_the_next_start_ends_well(first, tmp_path, share):
    """At the last statement too: what follows it is the one commit of all of it."""
    home, rows, n_statements = first
    shutil.copytree(home.root, tmp_path / "home")
    killed = Home(tmp_path / "home")
    was = old_homes.structure(killed)
    assert old_homes.run(killed, stop_at=int(share * (n_statements - 1))) is None
    assert old_homes.standing(killed, was) == "old"
    assert old_homes.faults(killed, rows) == [] and databases.faults(killed.database) == []
