"""Anything is killed at any time.

Cases A to J of the chaos matrix are the tests of tests/jobs/test_chaos.py, each several times; then everything at once
for minutes, killed at random (`make soak`), with the studio's own leases.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.trust.rows import Row, none_of
from benchmarks.trust.soak import Plan, soak
from benchmarks.trust.yard import ROOT
from tempo_core.settings import Home

CASES = "tests/jobs/test_chaos.py"
N_ROUNDS, MINUTES = 5, 5.0
"""About twelve minutes; `make soak` goes on for as long as it is asked."""


def measure(scratch: Path, effort: float) -> list[Row]:
    n_rounds = max(1, round(N_ROUNDS * effort))
    counted = [_round(scratch / f"round-{number}.xml") for number in range(n_rounds)]
    n_cases, n_wrong = (sum(values) for values in zip(*counted, strict=True))
    cases = none_of(f"cases A to J, {n_rounds} times each: not as they must end", n_wrong, n_cases, "cases")
    return [cases, *soak(Home(scratch / "soak"), Plan(max(0.2, MINUTES * effort), seed=time.time_ns() % 100_000))]


def _round(report: Path) -> tuple[int, int]:
    """(cases, those that failed) of one round, as pytest counts them; what did not run counts as failed."""
    command = [sys.executable, "-m", "pytest", CASES, "-q", f"--junitxml={report}"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    if suite is None:
        return 1, 1
    return int(suite.get("tests", 0)), sum(int(suite.get(what, 0)) for what in ("failures", "errors", "skipped"))
