"""Who did what on which day, and how long a judgement takes. Bulk decisions are counted apart: nobody looked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import OpinionRow, ReviewRow, UserRow

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class DayLine:
    """What one person did on one day (UTC). `bulk` counts pairs decided without looking at each."""

    day: str
    person: str
    decisions: int
    opinions: int
    undone: int
    bulk: int
    median_dwell_s: float | None


def days(session: Session, n_days: int = 30, person_id: int | None = None) -> list[DayLine]:
    """Every person and day of the last `n_days`, the newest day first."""
    since = (now_ms() // DAY_MS - n_days + 1) * DAY_MS
    names = dict(session.execute(select(UserRow.id, UserRow.name)).all())
    found: dict[tuple[int, int], dict[str, Any]] = {}

    def at(created_ms: int, who: int) -> dict[str, Any]:
        empty: dict[str, Any] = {"decisions": 0, "opinions": 0, "undone": 0, "bulk": 0, "dwell": []}
        return found.setdefault((created_ms // DAY_MS, who), empty)

    for table, kind in ((ReviewRow, "decisions"), (OpinionRow, "opinions")):
        for who, created_ms, act, dwell_ms in session.execute(_alone(table, since, person_id)):
            line = at(created_ms, who)
            line["undone" if act == "undo" else kind] += 1
            line["dwell"] += [] if dwell_ms is None or act == "undo" else [dwell_ms]
    for who, day, n in session.execute(_bulk(since, person_id)):
        at(day * DAY_MS, who)["bulk"] += n
    return [
        DayLine(
            f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}", names[who], line["decisions"],
            line["opinions"], line["undone"], line["bulk"], _middle_s(line["dwell"]),
        )
        for (day, who), line in sorted(found.items(), key=lambda item: (-item[0][0], names[item[0][1]]))
    ]  # fmt: skip


def _alone(table: Any, since: int, person_id: int | None) -> Any:
    """What was done one by one; a reason given later is part of its decision."""
    query = select(table.reviewer_id, table.created_ms, table.act, table.dwell_ms)
    query = query.where(table.created_ms >= since, table.act != "reason")
    if table is ReviewRow:
        query = query.where(ReviewRow.bulk.is_(None), ~ReviewRow.token.like("opinion:%"))
    return query if person_id is None else query.where(table.reviewer_id == person_id)


def _bulk(since: int, person_id: int | None) -> Any:
    r = ReviewRow
    day = r.created_ms // DAY_MS
    query = select(r.reviewer_id, day, func.count()).where(r.created_ms >= since, r.bulk.is_not(None), r.act != "undo")
    query = query if person_id is None else query.where(r.reviewer_id == person_id)
    return query.group_by(r.reviewer_id, day)


def median_dwell_s(session: Session, last: int = 500) -> float | None:
    """How long people looked at a pair before they judged it: the median of the newest judgements, in seconds."""
    found: list[int] = []
    for table in (ReviewRow, OpinionRow):
        query = select(table.dwell_ms).where(table.dwell_ms.is_not(None)).order_by(table.id.desc()).limit(last)
        found += [ms for ms in session.execute(query).scalars() if ms is not None]
    return _middle_s(found)


def _middle_s(dwell_ms: Iterable[int]) -> float | None:
    known = list(dwell_ms)
    return median(known) / 1000 if known else None
