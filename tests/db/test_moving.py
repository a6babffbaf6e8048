"""A studio that outgrows its file: every row is in Postgres as it was, and goes on there; or nothing was changed."""

import shutil
import sqlite3
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import make_url

from benchmarks.trust import old_homes
from db import datasets, migrate, moving, pairs, people, reviews
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.session import Database
from db.tables import Base
from jobs.__main__ import main
from tempo_core.errors import DatabaseRefused, DatasetDrift, TempoError
from tempo_core.settings import Home

pytestmark = pytest.mark.postgres


@pytest.fixture
def frozen_home(home, frozen_file):
    shutil.copy(frozen_file, home.make().database)
    return home


def in_file(home):
    with closing(sqlite3.connect(home.database)) as opened:
        return {name: rows_of(opened, table) for name, table in Base.metadata.tables.items() if name != "meta"}


def on_server(home):
    with psycopg.connect(make_url(home.database_url).set(drivername="postgresql").render_as_string()) as opened:
        return {name: rows_of(opened, table) for name, table in Base.metadata.tables.items() if name != "meta"}


def rows_of(opened, table):
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return sorted(opened.execute(f'SELECT {names} FROM "{table.name}"').fetchall(), key=repr)


def test_a_studio_goes_on_where_it_was(frozen_home):
    before = in_file(frozen_home)
    moved = moving.to_server(frozen_home)
    assert on_server(frozen_home) == before == in_file(frozen_home)
    n_meta = moved.n_rows - sum(map(len, before.values()))
    assert n_meta > 0 and moved.n_tables == len(before) + 1 and "***" not in moved.target
    assert migrate.upgrade(frozen_home) == migrate.Upgrade(migrate.HEAD, migrate.HEAD)
    database = Database.of(frozen_home)
    with database.session() as session:
        (card,) = datasets.listing(session)
        assert datasets.verify(session, card.id) == card.content_sha256
        one = pairs.listed(session, PairFilter()).lines[0]
        assert one.id in [found.id for found in pairs.listed(session, PairFilter(search=one.chosen)).lines]
        reviews.decide(session, people.local(session), ReviewItem("after the move", one.id, one.version, "reject"))
    database.close()
    after = on_server(frozen_home)["review"]
    assert len(after) == len(before["review"]) + 1 and len({row[0] for row in after}) == len(after)


def test_rows_of_every_table_are_moved_as_they_are_from_an_earlier_file_too(home):
    plain = Home(home.root)
    old_homes.make(plain, old_homes.revisions()[-1])
    with closing(sqlite3.connect(plain.database)) as opened:
        # What is drawn has no true hash.
        opened.executescript(
            "DROP TRIGGER dataset_version_no_update; DROP TRIGGER dataset_item_no_delete;"
            "DELETE FROM dataset_item; UPDATE dataset_version SET frozen_ms = NULL"
        )
    moving.to_server(home)
    moved = on_server(home)
    assert moved == in_file(home)
    assert {name for name, rows in moved.items() if not rows} == {"dataset_item"}


def test_what_is_not_what_was_frozen_is_not_moved(frozen_home):
    with closing(sqlite3.connect(frozen_home.database)) as opened:
        opened.execute("UPDATE response SET text = text || '!'")
        opened.execute("UPDATE pair SET chosen = chosen || '!', rejected = rejected || '!'")
        opened.commit()
    with pytest.raises(DatasetDrift):
        moving.to_server(frozen_home)
    assert migrate.look(frozen_home)[0] is None


def test_a_database_that_is_used_is_not_written_over(frozen_home):
    migrate.upgrade(frozen_home)
    with pytest.raises(DatabaseRefused, match="holds a studio already"):
        moving.to_server(frozen_home)
    assert on_server(frozen_home)["pair"] == []


def test_a_file_that_is_open_is_not_moved(frozen_home):
    with closing(sqlite3.connect(frozen_home.database)) as opened:
        opened.execute("SELECT count(*) FROM pair").fetchone()
        with pytest.raises(DatabaseRefused, match="open in another program"):
            moving.to_server(frozen_home)
    assert migrate.look(frozen_home)[0] is None


def test_the_command_says_what_it_did_and_what_is_missing(frozen_home, monkeypatch, capsys):
    monkeypatch.setenv("TEMPO_HOME", str(frozen_home.root))
    monkeypatch.delenv("TEMPO_DATABASE_URL", raising=False)
    assert main(["move"]) == 2 and "TEMPO_DATABASE_URL=postgresql" in capsys.readouterr().err
    monkeypatch.setenv("TEMPO_DATABASE_URL", frozen_home.database_url)
    assert main(["move"]) == 0
    assert f"of {len(Base.metadata.tables)} tables are in " in capsys.readouterr().out
    assert main(["move"]) == 2 and "holds a studio already" in capsys.readouterr().err


def test_nothing_to_move_is_said(home):
    with pytest.raises(TempoError, match="to move"):
        moving.to_server(home)
