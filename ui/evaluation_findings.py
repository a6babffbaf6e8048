"""What the probes say in words, where their figures are shown: red, amber or fine, with the way out."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db import findings
from db.evaluations import EvaluationLine
from ui import state
from ui.text import escaped

LOOKS = {
    "red": (st.error, ":material/error:"),
    "amber": (st.warning, ":material/warning:"),
    "fine": (st.success, ":material/check_circle:"),
}


def show(lines: Sequence[EvaluationLine]) -> None:
    """A box for each finding that these figures give, the gravest first; nothing where they give none."""
    with state.database().reading() as session:
        found = findings.of_lines(session, lines)
    for told in found:
        draw, icon = LOOKS[told.finding.level]
        who = "Base" if told.run_id is None else f"Run {told.run_id}, {told.moment}"
        draw(f"**{escaped(who)}**: {escaped(told.finding.text, longest=600)}", icon=icon)
