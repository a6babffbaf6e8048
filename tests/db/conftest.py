"""A real database with people in it, and a shelf that fills it. Each test gets its own copy of a prepared one.

Every test of `engine` runs on SQLite and, marked `postgres`, on a Postgres server, and expects the same values of both.
What is about SQLite itself is marked `sqlite`, and what is long `long_on_postgres`: `make postgres` has that too.
"""

from itertools import count
from pathlib import Path

import pytest
from prepared import ENGINES, Databases, Files
from shelf import Shelf

from db import bulk, datasets, people
from db.migrate import create_all
from db.pair_filters import PairFilter
from db.session import Database
from tempo_core.settings import Home

NUMBERS = count()


def pytest_generate_tests(metafunc):
    if "engine" in metafunc.fixturenames:
        marked = {mark.name for mark in metafunc.definition.iter_markers()}
        if "long_on_postgres" in marked and "postgres" not in metafunc.config.option.markexpr:
            marked.add("sqlite")
        about = [name for name in ("sqlite", "postgres") if name in marked]
        metafunc.parametrize("engine", about or ENGINES, indirect=True, scope="session")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    made = Files(tmp_path_factory.mktemp("prepared"))
    made.fill("empty", three_people)
    return made


@pytest.fixture(scope="session")
def on_server(server):
    made = Databases(server)
    made.fill("empty", three_people)
    return made


@pytest.fixture(scope="session")
def engine(request):
    """Where databases are prepared; "empty" has tables and three people."""
    return request.getfixturevalue("files" if request.param == "sqlite" else "on_server")


@pytest.fixture
def home(server, tmp_path):
    """A home with no file, and an empty database on the server."""
    return Home(tmp_path, server.create(f"home_{next(NUMBERS)}"))


@pytest.fixture(scope="session")
def frozen_videos(tmp_path_factory):
    return tmp_path_factory.mktemp("frozen")


@pytest.fixture(scope="session")
def empty_file(files):
    return files.path("empty")


@pytest.fixture(scope="session")
def frozen_file(files, frozen_videos):
    """Ten videos with two accepted pairs each, frozen as version 1."""
    files.fill("frozen", lambda database: freeze(database, frozen_videos), "empty")
    return files.path("frozen")


def three_people(database):
    create_all(database)
    shelf = Shelf(database, Path())
    shelf.person("Ada")
    shelf.person("Bob")


def freeze(database, folder):
    shelf = Shelf(database, folder)
    for video in "abcdefghij":
        shelf.pairs(2, video)
    me = shelf.look(people.local)
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    shelf.do(datasets.freeze, me, "first", held_out_share=0.2)


@pytest.fixture
def base(engine, frozen_videos, request):
    """The name of what the test's database is a copy of. Files that prepare more of their own override it."""
    if "frozen" not in request.fixturenames:
        return "empty"
    engine.fill("frozen", lambda database: freeze(database, frozen_videos), "empty")
    return "frozen"


@pytest.fixture
def database(engine, base, tmp_path):
    opened = Database.open(engine.copy(base, tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def shelf(database, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return Shelf(database, folder)


@pytest.fixture
def frozen(frozen_videos, shelf):
    """The shelf's database has a frozen version; the version's id."""
    shelf.folder = frozen_videos
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
