"""For the whole suite: files that take minutes are given out first, so that neither of two processes ends early."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from benchmarks.trust.postgres_server import NoServer, Server
from tempo_core.settings import Home

# Before torch is imported, and for children too: threads of several processes that wait for each other took three times
# the CPU time on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LONGEST_FIRST = ("test_first_run.py", "tests/browser/", "tests/training/", "test_chaos.py", "tests/video_llms/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((i for i, part in enumerate(LONGEST_FIRST) if part in item.nodeid), len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def done_once(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A studio in which every step has happened once; copy it, never write into it."""
    from tests.pages import finished  # most tests need none of it

    made = Home(tmp_path_factory.mktemp("finished") / "home")
    finished.fill(made)
    return made


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A Postgres server of this process alone."""
    try:
        started = Server.start()
    except NoServer as error:
        pytest.skip(str(error))
    yield started
    started.stop()
