"""Frozen data sets: the accepted pairs of a filter, with their final texts and levels, that no later review changes.

A version's content hash covers everything that training reads, so a changed row anywhere shows as `DatasetDrift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db import frozen_pairs, people, splits, verdicts, withdrawals
from db.frozen_pairs import FrozenPair as FrozenPair
from db.pair_filters import NO_FILTER, QUARTERS, PairFilter
from db.people import Person
from db.session import now_ms
from db.splits import Draft, Preview
from db.splits import held_out as held_out
from db.standings import standing
from db.tables import DatasetItemRow, DatasetVersionRow, PairRow, SavedViewRow, UserRow
from tempo_core.errors import BadSettings, DatasetDrift, TooFew, Unknown

LONGEST_NAME = 80
NO_PART_OF_A_FILTER = ("status", "order", "pair", "after", "before", "show", "view")
"""Of an address of the pairs page: how its pairs are listed, not which."""


@dataclass(frozen=True, slots=True)
class DatasetCard:
    id: int
    name: str
    number: int
    content_sha256: str
    n_pairs: int
    n_held_out: int
    n_videos: int
    criteria: dict[str, Any]
    by: str
    frozen_ms: int
    seed: int = 0

    @property
    def stated(self) -> tuple[str, ...]:
        """What samples showed of pairs that were accepted unread, a sentence per stratum."""
        return tuple(str(bound["text"]) for bound in self.criteria.get("sampling", ()))


def views(session: Session) -> dict[str, dict[str, str]]:
    """The saved views of the pairs page that a version can be made of, each as the query of its address."""
    v = SavedViewRow
    rows = session.execute(select(v.name, v.query).where(v.page == "pairs").order_by(v.name))
    return {name: {key: str(value) for key, value in query.items()} for name, query in rows}


def of_view(session: Session, name: str) -> PairFilter:
    """The filter of a saved view; its status does not matter, since the accepted pairs are frozen.

    Raises:
        Unknown: There is no such view, or it asks for something that is no filter.
    """
    found = views(session)
    if name not in found:
        known = f"Saved are {', '.join(found)}." if found else "None is saved yet: the Pairs page saves them."
        raise Unknown(f"There is no saved view {name!r}. {known}")
    return filter_of(found[name])


def filter_of(query: Mapping[str, str]) -> PairFilter:
    """The filter in an address of the pairs page, without the status: the accepted pairs are frozen.

    Raises:
        Unknown: It asks for something that is no filter.
    """
    return PairFilter.from_query({key: value for key, value in query.items() if key not in NO_PART_OF_A_FILTER})


def preview(
    session: Session,
    wanted: PairFilter = NO_FILTER,
    *,
    held_out_share: float = 0.2,
    seed: int = 0,
    thresholds: tuple[float, float, float] = QUARTERS,
    axis: str = "measured",
) -> Preview:
    """What `freeze` with these settings would hold."""
    return splits.counted(session, _draft(session, wanted, held_out_share, seed, thresholds, axis))


def freeze(
    session: Session,
    person: Person,
    name: str,
    wanted: PairFilter = NO_FILTER,
    *,
    held_out_share: float = 0.2,
    seed: int = 0,
    thresholds: tuple[float, float, float] = QUARTERS,
    axis: str = "measured",
    origin: Mapping[str, Any] | None = None,
) -> int:
    """Freeze the accepted pairs of a filter as the next version of `name`; the same content again is the same version.

    Held out are whole videos, drawn by `seed` from their contents: at least one where there are five or more, and
    videos that were found to share footage on one side together. Pairs of withdrawn videos are left out.

    Args:
        origin: What the settings come from, for people: the names of a curriculum and of a saved view.
    """
    people.require(person, "admin")
    if not name.strip() or len(name) > LONGEST_NAME:
        raise BadSettings(f"A data set's name holds 1 to {LONGEST_NAME} characters; {name[:90]!r} does not.")
    draft = _draft(session, wanted, held_out_share, seed, thresholds, axis)
    if not draft.pair_ids:
        raise TooFew("No accepted pair is in this filter, so there is nothing to freeze. Accept some, or widen it.")
    counting = standing(session, draft.pair_ids)
    chosen = [(i, counting[i].review_ids[-1], draft.split[i], draft.level.get(i)) for i in draft.pair_ids]
    criteria = asdict(_accepted(wanted)) | dict(origin or {}) | {
        "held_out_share": held_out_share, "level_axis": axis, "level_thresholds": list(thresholds),
        "copies_job": draft.copies_job, "sampling": verdicts.bounds(session, draft.pair_ids),
    }  # fmt: skip
    return _keep(session, person, name.strip(), frozen_pairs.content(session, chosen), criteria, seed)


def _accepted(wanted: PairFilter) -> PairFilter:
    return splits.without_withdrawn(wanted.with_status("accepted"))


def _draft(
    session: Session,
    wanted: PairFilter,
    held_out_share: float,
    seed: int,
    thresholds: tuple[float, float, float],
    axis: str,
) -> Draft:
    return splits.draft(session, _accepted(wanted), held_out_share, seed, thresholds, axis)


def _keep(
    session: Session, person: Person, name: str, frozen: list[FrozenPair], criteria: dict[str, Any], seed: int
) -> int:
    v = DatasetVersionRow
    content = frozen_pairs.content_sha256(frozen)
    last = session.execute(select(v).where(v.name == name).order_by(v.number.desc()).limit(1)).scalar_one_or_none()
    if last is not None and last.content_sha256 == content:
        return last.id
    row = DatasetVersionRow(
        name=name,
        number=last.number + 1 if last is not None else 1,
        criteria=criteria,
        content_sha256=content,
        n_pairs=len(frozen),
        n_held_out=sum(item.split == "held_out" for item in frozen),
        seed=seed,
        created_by=person.id,
    )
    session.add(row)
    session.flush()
    session.add_all(_item(row.id, ordinal, item) for ordinal, item in enumerate(frozen))
    session.flush()
    session.execute(update(v).where(v.id == row.id).values(frozen_ms=now_ms()))
    return row.id


def _item(version_id: int, ordinal: int, item: FrozenPair) -> DatasetItemRow:
    return DatasetItemRow(
        dataset_version_id=version_id,
        ordinal=ordinal,
        pair_id=item.pair.pair_id,
        review_id=item.review_id,
        split=item.split,
        magnitude=item.pair.magnitude,
        difficulty=item.pair.difficulty,
        level=item.pair.level,
        content_sha256=item.sha256,
    )


def items(session: Session, version_id: int, split: str | None = None) -> list[FrozenPair]:
    """The pairs of a version in their frozen order, with the texts that were accepted. Check them with `verify`."""
    get(session, version_id)
    i = DatasetItemRow
    query = select(i.pair_id, i.review_id, i.split, i.level).where(i.dataset_version_id == version_id)
    if split is not None:
        query = query.where(i.split == split)
    return frozen_pairs.content(session, [(a, b, c, d) for a, b, c, d in session.execute(query.order_by(i.ordinal))])


def verify(session: Session, version_id: int) -> str:
    """Recompute the content hash from the pairs, plans, timelines, videos and reviews themselves.

    Raises:
        DatasetDrift: Something that training would read is not what was frozen.
    """
    card = get(session, version_id)
    now = items(session, version_id)
    found = frozen_pairs.content_sha256(now)
    if found == card.content_sha256 and len(now) == card.n_pairs:
        return found
    i = DatasetItemRow
    rows = session.execute(select(i.pair_id, i.content_sha256).where(i.dataset_version_id == version_id))
    then = {pair_id: sha256 for pair_id, sha256 in rows}
    changed = sorted(item.pair.pair_id for item in now if then.get(item.pair.pair_id) != item.sha256)
    raise DatasetDrift(
        f"Data set {card.name} {card.number} was frozen as {card.content_sha256[:12]} and is now {found[:12]}; "
        f"{len(changed)} of {card.n_pairs} pairs differ (first: {changed[:5]}). "
        "Freeze a new version, or restore a backup."
    )


def withdrawn(session: Session, version_id: int) -> int:
    """How many pairs of this version are of videos that were withdrawn since."""
    return withdrawals.of_versions(session).get(version_id, 0)


def get(session: Session, version_id: int) -> DatasetCard:
    found = _cards(session, DatasetVersionRow.id == version_id)
    if not found:
        raise Unknown(f"There is no data set version {version_id}.")
    return found[0]


def listing(session: Session) -> list[DatasetCard]:
    """Every frozen version, the newest first."""
    return _cards(session, DatasetVersionRow.frozen_ms.is_not(None))


def _cards(session: Session, condition: Any) -> list[DatasetCard]:
    v, i = DatasetVersionRow, DatasetItemRow
    n_videos = (
        select(func.count(PairRow.video_id.distinct()))
        .join(i, i.pair_id == PairRow.id)
        .where(i.dataset_version_id == v.id)
        .scalar_subquery()
    )
    columns: tuple[Any, ...] = (
        v.id, v.name, v.number, v.content_sha256, v.n_pairs, v.n_held_out, n_videos, v.criteria, UserRow.name,
        v.frozen_ms, v.seed,
    )  # fmt: skip
    query = select(*columns).join(UserRow, UserRow.id == v.created_by).where(condition).order_by(v.id.desc())
    return [DatasetCard(*row) for row in session.execute(query)]
