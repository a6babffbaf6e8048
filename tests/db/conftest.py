"""A real database file with people in it, and a shelf that fills it."""

import pytest
from shelf import Shelf

from db import people
from db.migrate import create_all
from db.session import Database


@pytest.fixture
def database(tmp_path):
    opened = Database.open(tmp_path / "tempo.db")
    create_all(opened)
    yield opened
    opened.close()


@pytest.fixture
def shelf(database, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    made = Shelf(database, folder)
    made.people = {"me": made.do(people.local), "ada": made.person("Ada"), "bob": made.person("Bob")}
    return made


@pytest.fixture
def me(shelf):
    return shelf.people["me"]


@pytest.fixture
def ada(shelf):
    return shelf.people["ada"]


@pytest.fixture
def bob(shelf):
    return shelf.people["bob"]
