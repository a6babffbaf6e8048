"""Where levels begin, as raw difficulties of each kind: a level is a range of an index, not a ranking of every pair.

A pair's percentile is (number of easier pairs of its kind) / (n - 1), as `percent_rank()` gives it. So it lies below a
cut exactly if fewer than m pairs are easier, m being the smallest count whose percentile is not below the cut; that
holds for every difficulty up to the m-th smallest, and for none above it. Two short looks into an index find it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, false, func, or_, select
from sqlalchemy.orm import Session

from db.tables import PairRow
from tempo_core.errors import BadThresholds

QUARTERS = (0.25, 0.5, 0.75)
LEVELS = (1, 2, 3, 4)
KEPT = 64
"""Results that are remembered. Each is a few numbers."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Of each kind the highest difficulty below each threshold; None where no pair lies below it."""

    of_kind: dict[str, tuple[float | None, float | None, float | None]]

    def range_of(self, kind: str, level: int) -> tuple[float | None, float | None] | None:
        """(above, up to) of a level; None at an end means no bound, None for the range that it is empty."""
        tops = self.of_kind[kind]
        if level < 4 and tops[level - 1] is None:
            return None
        return (None if level == 1 else tops[level - 2]), (None if level == 4 else tops[level - 1])

    def level(self, kind: str, difficulty: float) -> int:
        """The level of a measured pair that no rule refused."""
        return 1 + sum(top is None or difficulty > top for top in self.of_kind[kind])


def checked(thresholds: tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = thresholds
    if not 0 <= first <= second <= third <= 1:
        raise BadThresholds(
            f"Thresholds {first:g}, {second:g}, {third:g} cross or leave 0..1. Each must be at least the one before."
        )
    return first, second, third


def cuts(session: Session, thresholds: tuple[float, float, float] = QUARTERS) -> Cuts:
    """Found once per set of pairs: what is ranked changes only when pairs are made, never by a decision."""
    asked, bind = checked(thresholds), session.get_bind()
    n = session.execute(select(func.count()).select_from(PairRow)).scalar_one()
    last = session.execute(select(PairRow.id, PairRow.uid).order_by(PairRow.id.desc()).limit(1)).first()
    key = (str(bind.engine.url), n, tuple(last or ()), asked)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    found = Cuts({kind: _tops(session, kind, count, asked) for kind, count in _ranked(session).items()})
    with _lock:
        _known[key] = found
        while len(_known) > KEPT:
            _known.popitem(last=False)
    return found


_known: OrderedDict[Any, Cuts] = OrderedDict()
_lock = Lock()


def ranked() -> tuple[ColumnElement[bool], ...]:
    """The pairs that have a place in their kind."""
    return PairRow.status != "filtered", PairRow.difficulty.is_not(None)


def kinds(session: Session) -> list[str]:
    """Every kind, a short look into an index for each."""
    found: list[str] = []
    next_one = select(func.min(PairRow.kind))
    kind = session.execute(next_one).scalar_one()
    while kind is not None:
        found.append(kind)
        kind = session.execute(next_one.where(PairRow.kind > kind)).scalar_one()
    return found


def _ranked(session: Session) -> dict[str, int]:
    query = select(func.count()).select_from(PairRow)
    counted = {kind: session.execute(query.where(PairRow.kind == kind, *ranked())).scalar_one()
               for kind in kinds(session)}  # fmt: skip
    return {kind: n for kind, n in counted.items() if n}


def _tops(session: Session, kind: str, n: int, asked: Sequence[float]) -> Any:
    query = select(PairRow.difficulty).where(PairRow.kind == kind, *ranked()).order_by(PairRow.difficulty).limit(1)
    found: list[float | None] = []
    for cut in asked:
        m = n_below(cut, n)
        found.append(session.execute(query.offset(m - 1)).scalar_one() if m else None)
    return tuple(found)


def n_below(cut: float, n: int) -> int:
    """m: how many of n distinct pairs lie below the cut. Rounded as SQL rounds a percentile, not as cut * (n - 1)."""
    if n < 2:
        return n if cut > 0 else 0
    m = max(0, math.ceil(cut * (n - 1)))
    while m > 0 and (m - 1) / (n - 1) >= cut:
        m -= 1
    while m < n and m / (n - 1) < cut:
        m += 1
    return m


def on_levels(found: Cuts, levels: Sequence[int]) -> ColumnElement[bool]:
    """The pairs on these levels, as ranges of difficulty in each kind."""
    p, wanted = PairRow, []
    for kind in found.of_kind:
        for first, last in _runs(levels):
            parts = [found.range_of(kind, level) for level in range(first, last + 1)]
            there = [part for part in parts if part is not None]
            if there:
                low, high = there[0][0], there[-1][1]
                above = () if low is None else (p.difficulty > low,)
                wanted.append(and_(p.kind == kind, *above, *(() if high is None else (p.difficulty <= high,))))
    return and_(or_(*wanted), *ranked()) if wanted else false()


def _runs(levels: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring levels as (first, last)."""
    found: list[tuple[int, int]] = []
    for level in sorted(set(levels)):
        if found and found[-1][1] == level - 1:
            found[-1] = (found[-1][0], level)
        else:
            found.append((level, level))
    return found


def windowed(thresholds: tuple[float, float, float]) -> Select[Any]:
    """(id, level) by ranking every pair: the definition, for statements that have no session at hand."""
    rank = func.percent_rank().over(partition_by=PairRow.kind, order_by=PairRow.difficulty).label("percentile")
    places = select(PairRow.id, rank).where(*ranked()).subquery()
    by_cut = ((places.c.percentile < cut, number) for number, cut in enumerate(checked(thresholds), 1))
    return select(places.c.id, case(*by_cut, else_=4).label("level"))
