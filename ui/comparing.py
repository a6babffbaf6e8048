"""Two stored evaluations beside each other, compared once and remembered: a bootstrap of many videos takes a while."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db import evaluations
from db.sheets import Checkpoint, Sheet
from tempo_core import comparisons
from tempo_core.comparisons import MEAN_OF_TASKS, Compared, NotPaired
from tempo_core.errors import TooFew
from tempo_core.types import ItemScore
from ui import state

Ids = tuple[int, ...]


def compared(sheet: Sheet, before: Checkpoint, after: Checkpoint, metric: str) -> Compared | str:
    """The difference in one figure of a sheet, or why there is none."""
    is_mean = metric.endswith(MEAN_OF_TASKS)
    names = comparisons.tasks_of(sheet.benchmark, metric, sheet.metrics) if is_mean else (metric,)
    lines = [[sheet.line(checkpoint, name) for name in names] for checkpoint in (before, after)]
    ids = [tuple(line.id for line in of if line is not None) for of in lines]
    if not names or any(len(of) != len(names) for of in ids):
        return "not measured on both"
    return _compared(str(state.home().root), ids[0], ids[1])


@st.cache_data(max_entries=2000, show_spinner="Resampling the videos ...")
def _compared(home: str, before: Ids, after: Ids) -> Compared | str:
    """Evaluations never change, so their ids are enough; several are the tasks of one mean."""
    first, second = _items(before), _items(after)
    if not all((*first, *second)):
        return "no single answers"
    try:
        if len(first) == 1:
            return comparisons.compare(first[0], second[0])
        return comparisons.compare_tasks(_by_task(first), _by_task(second))
    except (NotPaired, TooFew) as error:
        return str(error)


def _items(ids: Ids) -> list[tuple[ItemScore, ...]]:
    with state.database().reading() as session:
        return [evaluations.items(session, number) for number in ids]


def _by_task(found: Sequence[tuple[ItemScore, ...]]) -> dict[str, tuple[ItemScore, ...]]:
    return {f"{i:04}": items for i, items in enumerate(found)}
