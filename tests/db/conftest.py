"""A real database file with people in it, and a shelf that fills it. Each test gets its own copy of a closed file."""

import shutil

import pytest
from shelf import Shelf

from db import bulk, datasets, people
from db.migrate import create_all
from db.pair_filters import PairFilter
from db.session import Database


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """Tables and three people."""
    path = tmp_path_factory.mktemp("empty") / "tempo.db"
    database = Database.open(path)
    create_all(database)
    shelf = Shelf(database, path.parent)
    shelf.person("Ada")
    shelf.person("Bob")
    database.close()
    return path


@pytest.fixture(scope="session")
def frozen_file(empty_file, tmp_path_factory):
    """Ten videos with two accepted pairs each, frozen as version 1."""
    path = tmp_path_factory.mktemp("frozen") / "tempo.db"
    shutil.copy(empty_file, path)
    database = Database.open(path)
    shelf = Shelf(database, path.parent)
    for video in "abcdefghij":
        shelf.pairs(2, video)
    me = shelf.look(people.local)
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    shelf.do(datasets.freeze, me, "first", held_out_share=0.2)
    database.close()
    return path


@pytest.fixture
def database(empty_file, tmp_path):
    shutil.copy(empty_file, tmp_path / "tempo.db")
    opened = Database.open(tmp_path / "tempo.db")
    yield opened
    opened.close()


@pytest.fixture
def shelf(database, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return Shelf(database, folder)


@pytest.fixture
def frozen(frozen_file, shelf):
    """The shelf's database, now with a frozen version; the version's id."""
    shelf.database.close()
    shutil.copy(frozen_file, shelf.database.path)
    shelf.folder = frozen_file.parent
    return 1


@pytest.fixture
def me(shelf):
    return shelf.look(people.local)


@pytest.fixture
def ada(shelf):
    return shelf.person("Ada")


@pytest.fixture
def bob(shelf):
    return shelf.person("Bob")
