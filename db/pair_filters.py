"""Which pairs: one frozen filter for the queue, the list, bulk decisions and frozen data sets.

Levels rank pairs inside their kind, over all pairs that no rule refused. Pairs of withdrawn videos are left out unless
the filter asks for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, literal_column, or_, select, table
from sqlalchemy.orm import Session

from db import dialect, level_cuts, withdrawals
from db.level_cuts import QUARTERS as QUARTERS
from db.level_cuts import checked as checked
from db.tables import FilterResultRow, PairRow, PairScoreRow, ReviewRow
from tempo_core.errors import Unknown

STATUSES = ("pending", "accepted", "rejected", "flagged", "filtered")
LEVEL_OF_MAGNITUDE = {16: 1, 8: 2, 4: 3, 2: 4}
"""The paper's order: the stronger the disturbance, the easier the pair."""
LARGEST = 2**63 - 1
BEFORE = "before"
"""The moment of a run whose margins are the reference's."""


@dataclass(frozen=True, slots=True)
class PairFilter:
    """What must hold of a pair; an empty field asks nothing. `rule` is a filter rule that the pair failed.

    `ids` names the pairs themselves, as a run does for those of a step; the desk then shows them in this order.
    `levels` are 1 (easiest) .. 4 by `thresholds` on the percentile inside the kind, or by magnitude (axis "paper").
    `input` is what the model was asked on. `length_ratio` is of the longer response to the shorter, in characters.
    `edited`: a reviewer changed a text. `by`: how the newest review was made, "bulk" or "person" (one by one).
    `withdrawn`: "only" the pairs of withdrawn videos, or "too"; None leaves them out.
    `margin` is the reference's, as run `run_id` stored it before its training.
    """

    status: str | None = None
    kinds: tuple[str, ...] = ()
    magnitudes: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    difficulty: tuple[float, float] | None = None
    search: str = ""
    video_id: int | None = None
    model_id: int | None = None
    rule: str | None = None
    ids: tuple[int, ...] = ()
    axis: str = "measured"
    thresholds: tuple[float, float, float] = QUARTERS
    input: str | None = None
    length_ratio: tuple[float, float] | None = None
    edited: bool | None = None
    by: str | None = None
    withdrawn: str | None = None
    run_id: int | None = None
    margin: tuple[float, float] | None = None

    def as_query(self) -> dict[str, str]:
        """For a URL: only what differs from no filter."""
        written = {name: _written(getattr(self, name)) for name in _READERS}
        nothing = {name: _written(getattr(NO_FILTER, name)) for name in _READERS}
        return {name: value for name, value in written.items() if value != nothing[name]}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> PairFilter:
        """Raises `Unknown` for a name or a value that is no filter, and for parts that contradict each other."""
        found: dict[str, Any] = {}
        for name, value in query.items():
            if name not in _READERS:
                raise Unknown(f"There is no filter {name!r}. Known are {', '.join(_READERS)}.")
            try:
                found[name] = _READERS[name](value)
            except ValueError:
                raise Unknown(f"{value!r} is no value for the filter {name}.") from None
        if ("margin" in found) != ("run_id" in found):
            raise Unknown("The filters margin and run_id belong together: a margin is one that a run measured.")
        return cls(**found)

    def with_status(self, status: str | None) -> PairFilter:
        return replace(self, status=status)


NO_FILTER = PairFilter()


def _one_of(*known: str) -> Any:
    def read(value: str) -> str:
        if value not in known:
            raise ValueError(value)
        return value

    return read


def _numbers(value: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_whole(part) for part in value.split(",")))


def _whole(value: str) -> int:
    if not 0 < (number := int(value)) <= LARGEST:
        raise ValueError(value)
    return number


def _levels(value: str) -> tuple[int, ...]:
    if not set(found := _numbers(value)) <= set(level_cuts.LEVELS):
        raise ValueError(value)
    return found


def _range(value: str) -> tuple[float, float]:
    low, high = (float(part) for part in value.split(","))
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(value)
    return low, high


def _three(value: str) -> tuple[float, float, float]:
    first, second, third = (float(part) for part in value.split(","))
    return checked((first, second, third))


def _words(value: str) -> tuple[str, ...]:
    if not all(found := tuple(value.split(","))):
        raise ValueError(value)
    return found


_READERS: dict[str, Any] = {
    "status": _one_of(*STATUSES),
    "kinds": _words,
    "magnitudes": _numbers,
    "levels": _levels,
    "difficulty": _range,
    "search": str,
    "video_id": _whole,
    "model_id": _whole,
    "rule": str,
    "ids": _numbers,
    "axis": _one_of("measured", "paper"),
    "thresholds": _three,
    "input": str,
    "length_ratio": _range,
    "edited": lambda value: _one_of("yes", "no")(value) == "yes",
    "by": _one_of("bulk", "person"),
    "withdrawn": _one_of("only", "too"),
    "run_id": _whole,
    "margin": _range,
}


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(f"{part}" for part in value) if isinstance(value, tuple) else str(value)


# ---- as conditions --------------------------------------------------------------------------------------------------
def where(wanted: PairFilter, session: Session | None = None) -> list[ColumnElement[bool]]:
    """The filter as conditions on `pair`. With a session, levels become ranges of an index; it must be the one that
    the statement is run in."""
    found = plain(wanted) + of_other_tables(wanted)
    if wanted.levels:
        found.append(on_levels(wanted, session))
    if wanted.search.strip():
        hits = matching(wanted.search)
        found.append(PairRow.id.in_(select(HIT).select_from(FTS).where(hits)))
    return found


def plain(wanted: PairFilter) -> list[ColumnElement[bool]]:
    """What the facet indexes can answer by themselves, levels left out."""
    p, found = PairRow, list[ColumnElement[bool]]()
    if wanted.status is not None:
        found.append(p.status == wanted.status)
    if wanted.kinds:
        found.append(p.kind.in_(wanted.kinds))
    if wanted.magnitudes:
        found.append(p.magnitude.in_(wanted.magnitudes))
    if wanted.model_id is not None:
        found.append(p.model_id == wanted.model_id)
    if wanted.input is not None:
        found.append(p.input == wanted.input)
    if wanted.difficulty is not None:
        found.append(p.difficulty.between(*wanted.difficulty))
    if wanted.length_ratio is not None:
        found.append(p.length_ratio.between(*wanted.length_ratio))
    if wanted.video_id is not None:
        found.append(p.video_id == wanted.video_id)
    if wanted.withdrawn != "too":
        gone = withdrawals.withdrawn_ids()
        found.append(p.video_id.in_(gone) if wanted.withdrawn == "only" else p.video_id.not_in(gone))
    return found


def of_other_tables(wanted: PairFilter) -> list[ColumnElement[bool]]:
    """What is kept beside the pair."""
    p, r, found = PairRow, ReviewRow, list[ColumnElement[bool]]()
    if wanted.ids:
        found.append(p.id.in_(wanted.ids))
    if wanted.rule is not None:
        found.append(p.id.in_(failing(wanted.rule)))
    if wanted.edited is not None:
        changed = exists().where(r.pair_id == p.id, or_(r.edited_chosen.is_not(None), r.edited_rejected.is_not(None)))
        found.append(changed if wanted.edited else ~changed)
    if wanted.by is not None:
        made = r.bulk.is_not(None) if wanted.by == "bulk" else r.bulk.is_(None)
        newest = exists().where(r.pair_id == p.id, r.pair_version == p.version - 1, made)
        found.append(and_(p.status.in_(("accepted", "rejected", "flagged")), newest))
    if wanted.margin is not None:
        s = PairScoreRow
        scored = select(s.pair_id).where(
            s.run_id == wanted.run_id, s.moment == BEFORE, s.margin.between(*wanted.margin)
        )
        found.append(p.id.in_(scored))
    return found


def failing(rule: str) -> Select[Any]:
    return select(FilterResultRow.pair_id).where(FilterResultRow.name == rule, FilterResultRow.passed == False)  # noqa: E712


def on_levels(wanted: PairFilter, session: Session | None) -> ColumnElement[bool]:
    p = PairRow
    if wanted.axis == "paper":
        asked = [r for r, level in LEVEL_OF_MAGNITUDE.items() if level in wanted.levels]
        return and_(p.status != "filtered", p.magnitude.in_(asked))
    if session is not None:
        return level_cuts.on_levels(level_cuts.cuts(session, wanted.thresholds), wanted.levels)
    places = level_cuts.windowed(wanted.thresholds).subquery()
    return p.id.in_(select(places.c.id).where(places.c.level.in_(wanted.levels)))


# ---- full text ------------------------------------------------------------------------------------------------------
FTS = table("pair_fts")
HIT: ColumnElement[int] = literal_column("pair_fts.rowid")
_TOKEN = re.compile(r"[^\W_]+")
SHORTEST_BEGINNING = 3
"""Of the last word, to be taken as unfinished: with fewer letters half of the dictionary would match."""


def matching(search: str) -> Any:
    """All words, in any order; the last one may be unfinished."""
    tokens = _TOKEN.findall(search)
    unfinished = bool(tokens) and len(tokens[-1]) >= SHORTEST_BEGINNING and search[-1:].isalnum()
    return dialect.matching(search, unfinished=unfinished)


# ---- levels ---------------------------------------------------------------------------------------------------------
def levels(thresholds: tuple[float, float, float], axis: str = "measured") -> Select[Any]:
    """(id, level) of every pair that has a level."""
    if axis == "paper":
        nominal = case(LEVEL_OF_MAGNITUDE, value=PairRow.magnitude).label("level")
        return select(PairRow.id, nominal).where(PairRow.status != "filtered", PairRow.magnitude.is_not(None))
    return level_cuts.windowed(thresholds)


def count(session: Session, wanted: PairFilter) -> int:
    return session.execute(select(func.count()).select_from(PairRow).where(*where(wanted, session))).scalar_one()
