"""A real queue, a real worker and real processes, with short leases."""

import os
import signal

import pytest
from prepared import ENGINES, Databases
from sqlalchemy import select

from benchmarks.trust import yard as yards
from db.tables import WorkerRow
from jobs import processes
from tempo_core.settings import Home


def pytest_generate_tests(metafunc):
    """The queue's own rules hold on both engines."""
    if metafunc.module.__name__.endswith("test_queue") and "yard" in metafunc.fixturenames:
        about_sqlite = metafunc.definition.get_closest_marker("sqlite")
        metafunc.parametrize("yard", ENGINES[:1] if about_sqlite else ENGINES, indirect=True)


@pytest.fixture(scope="session")
def queues(server):
    made = Databases(server)
    made.fill("queue")
    return made


@pytest.fixture
def yard(tmp_path, request):
    on_server = getattr(request, "param", "sqlite") == "postgres"
    url = request.getfixturevalue("queues").copy("queue", tmp_path) if on_server else None
    with yards.opened(Home(tmp_path, url)) as opened:
        yield opened


@pytest.fixture
def shell(yard, monkeypatch):
    """A yard as the command line finds it through the environment; ends the worker that it starts."""
    for name in ("TEMPO_HOME", "TEMPO_LEASE_S", "TEMPO_POLL_S"):
        monkeypatch.setenv(name, yard.environment()[name])
    yield yard
    with yard.database.reading() as session:
        # Also one whose lease is late.
        worker = session.scalars(select(WorkerRow)).first()
    if worker is not None and processes.alive(worker.pid, worker.pid_started):
        os.kill(worker.pid, signal.SIGTERM)
