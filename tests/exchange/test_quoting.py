"""What leaves as CSV is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from tempo_core.exchange.quoting import csv_cell
from ui import experiment_result

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠1",
    '=HYPERLINK("http://e","x")',
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_of_a_csv_file_begins_like_a_formula(text):
    marked = "'" + text.replace("\r", "\n")
    written = experiment_result.as_csv([{"arm": text, "change": -0.5}])
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert csv_cell(text) == row["arm"] == marked and row["change"] == "-0.5"


def test_a_carriage_return_begins_no_row_of_its_own():
    written = experiment_result.as_csv([{"arm": "harmless\r=1+1", "change": 0.0}])
    assert [row["arm"] for row in csv.DictReader(io.StringIO(written, newline=""))] == ["harmless\n=1+1"]


@pytest.mark.parametrize("value", [-1, -0.5, None, "", "l1", "a=b", "'quoted"])
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert csv_cell(value) == value
