"""Frozen data sets: the accepted pairs of a filter, with their final texts and levels, that no later review changes.

A version's content hash covers everything that training reads, so a changed row anywhere shows as `DatasetDrift`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, aliased

from db import people, videos
from db.pair_filters import NO_FILTER, QUARTERS, PairFilter, checked, levels, where
from db.people import Person
from db.session import now_ms
from db.standings import Standing, grouped, rows_of, stack, standing
from db.tables import (
    DatasetItemRow,
    DatasetVersionRow,
    PairRow,
    PlanRow,
    ResponseRow,
    TimelineRow,
    UserRow,
    VideoRow,
    canonical,
)
from tempo_core.errors import DatasetDrift, TooFew, Unknown
from tempo_core.types import PreferencePair

FEWEST_FOR_HELD_OUT = 5
"""With fewer videos none is held out: what is left would be too little to train on."""


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


@dataclass(frozen=True, slots=True)
class FrozenPair:
    """One pair of a frozen version: what training reads, and what an export adds."""

    pair: PreferencePair
    split: str
    video_id: int
    review_id: int
    order: tuple[int, ...] | None
    """The plan's order; None for imported pairs."""
    plan_sha256: str | None
    timeline_sha256: str | None
    sha256: str


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
) -> int:
    """Freeze the accepted pairs of a filter as the next version of `name`; the same content again is the same version.

    Held out are whole videos, drawn by `seed` from their contents: at least one where there are five or more.
    """
    people.require(person, "admin")
    accepted = wanted.with_status("accepted")
    pair_ids = list(session.execute(select(PairRow.id).where(*where(accepted)).order_by(PairRow.id)).scalars())
    if not pair_ids:
        raise TooFew("No accepted pair is in this filter, so there is nothing to freeze. Accept some, or widen it.")
    level_of = _levels(session, pair_ids, checked(thresholds), axis)
    counting = standing(session, pair_ids)
    reviewed = {pair_id: counting[pair_id].review_ids[-1] for pair_id in pair_ids}
    drafts = _content(session, [(i, reviewed[i], "train", level_of.get(i)) for i in pair_ids])
    kept_back = held_out({draft.pair.video.sha256 for draft in drafts}, held_out_share, seed)
    splits = {d.pair.pair_id: "held_out" if d.pair.video.sha256 in kept_back else "train" for d in drafts}
    frozen = _content(session, [(i, reviewed[i], splits[i], level_of.get(i)) for i in pair_ids])
    criteria = asdict(accepted) | {
        "held_out_share": held_out_share, "level_axis": axis, "level_thresholds": list(thresholds),
    }  # fmt: skip
    return _keep(session, person, name, frozen, criteria, seed)


def _levels(
    session: Session, pair_ids: Sequence[int], thresholds: tuple[float, float, float], axis: str
) -> dict[int, int]:
    """Levels as the studio shows them: the rank inside the kind among all pairs that no rule refused."""
    wanted, ranked = set(pair_ids), levels(thresholds, axis).subquery()
    rows = session.execute(select(ranked.c.id, ranked.c.level).where(ranked.c.level.is_not(None)))
    return {pair_id: level for pair_id, level in rows if pair_id in wanted}


def held_out(shas: set[str], share: float, seed: int) -> set[str]:
    """The videos (by content) that a version of these videos holds out."""
    if len(shas) < FEWEST_FOR_HELD_OUT or share <= 0:
        return set()
    drawn = sorted(shas, key=lambda sha: hashlib.sha256(f"{seed}|{sha}".encode()).hexdigest())
    return set(drawn[: min(len(shas) - 1, max(1, round(share * len(shas))))])


def _keep(
    session: Session, person: Person, name: str, frozen: list[FrozenPair], criteria: dict[str, Any], seed: int
) -> int:
    v = DatasetVersionRow
    content = _content_sha256(frozen)
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
    return _content(session, [(a, b, c, d) for a, b, c, d in session.execute(query.order_by(i.ordinal))])


def verify(session: Session, version_id: int) -> str:
    """Recompute the content hash from the pairs, plans, timelines, videos and reviews themselves.

    Raises:
        DatasetDrift: Something that training would read is not what was frozen.
    """
    card = get(session, version_id)
    now = items(session, version_id)
    found = _content_sha256(now)
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
        v.frozen_ms,
    )  # fmt: skip
    query = select(*columns).join(UserRow, UserRow.id == v.created_by).where(condition).order_by(v.id.desc())
    return [DatasetCard(*row) for row in session.execute(query)]


def _content(session: Session, chosen: Sequence[tuple[int, int, str, int | None]]) -> list[FrozenPair]:
    """Frozen pairs of (pair id, review id, split, level), in this order."""
    found: dict[int, Any] = {}
    decided: dict[int, list[Any]] = {}
    ids = [pair_id for pair_id, _, _, _ in chosen]
    for start in range(0, len(ids), 10_000):
        part = ids[start : start + 10_000]
        found |= {row.PairRow.id: row for row in _whole_pairs(session, part)}
        decided |= grouped(rows_of(session, part))
    places = videos.places_of(session, {row.VideoRow.id for row in found.values()})
    return [
        _frozen(found[pair_id], _as_of(decided[pair_id], review_id), review_id, split, level, places)
        for pair_id, review_id, split, level in chosen
        if pair_id in found and pair_id in decided
    ]


def _whole_pairs(session: Session, pair_ids: Sequence[int]) -> Iterable[Any]:
    """Pairs with plan, video and the timeline that was disturbed (imported ones: on which the answer was given)."""
    asked = aliased(ResponseRow)
    return session.execute(
        select(PairRow, PlanRow, VideoRow, TimelineRow)
        .join(VideoRow, VideoRow.id == PairRow.video_id)
        .join(asked, asked.id == PairRow.chosen_id)
        .outerjoin(PlanRow, PlanRow.id == PairRow.plan_id)
        .outerjoin(TimelineRow, TimelineRow.id == func.coalesce(PlanRow.timeline_id, asked.timeline_id))
        .where(PairRow.id.in_(pair_ids))
        .execution_options(populate_existing=True)
    )


def _as_of(rows: list[Any], review_id: int) -> Standing:
    """What stood when this review was the newest; later reviews change later versions only."""
    until = next((number for number, row in enumerate(rows, 1) if row.id == review_id), 0)
    return (stack(rows[:until]) or [Standing()])[-1]


def _frozen(
    row: Any,
    decided: Standing,
    review_id: int,
    split: str,
    level: int | None,
    places: dict[int, list[tuple[Path, str]]],
) -> FrozenPair:
    pair, plan, video, timeline = row
    chosen, rejected = decided.texts(pair.chosen, pair.rejected)
    root, rel_path = places.get(video.id, [(Path(), video.name)])[0]
    key_frames = tuple(tuple(clip["key_frames"]) for clip in timeline.clips) if timeline is not None else ()
    preference = PreferencePair(
        pair_id=pair.id,
        uid=pair.uid,
        video=videos.as_value(video, root / rel_path),
        times_sha256=video.times_sha256 or "",
        clip_key_frames=key_frames,
        prompt=pair.prompt,
        chosen=chosen,
        rejected=rejected,
        kind=pair.kind,
        magnitude=pair.magnitude,
        difficulty=pair.difficulty,
        level=level,
    )
    order = tuple(plan.clip_order) if plan is not None else None
    plan_sha256 = plan.sha256 if plan is not None else None
    timeline_sha256 = timeline.sha256 if timeline is not None else None
    # Without the path: a video that moved is the same video.
    content = [
        preference.uid, preference.prompt, chosen, rejected, preference.kind, preference.magnitude,
        preference.difficulty, level, split, video.sha256, preference.times_sha256, key_frames, plan_sha256, order,
        timeline_sha256,
    ]  # fmt: skip
    sha256 = hashlib.sha256(canonical(content).encode()).hexdigest()
    return FrozenPair(preference, split, video.id, review_id, order, plan_sha256, timeline_sha256, sha256)


def _content_sha256(frozen: Iterable[FrozenPair]) -> str:
    return hashlib.sha256("\n".join(item.sha256 for item in frozen).encode()).hexdigest()
