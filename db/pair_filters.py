"""Which pairs: one frozen filter for the queue, the list, bulk decisions and frozen data sets.

Levels rank pairs inside their kind, over all pairs that no rule refused; the ranking is done in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal_column, select, table, text, type_coerce
from sqlalchemy.orm import Session

from db.tables import FilterResultRow, PairRow, Real, ResponseRow
from tempo_core.errors import BadThresholds, Unknown

QUARTERS = (0.25, 0.5, 0.75)
STATUSES = ("pending", "accepted", "rejected", "flagged", "filtered")
LEVEL_OF_MAGNITUDE = {16: 1, 8: 2, 4: 3, 2: 4}
"""The paper's order: the stronger the disturbance, the easier the pair."""


@dataclass(frozen=True, slots=True)
class PairFilter:
    """What must hold of a pair; an empty field asks nothing. `rule` is a filter rule that the pair failed.

    `ids` names the pairs themselves, as a run does for those of a step; the desk then shows them in this order.
    `levels` are 1 (easiest) .. 4 by `thresholds` on the percentile inside the kind, or by magnitude (axis "paper").
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

    def as_query(self) -> dict[str, str]:
        """For a URL: only what differs from no filter."""
        written = {name: _written(getattr(self, name)) for name in _READERS}
        nothing = {name: _written(getattr(NO_FILTER, name)) for name in _READERS}
        return {name: value for name, value in written.items() if value != nothing[name]}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> PairFilter:
        """Raises `Unknown` for a name or a value that is no filter."""
        found: dict[str, Any] = {}
        for name, value in query.items():
            if name not in _READERS:
                raise Unknown(f"There is no filter {name!r}. Known are {', '.join(_READERS)}.")
            try:
                found[name] = _READERS[name](value)
            except ValueError:
                raise Unknown(f"{value!r} is no value for the filter {name}.") from None
        return cls(**found)

    def with_status(self, status: str | None) -> PairFilter:
        return replace(self, status=status)


NO_FILTER = PairFilter()


def _status(value: str) -> str:
    if value not in STATUSES:
        raise ValueError(value)
    return value


def _axis(value: str) -> str:
    if value not in ("measured", "paper"):
        raise ValueError(value)
    return value


def _numbers(value: str) -> tuple[int, ...]:
    return tuple(int(part) for part in value.split(","))


def _ids(value: str) -> tuple[int, ...]:
    found = tuple(dict.fromkeys(_numbers(value)))
    if not all(0 < number < 2**63 for number in found):
        raise ValueError(value)
    return found


def _pair(value: str) -> tuple[float, float]:
    low, high = (float(part) for part in value.split(","))
    return low, high


def _three(value: str) -> tuple[float, float, float]:
    first, second, third = (float(part) for part in value.split(","))
    return first, second, third


_READERS: dict[str, Any] = {
    "status": _status,
    "kinds": lambda value: tuple(value.split(",")),
    "magnitudes": _numbers,
    "levels": _numbers,
    "difficulty": _pair,
    "search": str,
    "video_id": int,
    "model_id": int,
    "rule": str,
    "ids": _ids,
    "axis": _axis,
    "thresholds": _three,
}


def _written(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(f"{part}" for part in value) if isinstance(value, tuple) else str(value)


def where(wanted: PairFilter) -> list[ColumnElement[bool]]:
    """The filter as conditions on `pair`."""
    p, found = PairRow, []
    if wanted.status is not None:
        found.append(p.status == wanted.status)
    if wanted.kinds:
        found.append(p.kind.in_(wanted.kinds))
    if wanted.magnitudes:
        found.append(p.magnitude.in_(wanted.magnitudes))
    if wanted.difficulty is not None:
        found.append(p.difficulty.between(*wanted.difficulty))
    if wanted.video_id is not None:
        found.append(p.video_id == wanted.video_id)
    if wanted.model_id is not None:
        of_model = select(ResponseRow.id).where(ResponseRow.model_id == wanted.model_id)
        found.append(p.chosen_id.in_(of_model) | p.rejected_id.in_(of_model))
    if wanted.rule is not None:
        failed = FilterResultRow.name == wanted.rule, FilterResultRow.passed == False  # noqa: E712
        found.append(p.id.in_(select(FilterResultRow.pair_id).where(*failed)))
    if wanted.ids:
        found.append(p.id.in_(wanted.ids))
    if words := wanted.search.replace("\0", " ").split():
        found.append(p.id.in_(_hits(words)))
    if wanted.levels:
        ranked = levels(wanted.thresholds, wanted.axis).subquery()
        found.append(p.id.in_(select(ranked.c.id).where(ranked.c.level.in_(wanted.levels))))
    return found


def _hits(words: list[str]) -> Select[Any]:
    """All words, in any order; the last one may be unfinished. Quoted, so that nothing is taken as an operator."""
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    match = text("pair_fts MATCH :words").bindparams(words=" ".join(quoted) + "*")
    return select(literal_column("rowid")).select_from(table("pair_fts")).where(match)


def percentiles() -> Select[Any]:
    """(id, kind, percentile) of every measured pair that no rule refused; 0 = the easiest of its kind."""
    rank = type_coerce(func.percent_rank().over(partition_by=PairRow.kind, order_by=PairRow.difficulty), Real)
    columns: tuple[Any, ...] = (PairRow.id, PairRow.kind, rank.label("percentile"))
    return select(*columns).where(PairRow.status != "filtered", PairRow.difficulty.is_not(None))


def levels(thresholds: tuple[float, float, float], axis: str = "measured") -> Select[Any]:
    """(id, level) of every pair that has a level."""
    if axis == "paper":
        nominal = case(LEVEL_OF_MAGNITUDE, value=PairRow.magnitude).label("level")
        return select(PairRow.id, nominal).where(PairRow.status != "filtered", PairRow.magnitude.is_not(None))
    cuts = checked(thresholds)
    ranked = percentiles().subquery()
    level = case(*((ranked.c.percentile < cut, number) for number, cut in enumerate(cuts, 1)), else_=4)
    return select(ranked.c.id, level.label("level"))


def checked(thresholds: tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = thresholds
    if not 0 <= first <= second <= third <= 1:
        raise BadThresholds(
            f"Thresholds {first:g}, {second:g}, {third:g} cross or leave 0..1. Each must be at least the one before."
        )
    return first, second, third


def count(session: Session, wanted: PairFilter) -> int:
    return session.execute(select(func.count()).select_from(PairRow).where(*where(wanted))).scalar_one()
