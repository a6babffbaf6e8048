"""What all pairs are found by, as columns in memory: a list of 100,000 is filtered, counted and ranked in milliseconds.

A pair keeps everything it was made with; its status changes only with a review, and reviews are append-only. So the
columns are read once (from an index without texts) and then brought up to date by what came since: new pairs, and the
pairs of new reviews. Anything else (a restored file, a deleted row) is seen by the number and the last of both, and
they are read again.

Only snapshots share them: a transaction that writes might still be rolled back, so it reads columns of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, Select, func, or_, select
from sqlalchemy.orm import Session

from db.level_cuts import checked, n_below
from db.tables import FilterResultRow, PairRow, ReviewRow

STATUSES = ("pending", "accepted", "rejected", "flagged", "filtered")
NOT_REVIEWED, ONE_BY_ONE, BULK = 0, 1, 2
KEPT_LEVELS = 16
"""Sets of thresholds whose levels are remembered."""

Mask = NDArray[np.bool_]
Numbers = NDArray[Any]


@dataclass(frozen=True)
class PairColumns:
    """Every pair, by id; all arrays have shape (n,). Codes index the tuples of words; -1 and NaN stand for NULL."""

    ids: Numbers
    status: Numbers
    """Codes of STATUSES."""
    kind: Numbers
    magnitude: Numbers
    model_id: Numbers
    input: Numbers
    difficulty: Numbers
    length_ratio: Numbers
    video_id: Numbers
    made: Numbers
    """How the newest review was made: NOT_REVIEWED, ONE_BY_ONE or BULK."""
    edited: Mask
    failed: Numbers
    """One bit for each of `rules` that the pair failed."""
    kinds: tuple[str, ...]
    inputs: tuple[str, ...]
    rules: tuple[str, ...]
    seen: _Seen

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def by_difficulty(self) -> Numbers:
        """Places of all pairs, hardest first; equals by id, unmeasured last."""
        return np.lexsort((self.ids, -np.nan_to_num(self.difficulty, nan=-1.0)))

    @cached_property
    def ranked(self) -> dict[str, Numbers]:
        """The difficulties of each kind that has any, rising: of measured pairs that no rule refused."""
        counted = (self.status != STATUSES.index("filtered")) & ~np.isnan(self.difficulty)
        of_kind = {kind: self.difficulty[counted & (self.kind == i)] for i, kind in enumerate(self.kinds)}
        return {kind: np.sort(values) for kind, values in sorted(of_kind.items()) if len(values)}

    def percentiles(self) -> Numbers:
        """Rank inside the kind, 0 = the easiest, as `percent_rank()` gives it; NaN for a pair that has none."""
        found = np.full(len(self), np.nan)
        for kind, values in self.ranked.items():
            ours = self._in_rank(kind)
            found[ours] = np.searchsorted(values, self.difficulty[ours], "left") / max(1, len(values) - 1)
        return found

    @cached_property
    def hits(self) -> dict[str, Numbers]:
        """Places of all hits of a search, rising, by its words (`pair_masks.every_hit`)."""
        return {}

    @cached_property
    def _levels(self) -> dict[tuple[float, ...], Numbers]:
        return {}

    def levels(self, thresholds: tuple[float, float, float]) -> Numbers:
        """1 to 4 by thresholds on the percentile; 0 for a pair that has no level."""
        if thresholds not in self._levels:
            if len(self._levels) >= KEPT_LEVELS:
                self._levels.clear()
            self._levels[thresholds] = self._leveled(thresholds)
        return self._levels[thresholds]

    def _leveled(self, thresholds: tuple[float, float, float]) -> Numbers:
        found = np.zeros(len(self), np.int8)
        for kind, values in self.ranked.items():
            ours = self._in_rank(kind)
            easier = np.searchsorted(values, self.difficulty[ours], "left")
            below = [n_below(cut, len(values)) for cut in checked(thresholds)]
            found[ours] = 1 + sum((easier >= m).astype(np.int8) for m in below)
        return found

    def _in_rank(self, kind: str) -> Mask:
        counted = (self.status != STATUSES.index("filtered")) & ~np.isnan(self.difficulty)
        ours: Mask = counted & (self.kind == self.kinds.index(kind))
        return ours

    def places(self, pair_ids: Iterable[int]) -> Numbers:
        """Where these pairs stand; unknown ones are left out."""
        asked = np.fromiter(pair_ids, np.int64)
        if not len(self):
            return np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.ids, asked), len(self) - 1)
        known: Numbers = at[self.ids[at] == asked]
        return known

    def only(self, pair_ids: Iterable[int]) -> Mask:
        found = np.zeros(len(self), bool)
        found[self.places(pair_ids)] = True
        return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """Up to where the database was read: number and last of the pairs, last of the reviews."""

    n_pairs: int = 0
    pair: tuple[int, str] = (0, "")
    review: tuple[int, str] = (0, "")


_kept: WeakKeyDictionary[Engine, PairColumns] = WeakKeyDictionary()
_lock = Lock()


def columns(session: Session) -> PairColumns:
    """The columns as this snapshot sees them."""
    engine, now = session.connection().engine, _look(session)
    if not _is_snapshot(session):
        return _all(session, now)
    with _lock:
        known = _kept.get(engine)
        if known is None or known.seen != now:
            known = _caught_up(session, known, now) if known is not None else None
            known = known or _all(session, now)
            _kept[engine] = known
        return known


def _is_snapshot(session: Session) -> bool:
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return bool(connection.exec_driver_sql("PRAGMA query_only").scalar())
    return bool(connection.get_execution_options().get("postgresql_readonly"))


def _look(session: Session) -> _Seen:
    cursor = session.connection().connection.cursor()
    try:
        cursor.execute(_LOOK)
        n, pair_id, uid, review_id, token = cursor.fetchone() or (0, None, None, None, None)
    finally:
        cursor.close()
    return _Seen(n, (pair_id or 0, uid or ""), (review_id or 0, token or ""))


_LAST_PAIR, _LAST_REVIEW = "(SELECT max(id) FROM pair)", "(SELECT max(id) FROM review)"
_LOOK = (
    f"SELECT (SELECT count(*) FROM pair), {_LAST_PAIR}, (SELECT uid FROM pair WHERE id = {_LAST_PAIR}), "
    f"{_LAST_REVIEW}, (SELECT token FROM review WHERE id = {_LAST_REVIEW})"
)
"""Asked before every list, so by the driver alone: a few index look-ups."""


def _caught_up(session: Session, known: PairColumns, now: _Seen) -> PairColumns | None:
    """What came since; None where something else happened too."""
    p, r, before = PairRow, ReviewRow, known.seen
    n_new = session.execute(select(func.count()).select_from(p).where(p.id > before.pair[0])).scalar_one()
    same_pair = select(p.uid).where(p.id == before.pair[0])
    same_review = select(r.token).where(r.id == before.review[0])
    if (
        now.n_pairs != before.n_pairs + n_new
        or (before.n_pairs and session.execute(same_pair).scalar_one_or_none() != before.pair[1])
        or (before.review[0] and session.execute(same_review).scalar_one_or_none() != before.review[1])
    ):
        return None
    return _reviewed(session, _with_new(session, known) if n_new else known, now)


def _all(session: Session, now: _Seen) -> PairColumns:
    none, real = np.empty(0, np.int64), np.empty(0)
    codes = np.empty(0, np.int8)
    nothing = PairColumns(
        none, codes, codes, none, none, codes, real, real, none, codes, np.empty(0, bool), none, (), (), (), _Seen()
    )
    return _reviewed(session, _with_new(session, nothing), now)


def _with_new(session: Session, known: PairColumns) -> PairColumns:
    """With the pairs made since, as they stand now."""
    p, first = PairRow, int(known.ids[-1]) + 1 if len(known) else 0
    asked: tuple[Any, ...] = (
        p.id, p.status, p.kind, p.magnitude, p.model_id, p.input, p.difficulty, p.length_ratio, p.video_id,
    )  # fmt: skip
    rows = _rows(session, select(*asked).where(p.id >= first).order_by(p.id))
    if not rows:
        return known
    ids, status, kind, magnitude, model_id, asked_on, hard, ratio, video_id = zip(*rows, strict=True)
    kinds, inputs = _words(known.kinds, kind), _words(known.inputs, asked_on)
    new_ids = np.asarray(ids, np.int64)
    rules, failed = _failures(session, known.rules, new_ids)
    return replace(
        known,
        ids=_joined(known.ids, new_ids),
        status=_joined(known.status, _codes(STATUSES, status)),
        kind=_joined(known.kind, _codes(kinds, kind)),
        magnitude=_joined(known.magnitude, _whole(magnitude)),
        model_id=_joined(known.model_id, _whole(model_id)),
        input=_joined(known.input, _codes(inputs, asked_on)),
        difficulty=_joined(known.difficulty, np.asarray(hard, np.float64)),
        length_ratio=_joined(known.length_ratio, np.asarray(ratio, np.float64)),
        video_id=_joined(known.video_id, np.asarray(video_id, np.int64)),
        made=_joined(known.made, np.zeros(len(rows), np.int8)),
        edited=_joined(known.edited, np.zeros(len(rows), bool)),
        failed=_joined(known.failed, failed),
        kinds=kinds,
        inputs=inputs,
        rules=rules,
    )


def _reviewed(session: Session, known: PairColumns, now: _Seen) -> PairColumns:
    """With what the reviews since then changed."""
    r, p, since = ReviewRow, PairRow, known.seen.review[0]
    changed = or_(r.edited_chosen.is_not(None), r.edited_rejected.is_not(None))
    # Right after all pairs were read, their statuses are known.
    older = known.seen.n_pairs > 0
    columns: tuple[Any, ...] = (r.pair_id, r.bulk.is_not(None), changed, *((p.status,) if older else ()))
    query = select(*columns).where(r.id > since).order_by(r.id)
    rows = _rows(session, query.join(p, p.id == r.pair_id) if older else query)
    if not rows:
        return replace(known, seen=now)
    pair_ids, bulk, edited, *statuses = zip(*rows, strict=True)
    at = np.searchsorted(known.ids, np.asarray(pair_ids, np.int64))
    status, made, touched = known.status.copy(), known.made.copy(), known.edited.copy()
    # The rows are in order, and of several values for one place the last one stays.
    if statuses:
        status[at] = _codes(STATUSES, statuses[0])
    made[at] = np.where(np.asarray(bulk, bool), BULK, ONE_BY_ONE)
    touched[at[np.asarray(edited, bool)]] = True
    fresh = replace(known, status=status, made=made, edited=touched, seen=now)
    return _keeping_ranks(known, fresh)


def _keeping_ranks(known: PairColumns, fresh: PairColumns) -> PairColumns:
    """Decisions move no ranks and change no texts: what was sorted and found stays."""
    for name in ("by_difficulty", "ranked", "_levels", "hits"):
        if name in known.__dict__:
            fresh.__dict__[name] = known.__dict__[name]
    return fresh


def _failures(session: Session, rules: tuple[str, ...], new_ids: Numbers) -> tuple[tuple[str, ...], Numbers]:
    """The rules that some pair failed, and of each new pair the bits of those that it failed."""
    f, name = FilterResultRow, session.execute(select(func.min(FilterResultRow.name))).scalar_one()
    found, known = np.zeros(len(new_ids), np.int64), list(rules)
    while name is not None:
        failing = select(f.pair_id).where(f.name == name, f.passed == False, f.pair_id >= int(new_ids[0]))  # noqa: E712
        ids = np.asarray([row[0] for row in _rows(session, failing)], np.int64)
        if len(ids):
            if name not in known:
                known.append(name)
            found[np.searchsorted(new_ids, ids)] |= 1 << known.index(name)
        name = session.execute(select(func.min(f.name)).where(f.name > name)).scalar_one()
    return tuple(known), found


def _rows(session: Session, query: Select[Any]) -> list[tuple[Any, ...]]:
    """Rows as the driver gives them: 100,000 of SQLAlchemy's own cost a second. The query binds numbers only."""
    connection = session.connection()
    sql = str(query.compile(connection.engine, compile_kwargs={"literal_binds": True}))
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _joined(before: Numbers, new: Numbers) -> Numbers:
    return np.concatenate([before, new.astype(before.dtype, copy=False)])


def _words(known: tuple[str, ...], values: Sequence[str | None]) -> tuple[str, ...]:
    return (*known, *sorted({value for value in values if value is not None} - set(known)))


def _codes(words: Sequence[str], values: Sequence[str | None]) -> Numbers:
    number = {word: i for i, word in enumerate(words)}
    return np.fromiter((-1 if value is None else number[value] for value in values), np.int8, len(values))


def _whole(values: Sequence[int | None]) -> Numbers:
    return np.fromiter((-1 if value is None else value for value in values), np.int64, len(values))


def finite(value: float) -> float | None:
    return None if math.isnan(value) else value
