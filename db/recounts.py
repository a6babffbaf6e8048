"""What the thresholds make of the whole library: values counted once, and what other thresholds would change.

Everything here is read whole and kept by the page under `key`, so that a slider asks no database.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.tables import PairRow, SegmentationRow, TimelineRow, VideoRow
from tempo_core.recount import KEPT, RULES, SHAPES, UNKNOWN, Counts, Shots, counted, verdicts
from tempo_core.shots import DetectorConfig
from tempo_core.timeline import Richness

Grouping = tuple[float, ...]
"""The thresholds of `SHAPES` under which clips were counted."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Every usable video that was judged, over n videos; `place` is the rule that leaves it out now, or `KEPT`."""

    video_ids: NDArray[np.int64]
    counts: Counts
    grouping: tuple[Grouping, ...]
    place: NDArray[np.int8]
    n_pairs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.video_ids)


@dataclass(frozen=True, slots=True)
class Change:
    """What judging again would do. `leaving` videos are kept now; `n_pairs` is what those have, and none is lost."""

    n_kept: int
    n_left_out: tuple[int, ...]
    """At each of `RULES`."""
    n_unknown: int
    coming: tuple[int, ...]
    leaving: tuple[int, ...]
    n_leaving_with_pairs: int
    n_pairs: int


def key(session: Session) -> str:
    """Another word whenever a video, a judgement or a pair came, went or changed."""
    v, t = VideoRow, TimelineRow
    judged = select(func.count(), func.sum(t.id)).join(v, v.id == t.video_id).where(t.current == 1, v.status == "ok")
    others = (func.max(PairRow.id), func.count(SegmentationRow.likeness))
    return "/".join(map(str, (*session.execute(judged).one(), *(session.execute(select(n)).scalar() for n in others))))


def measured(session: Session) -> Measured:
    """The counted values of every usable video."""
    v, t = VideoRow, TimelineRow
    columns: tuple[Any, ...] = (t.video_id, t.config_sha256, t.n_shots, t.n_clips, t.left_out_by, t.rules)
    query = select(*columns).join(v, v.id == t.video_id).where(t.current == 1, v.status == "ok").order_by(t.video_id)
    rows = session.execute(query).all()
    groupings = _groupings(session)
    values = [_values(row.rules) for row in rows]
    ids = np.asarray([row.video_id for row in rows], np.int64)
    place_of = {code: i for i, code in enumerate(RULES)}
    return Measured(
        video_ids=ids,
        counts=Counts(
            *(np.asarray(column, np.float64) for column in (zip(*values, strict=True) if values else [[]] * 4))
        ),
        grouping=tuple(groupings[row.config_sha256] for row in rows),
        place=np.asarray([KEPT if r.left_out_by is None else place_of.get(r.left_out_by, 0) for r in rows], np.int8),
        n_pairs=_pairs_of(session, ids),
    )


def _values(rules: list[Any]) -> tuple[float, float, float, float]:
    of = {rule["code"]: rule["value"] for rule in rules}
    names = ("too_few_shots", "shot_too_long", "too_few_clips", "group_dominates")
    shots, longest, clips, largest = (np.nan if of.get(name) is None else float(of[name]) for name in names)
    return shots, longest, clips, largest


def _groupings(session: Session) -> dict[str, Grouping]:
    """By the thresholds' hash; there are few of them."""
    t = TimelineRow
    some = select(func.min(t.id)).where(t.current == 1).group_by(t.config_sha256)
    rows = session.execute(select(t.config_sha256, t.params).where(t.id.in_(some)))
    return {sha256: tuple(float(params.get(name, np.nan)) for name in SHAPES) for sha256, params in rows}


def _pairs_of(session: Session, video_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    query = select(PairRow.video_id, func.count()).group_by(PairRow.video_id)
    n_of = dict(session.execute(query).all())
    return np.asarray([n_of.get(int(video_id), 0) for video_id in video_ids], np.int64)


def shots(session: Session) -> dict[int, Shots]:
    """Every detected shot of every usable video, for thresholds that change which shots and clips there are."""
    v, t, s = VideoRow, TimelineRow, SegmentationRow
    query = (
        select(t.video_id, t.shots, s.likeness)
        .join(v, v.id == t.video_id)
        .join(s, s.id == t.segmentation_id)
        .where(t.current == 1, v.status == "ok")
    )
    return {video_id: _shots(found, alike) for video_id, found, alike in session.execute(query)}


def _shots(found: list[Any], alike: bytes | None) -> Shots:
    n = len(found)
    matrix = np.frombuffer(alike or b"", np.float32)
    return Shots(
        np.asarray([shot[2] for shot in found], np.float64),
        np.asarray([shot[3] for shot in found], np.float64),
        matrix.reshape(n, n) if n and matrix.size == n * n else None,
    )


def regrouped(known: Measured, of: dict[int, Shots], richness: Richness) -> Measured:
    """The same videos with shots and clips counted under other thresholds; about 0.3 ms a video."""
    asked = grouping_of(richness)
    values = []
    for i, video_id in enumerate(known.video_ids.tolist()):
        if known.grouping[i] == asked or video_id not in of:
            c = known.counts
            values.append((c.n_shots[i], c.longest_s[i], c.n_clips[i], c.largest_group[i]))
        else:
            values.append(counted(of[video_id], richness))
    columns = np.asarray(values, np.float64).reshape(-1, 4).T
    return replace(known, counts=Counts(*columns), grouping=(asked,) * len(known))


def grouping_of(richness: Richness) -> Grouping:
    return tuple(float(getattr(richness, name)) for name in SHAPES)


def needs_shots(known: Measured, richness: Richness) -> bool:
    """Whether some video was counted under other thresholds of `SHAPES`, so that `regrouped` is due."""
    return any(grouping != grouping_of(richness) for grouping in set(known.grouping))


def change(known: Measured, counts: Counts, richness: Richness) -> Change:
    """What these thresholds make of the library, against what stands now."""
    found = verdicts(counts, richness)
    leaving = (known.place == KEPT) & (found >= 0)
    coming = (known.place != KEPT) & (found == KEPT)
    return Change(
        n_kept=int((found == KEPT).sum()),
        n_left_out=tuple(int((found == place).sum()) for place in range(len(RULES))),
        n_unknown=int((found == UNKNOWN).sum()),
        coming=tuple(known.video_ids[coming].tolist()),
        leaving=tuple(known.video_ids[leaving].tolist()),
        n_leaving_with_pairs=int((known.n_pairs[leaving] > 0).sum()),
        n_pairs=int(known.n_pairs[leaving].sum()),
    )


def of_thresholds(session: Session, richness: Richness, video_ids: Collection[int] | None = None) -> Change:
    """The whole way at once, for a caller that keeps nothing; `video_ids` narrows it."""
    known = measured(session)
    again = regrouped(known, shots(session), richness) if needs_shots(known, richness) else known
    if video_ids is not None:
        known, again = (narrowed(part, video_ids) for part in (known, again))
    return change(known, again.counts, richness)


def narrowed(known: Measured, video_ids: Collection[int]) -> Measured:
    """Only these videos."""
    at = np.flatnonzero(np.isin(known.video_ids, np.asarray(sorted(video_ids), np.int64)))
    c = known.counts
    return Measured(
        known.video_ids[at],
        Counts(c.n_shots[at], c.longest_s[at], c.n_clips[at], c.largest_group[at]),
        tuple(known.grouping[i] for i in at.tolist()),
        known.place[at],
        known.n_pairs[at],
    )


def thresholds_now(session: Session) -> Richness:
    """The thresholds under which most videos stand; the defaults where nothing was judged."""
    t = TimelineRow
    most = select(func.max(t.id)).where(t.current == 1).group_by(t.config_sha256).order_by(func.count().desc()).limit(1)
    params = session.execute(select(t.params).where(t.id == most.scalar_subquery())).scalar_one_or_none()
    if params is None:
        return Richness()
    known = {name: value for name, value in params.items() if name in Richness.__slots__ and name != "detector"}
    return Richness(**known, detector=DetectorConfig(**params["detector"]))
