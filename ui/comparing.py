"""Two evaluations of the same questions beside each other: did it change, and can one tell?"""

from __future__ import annotations

import streamlit as st

from db import evaluations
from tempo_core import statistics
from ui import state


@st.cache_data(max_entries=500, show_spinner=False)
def change(before_id: int, after_id: int) -> str:
    """The difference with its 95 % interval and verdict in words; empty where the questions differ."""
    with state.database().reading() as session:
        before, after = evaluations.items(session, before_id), evaluations.items(session, after_id)
    if not before or [item.item for item in before] != [item.item for item in after]:
        return ""
    values = [[item.correct or 0.0 for item in items] for items in (before, after)]
    found = statistics.paired_bootstrap(values[0], values[1], [item.group for item in before])
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}] {found.verdict}"
