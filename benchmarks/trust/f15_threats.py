"""Threats T1 to T15: the tests that docs/threats.md names, run as they are."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks.trust.rows import Row, none_of
from tests.test_threats import ROOT, THREATS, rows

QUICK = ("T7", "T12")


def measure(scratch: Path, effort: float) -> list[Row]:
    """With little effort two threats only."""
    named = {threat: tests for threat, tests in rows().items() if effort >= 1 or threat in QUICK}
    wanted = list(dict.fromkeys(f"{file}::{name}" for tests in named.values() for file, name in tests))
    report = scratch / "report.xml"
    command = [sys.executable, "-m", "pytest", *wanted, "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    # Not in `scratch`, which is closed to the account that a Postgres server of theirs runs as.
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    outcome = outcomes(report)
    failed = {threat for threat, tests in named.items() if not all(_passed(outcome, *test) for test in tests)}
    told = f" ({', '.join(sorted(failed, key=THREATS.index))})" if failed else ""
    n, bad = sum(len(cases) for cases in outcome.values()), sum(not ok for cases in outcome.values() for ok in cases)
    return [
        none_of(f"threats with a test that did not pass{told}", len(failed), len(named), "threats"),
        none_of("of their tests that did not pass, or were skipped", bad, n, "tests"),
    ]


def outcomes(report: Path) -> dict[tuple[str, str], list[bool]]:
    """{(file, test): whether each of its cases passed}; a skipped one has shown nothing."""
    found: dict[tuple[str, str], list[bool]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        file = case.get("classname", "").replace(".", "/") + ".py"
        name = case.get("name", "").partition("[")[0]
        ok = not any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
        found.setdefault((file, name), []).append(ok)
    return found


def _passed(outcome: dict[tuple[str, str], list[bool]], file: str, name: str) -> bool:
    return bool(outcome.get((file, name))) and all(outcome[file, name])
