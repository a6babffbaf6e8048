"""A filter over the columns of all pairs. It means the same as `pair_filters.where`; a test holds the two together.

Full text is asked of the search table. A word that very many pairs hold is followed for its first hits only, where all
of them would have to be read; who shows such numbers says so.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from db import pair_filters, withdrawals
from db.pair_columns import BULK, ONE_BY_ONE, STATUSES, Mask, Numbers, PairColumns
from db.pair_filters import BEFORE, LEVEL_OF_MAGNITUDE, PairFilter
from db.tables import PairScoreRow

MOST_HITS = 10_000
"""Of a search, counted and ranked; our choice: enough to judge a filter by, and read within 10 ms."""

KEPT_SEARCHES = 16
"""Searches whose hits are all remembered, 800 kB each at most with 100,000 pairs."""


def chosen(session: Session, columns: PairColumns, wanted: PairFilter) -> Mask:
    """Which pairs the filter holds, of a search among its first hits only."""
    return both(columns, [*parts(session, columns, wanted).values(), *searched(session, columns, wanted)[0]])


def both(columns: PairColumns, masks: list[Mask]) -> Mask:
    return reduce(np.logical_and, masks, np.ones(len(columns), bool))


def searched(session: Session, columns: PairColumns, wanted: PairFilter) -> tuple[list[Mask], bool]:
    """The hits of the filter's search, if it has one, and whether there are more."""
    if not wanted.search.strip():
        return [], False
    if (known := columns.hits.get(wanted.search)) is not None:
        found = np.zeros(len(columns), bool)
        found[known[:MOST_HITS]] = True
        return [found], len(known) > MOST_HITS
    hits = search(session, wanted.search, limit=MOST_HITS + 1)
    return [columns.only(hits[:MOST_HITS])], len(hits) > MOST_HITS


def search(session: Session, words: str, *, beyond: int = 0, limit: int, backwards: bool = False) -> list[int]:
    """Ids of pairs that hold the words, in order of id from the one after (backwards: before) `beyond`."""
    side = beyond > pair_filters.HIT if backwards else beyond < pair_filters.HIT
    query = select(pair_filters.HIT).select_from(pair_filters.FTS).where(pair_filters.matching(words), side)
    order = pair_filters.HIT.desc() if backwards else pair_filters.HIT
    return list(session.execute(query.order_by(order).limit(limit)).scalars())


def every_hit(session: Session, columns: PairColumns, words: str) -> Numbers:
    """Places of all pairs that hold the words. Kept with the columns: what pairs were made with does not change."""
    if words not in columns.hits:
        if len(columns.hits) >= KEPT_SEARCHES:
            columns.hits.clear()
        # One text instead of 100,000 rows: three times as fast.
        joined = select(func.aggregate_strings(cast(pair_filters.HIT, Text), ",")).select_from(pair_filters.FTS)
        text = session.execute(joined.where(pair_filters.matching(words))).scalar_one() or ""
        ids = np.fromstring(text, np.int64, sep=",")
        columns.hits[words] = np.sort(columns.places(ids))
    return columns.hits[words]


def parts(session: Session, columns: PairColumns, wanted: PairFilter) -> dict[str, Mask]:
    """The filter by its fields, without its search."""
    c, found = columns, dict[str, Mask]()
    if wanted.status is not None:
        found["status"] = c.status == STATUSES.index(wanted.status)
    if wanted.kinds:
        found["kinds"] = np.isin(c.kind, [c.kinds.index(kind) for kind in wanted.kinds if kind in c.kinds])
    if wanted.magnitudes:
        found["magnitudes"] = np.isin(c.magnitude, wanted.magnitudes)
    if wanted.levels:
        found["levels"] = np.isin(levels(columns, wanted), wanted.levels)
    if wanted.model_id is not None:
        found["model_id"] = c.model_id == wanted.model_id
    if wanted.input is not None:
        found["input"] = c.input == (c.inputs.index(wanted.input) if wanted.input in c.inputs else -2)
    if wanted.rule is not None:
        found["rule"] = failing(columns, wanted.rule)
    if wanted.edited is not None:
        found["edited"] = c.edited == wanted.edited
    if wanted.by is not None:
        found["by"] = made(columns, wanted.by)
    for name, values, asked in (("difficulty", c.difficulty, wanted.difficulty),
                                ("length_ratio", c.length_ratio, wanted.length_ratio)):  # fmt: skip
        if asked is not None:
            found[name] = (values >= asked[0]) & (values <= asked[1])
    if wanted.video_id is not None:
        found["video_id"] = c.video_id == wanted.video_id
    if wanted.ids:
        found["ids"] = c.only(wanted.ids)
    if wanted.margin is not None:
        found["margin"] = c.only(_scored(session, wanted))
    if wanted.withdrawn != "too":
        gone = withdrawn(session, columns)
        found["withdrawn"] = gone if wanted.withdrawn == "only" else ~gone
    return found


def levels(columns: PairColumns, wanted: PairFilter) -> Numbers:
    """1 to 4 as this filter cuts them; 0 for none."""
    if wanted.axis != "paper":
        return columns.levels(wanted.thresholds)
    found = np.zeros(len(columns), np.int8)
    for magnitude, level in LEVEL_OF_MAGNITUDE.items():
        found[columns.magnitude == magnitude] = level
    found[columns.status == STATUSES.index("filtered")] = 0
    return found


def failing(columns: PairColumns, rule: str) -> Mask:
    bit = 1 << columns.rules.index(rule) if rule in columns.rules else 0
    return np.asarray(columns.failed & bit, bool)


def made(columns: PairColumns, by: str) -> Mask:
    """Decided pairs whose newest review was made in bulk, or by a person one by one."""
    decided = [STATUSES.index(status) for status in ("accepted", "rejected", "flagged")]
    found: Mask = (columns.made == (BULK if by == "bulk" else ONE_BY_ONE)) & np.isin(columns.status, decided)
    return found


def withdrawn(session: Session, columns: PairColumns) -> Mask:
    video_ids = list(session.execute(withdrawals.withdrawn_ids()).scalars())
    return np.isin(columns.video_id, video_ids) if video_ids else np.zeros(len(columns), bool)


def _scored(session: Session, wanted: PairFilter) -> Any:
    s = PairScoreRow
    margin = s.margin.between(*(wanted.margin or (0, 0)))
    return session.execute(
        select(s.pair_id).where(s.run_id == wanted.run_id, s.moment == BEFORE, margin)
    ).scalars().all()  # fmt: skip
