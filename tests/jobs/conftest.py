"""A real queue, a real worker and real processes, with short leases."""

import pytest

from benchmarks.trust import yard as yards
from tempo_core.settings import Home


@pytest.fixture
def yard(tmp_path):
    with yards.opened(Home(tmp_path)) as opened:
        yield opened
