"""The measurement of the desk runs, and what it counts is counted right. What it times is never asserted."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks import review
from benchmarks.desk import home as homes
from benchmarks.desk import parts, playing


def test_a_burst_is_counted_in_rows_of_the_database(browser: Browser, tmp_path: Path):
    home = homes.build(tmp_path, 4, 40, homes.SMALL)
    found = parts.burst(parts.Bench(browser, home, tmp_path, quick=True))
    assert found["burst_stored"] == found["burst_keys"] == 12
    assert found["burst_in_order"] and found["burst_twice"] == 0


def test_a_missed_target_is_told():
    assert review.line("key_to_pair_p50_ms", 61.0).endswith("<= 60   MISSED")
    assert review.line("key_to_pair_p50_ms", 59.0).endswith("<= 60")
    assert review.line("burst_stored", 59).endswith("MISSED")


def test_players_are_apart_by_what_they_show():
    shown = playing.Shown(1, playing.Fraction(25), tuple([*range(50, 75), *range(25)]), ((50, 75), (0, 25)))
    # The left one is at 0.5 s; the right one, which began with frame 50, at 0.52 s of its own order.
    assert playing._apart([[0, 0.5, 2.52, False, False, False, False]], shown, "time") == [pytest.approx(20)]
