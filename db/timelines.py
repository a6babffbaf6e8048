"""Segmentations and timelines: what a video's stored measurements and the thresholds made of it.

Each judgement is kept once per set of thresholds; the last one recorded is the video's current timeline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import videos
from db.session import now_ms
from db.tables import SegmentationRow, TimelineRow, VideoRow, canonical
from tempo_core.errors import Unknown
from tempo_core.types import Clip, Timeline, Video

if TYPE_CHECKING:
    # At run time this would bring the video libraries into the web process.
    from tempo_core.timeline import Judgement, Richness


@dataclass(frozen=True, slots=True)
class StoredShot:
    """One detected shot. `dropped_by` is "short", "blank" or None; `group` is None where it was dropped."""

    start: int
    end: int
    seconds: float
    contrast: int
    dropped_by: str | None
    group: int | None


@dataclass(frozen=True, slots=True)
class StoredRule:
    """What one rule measured; `value` is None where an earlier failure left nothing to measure."""

    code: str
    passed: bool
    value: float | None
    limit: float


@dataclass(frozen=True, slots=True)
class StoredTimeline:
    """A judgement as it was recorded. `likeness` (n, n) is between clips."""

    id: int
    video_id: int
    sha256: str
    timeline: Timeline
    shots: tuple[StoredShot, ...]
    n_shots: int
    n_groups: int
    rules: tuple[StoredRule, ...]
    left_out_by: str | None
    left_out_value: float | None
    params: dict[str, Any]
    likeness: NDArray[np.float32]

    @property
    def n_clips(self) -> int:
        return len(self.timeline)

    @property
    def clip_frames(self) -> tuple[int, ...]:
        return tuple(clip.n_frames for clip in self.timeline)


@dataclass(frozen=True, slots=True)
class KeptVideo:
    """A video that passed every rule, ready for plans and questions."""

    video_id: int
    video: Video
    times_sha256: str
    timeline: StoredTimeline


def config_sha256(params: Any) -> str:
    return hashlib.sha256(canonical(params).encode()).hexdigest()


def record_segmentation(
    session: Session,
    video_id: int,
    detector: dict[str, Any],
    judgement: Judgement,
    alike: NDArray[np.float32] | None = None,
) -> int:
    """The detected shots, once per detector setting. `alike` (n, n) is between all of them, dropped ones too."""
    config = config_sha256(detector)
    stored_alike = None if alike is None else np.ascontiguousarray(alike, np.float32).tobytes()
    known = select(SegmentationRow).where(SegmentationRow.video_id == video_id, SegmentationRow.config_sha256 == config)
    found = session.execute(known).scalar_one_or_none()
    if found is not None:
        if found.likeness is None and stored_alike is not None:
            found.likeness = stored_alike
        return found.id
    row = SegmentationRow(
        video_id=video_id,
        config_sha256=config,
        detector=str(detector.get("kind", "unknown")),
        params=detector,
        shots=[[int(shot.start), int(shot.end)] for shot in judgement.shots],
        n_shots=len(judgement.shots),
        likeness=stored_alike,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    return row.id


def record(
    session: Session,
    video_id: int,
    richness: Richness,
    judgement: Judgement,
    sha256: str,
    alike: NDArray[np.float32] | None = None,
) -> int:
    """Keep a judgement and make it the video's current timeline. The same thresholds give the same row."""
    thresholds = asdict(richness)
    segmentation_id = record_segmentation(session, video_id, thresholds["detector"], judgement, alike)
    config = config_sha256(thresholds)
    known = select(TimelineRow).where(
        TimelineRow.segmentation_id == segmentation_id, TimelineRow.config_sha256 == config
    )
    row = session.execute(known).scalar_one_or_none()
    if row is not None and row.current:
        return row.id
    session.execute(
        update(TimelineRow).where(TimelineRow.video_id == video_id, TimelineRow.current == 1).values(current=False)
    )
    if row is None:
        row = TimelineRow(
            segmentation_id=segmentation_id,
            video_id=video_id,
            config_sha256=config,
            params=thresholds,
            sha256=sha256,
            created_ms=now_ms(),
            **_columns(judgement),
        )
        session.add(row)
    row.current = True
    session.flush()
    return row.id


def _columns(judgement: Judgement) -> dict[str, Any]:
    failed = next((rule for rule in judgement.rules if rule.code == judgement.left_out_by), None)
    return {
        "shots": [
            [*map(_plain, (s.start, s.end, s.seconds, s.contrast, s.dropped_by, s.group))] for s in judgement.shots
        ],
        "clips": [_clip(clip) for clip in judgement.timeline],
        "n_shots": sum(shot.dropped_by is None for shot in judgement.shots),
        "n_clips": len(judgement.timeline),
        "n_groups": len({clip.group for clip in judgement.timeline}),
        "rules": [
            {"code": r.code, "passed": bool(r.passed), "value": _plain(r.value), "limit": _plain(r.limit)}
            for r in judgement.rules
        ],
        "left_out_by": judgement.left_out_by,
        "left_out_value": _plain(judgement.left_out_value),
        "left_out_limit": _plain(failed.limit) if failed else None,
        "likeness": np.ascontiguousarray(judgement.clip_likeness, np.float32).tobytes(),
    }


def current(session: Session, video_id: int) -> StoredTimeline | None:
    row = session.execute(
        select(TimelineRow).where(TimelineRow.video_id == video_id, TimelineRow.current == 1)
    ).scalar_one_or_none()
    return stored(row) if row is not None else None


def get(session: Session, timeline_id: int) -> StoredTimeline:
    row = session.get(TimelineRow, timeline_id)
    if row is None:
        raise Unknown(f"There is no timeline {timeline_id}.")
    return stored(row)


def kept(session: Session, video_ids: Collection[int] | None = None) -> list[KeptVideo]:
    """Videos that passed every rule and whose file is there, by id."""
    query = (
        select(VideoRow, TimelineRow)
        .join(TimelineRow, (TimelineRow.video_id == VideoRow.id) & (TimelineRow.current == 1))
        .where(VideoRow.status == "ok", TimelineRow.left_out_by.is_(None))
        .order_by(VideoRow.id)
    )
    if video_ids is not None:
        query = query.where(VideoRow.id.in_(list(video_ids)))
    found = []
    rows = session.execute(query).all()
    places = videos.places_of(session, [row.id for row, _ in rows])
    for row, timeline in rows:
        files = (root / rel_path for root, rel_path in places.get(row.id, []))
        path = next((path for path in files if path.is_file()), None)
        if path is not None:
            found.append(KeptVideo(row.id, videos.as_value(row, path), row.times_sha256 or "", stored(timeline)))
    return found


def stored(row: TimelineRow) -> StoredTimeline:
    n = row.n_clips
    alike = np.frombuffer(row.likeness or b"", np.float32)
    return StoredTimeline(
        id=row.id,
        video_id=row.video_id,
        sha256=row.sha256,
        timeline=as_timeline(row.clips),
        shots=tuple(StoredShot(*shot) for shot in row.shots),
        n_shots=row.n_shots,
        n_groups=row.n_groups,
        rules=tuple(StoredRule(**rule) for rule in row.rules),
        left_out_by=row.left_out_by,
        left_out_value=row.left_out_value,
        params=row.params,
        likeness=alike.reshape(n, n) if alike.size == n * n else np.zeros((0, 0), np.float32),
    )


def as_timeline(clips: list[Any]) -> Timeline:
    return tuple(
        Clip(
            shots=tuple(clip["shots"]),
            ranges=tuple((start, end) for start, end in clip["ranges"]),
            group=clip["group"],
            key_frames=tuple(clip["key_frames"]),
        )
        for clip in clips
    )


def _clip(clip: Clip) -> dict[str, Any]:
    return {
        "shots": [int(shot) for shot in clip.shots],
        "ranges": [[int(start), int(end)] for start, end in clip.ranges],
        "group": int(clip.group),
        "key_frames": [int(number) for number in clip.key_frames],
    }


def _plain(number: Any) -> Any:
    """numpy's numbers as Python's: neither JSON nor a STRICT column takes the others."""
    return number.item() if isinstance(number, np.generic) else number
