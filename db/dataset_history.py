"""What came between two frozen versions, and which runs read which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import datasets, frozen_pairs
from db.tables import DatasetItemRow, EvaluationRow, RunRow
from tempo_core.types import PreferencePair

WORDS = {
    "swapped": "chosen and rejected swapped",
    "chosen": "chosen response edited",
    "rejected": "rejected response edited",
    "prompt": "another prompt",
    "level": "another level",
    "split": "moved between training and held out",
    "source": "video, plan or timeline changed",
}
"""What may differ in a pair that both versions hold, in the order in which it is told."""


@dataclass(frozen=True, slots=True)
class Change:
    """A pair that both versions hold, differently. `what` names keys of `WORDS`."""

    pair_id: int
    kind: str
    what: tuple[str, ...]
    levels: tuple[int | None, int | None]
    splits: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """From an older version to a newer one; pairs by id."""

    added: tuple[int, ...]
    removed: tuple[int, ...]
    changed: tuple[Change, ...]
    n_same: int

    @property
    def counts(self) -> dict[str, int]:
        """Changed pairs by what changed in them."""
        found = Counter(what for change in self.changed for what in change.what)
        return {what: found[what] for what in WORDS if found[what]}


@dataclass(frozen=True, slots=True)
class Use:
    """A run that trains on a version."""

    run_id: int
    version_id: int
    name: str
    recipe: str
    state: str
    n_figures: int
    """Benchmark figures measured of it."""


def difference(session: Session, old_id: int, new_id: int) -> Difference:
    """What the newer version holds otherwise than the older one."""
    old, new = _rows(session, old_id), _rows(session, new_id)
    both = [pair_id for pair_id in new if pair_id in old]
    other = [pair_id for pair_id in both if old[pair_id].content_sha256 != new[pair_id].content_sha256]
    before, after = (_texts(session, [rows[pair_id] for pair_id in other]) for rows in (old, new))
    changed = tuple(
        Change(
            pair_id=pair_id,
            kind=after[pair_id].kind,
            what=_what(old[pair_id], new[pair_id], before[pair_id], after[pair_id]),
            levels=(old[pair_id].level, new[pair_id].level),
            splits=(old[pair_id].split, new[pair_id].split),
        )
        for pair_id in other
    )
    return Difference(
        added=tuple(pair_id for pair_id in new if pair_id not in old),
        removed=tuple(pair_id for pair_id in old if pair_id not in new),
        changed=changed,
        n_same=len(both) - len(changed),
    )


def _what(old: Any, new: Any, before: PreferencePair, after: PreferencePair) -> tuple[str, ...]:
    found = []
    if (before.chosen, before.rejected) == (after.rejected, after.chosen) and before.chosen != before.rejected:
        found.append("swapped")
    else:
        found += [name for name in ("chosen", "rejected") if getattr(before, name) != getattr(after, name)]
    found += ["prompt"] * (before.prompt != after.prompt)
    found += [name for name in ("level", "split") if getattr(old, name) != getattr(new, name)]
    return tuple(found) or ("source",)


def _rows(session: Session, version_id: int) -> dict[int, Any]:
    datasets.get(session, version_id)
    i = DatasetItemRow
    columns: tuple[Any, ...] = (i.pair_id, i.review_id, i.split, i.level, i.content_sha256)
    query = select(*columns).where(i.dataset_version_id == version_id).order_by(i.ordinal)
    return {row.pair_id: row for row in session.execute(query)}


def _texts(session: Session, rows: Sequence[Any]) -> dict[int, PreferencePair]:
    asked = [(row.pair_id, row.review_id, row.split, row.level) for row in rows]
    return {item.pair.pair_id: item.pair for item in frozen_pairs.content(session, asked)}


def uses(session: Session) -> dict[int, list[Use]]:
    """The runs of each version, the newest first."""
    r, e = RunRow, EvaluationRow
    figures = select(func.count()).where(e.run_id == r.id).scalar_subquery()
    columns: tuple[Any, ...] = (r.id, r.dataset_version_id, r.name, r.recipe, r.state, figures)
    query = select(*columns).where(r.dataset_version_id.is_not(None)).order_by(r.id.desc())
    found: dict[int, list[Use]] = {}
    for row in session.execute(query):
        found.setdefault(row.dataset_version_id, []).append(Use(*row))
    return found
