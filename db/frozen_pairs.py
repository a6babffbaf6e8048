"""The pairs of a version as training and exports read them, with the hash of all that they read.

Nothing of it is stored twice: texts, plans, timelines and videos are read where they lie, so that a row that changed
anywhere gives another hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db import videos
from db.standings import Standing, grouped, rows_of, stack
from db.tables import PairRow, PlanRow, ResponseRow, TimelineRow, VideoRow, canonical
from tempo_core.types import PreferencePair


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


def content(session: Session, chosen: Sequence[tuple[int, int, str, int | None]]) -> list[FrozenPair]:
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
    hashed = [
        preference.uid, preference.prompt, chosen, rejected, preference.kind, preference.magnitude,
        preference.difficulty, level, split, video.sha256, preference.times_sha256, key_frames, plan_sha256, order,
        timeline_sha256,
    ]  # fmt: skip
    sha256 = hashlib.sha256(canonical(hashed).encode()).hexdigest()
    return FrozenPair(preference, split, video.id, review_id, order, plan_sha256, timeline_sha256, sha256)


def content_sha256(frozen: Iterable[FrozenPair]) -> str:
    return hashlib.sha256("\n".join(item.sha256 for item in frozen).encode()).hexdigest()
