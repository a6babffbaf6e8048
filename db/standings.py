"""What counts for a pair now, read from its reviews in order: the last one that nobody took back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import ReviewRow


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts for a pair now. `review_ids` are the review and the reasons given to it, newest last."""

    verdict: str = "pending"
    review_ids: tuple[int, ...] = ()
    swapped: bool = False
    edited_chosen: str | None = None
    edited_rejected: str | None = None

    def texts(self, chosen: str, rejected: str) -> tuple[str, str]:
        """The pair's texts as decided: swapped first, then edited."""
        left, right = (rejected, chosen) if self.swapped else (chosen, rejected)
        return self.edited_chosen or left, self.edited_rejected or right


def standing(session: Session, pair_ids: Sequence[int]) -> dict[int, Standing]:
    """What counts for each of these pairs now; pairs without reviews are left out."""
    by_pair = grouped(rows_of(session, pair_ids))
    return {pair_id: (stack(rows) or [Standing()])[-1] for pair_id, rows in by_pair.items()}


def stack(rows: Iterable[Any]) -> list[Standing]:
    """The reviews of one pair that still count, the one that stands last."""
    found: list[Standing] = []
    for row in rows:
        if row.act == "undo":
            if found and row.of_id in found[-1].review_ids:
                found.pop()
        elif row.act == "reason" and found:
            top = found.pop()
            found.append(replace(top, review_ids=(*top.review_ids, row.id)))
        else:
            found.append(Standing(row.verdict, (row.id,), row.swapped, row.edited_chosen, row.edited_rejected))
    return found


def rows_of(session: Session, pair_ids: Sequence[int]) -> list[Any]:
    """The reviews of these pairs, by pair and in order."""
    r, found = ReviewRow, list[Any]()
    columns: tuple[Any, ...] = (
        r.id, r.pair_id, r.pair_version, r.act, r.verdict, r.of_id, r.swapped, r.edited_chosen, r.edited_rejected,
        r.bulk,
    )  # fmt: skip
    for start in range(0, len(pair_ids), 10_000):
        part = list(pair_ids[start : start + 10_000])
        query = select(*columns).where(r.pair_id.in_(part)).order_by(r.pair_id, r.pair_version)
        found += session.execute(query).all()
    return found


def grouped(rows: Iterable[Any]) -> dict[int, list[Any]]:
    """Rows by pair."""
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.pair_id, []).append(row)
    return found
