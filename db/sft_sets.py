"""Sets of questions with answers for supervised fine-tuning, kept whole and known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import people, videos
from db.people import Person
from db.session import now_ms
from db.tables import SftItemRow, SftSetRow, TimelineRow, VideoRow, canonical
from tempo_core.errors import DatasetDrift, TooFew, Unknown
from tempo_core.types import Example


@dataclass(frozen=True, slots=True)
class SftDraft:
    """One example to keep: `timeline_id` says which key frames are shown."""

    example: str
    video_id: int
    timeline_id: int
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class SftCard:
    id: int
    name: str
    number: int
    """The version: sets of one name are counted from 1, and other content is the next one."""
    kind: str
    source: str | None
    content_sha256: str
    n_items: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class SftLine:
    """A set in a list, with what has become of its videos."""

    card: SftCard
    n_videos: int
    missing: tuple[str, ...]
    """Videos whose file is not where it was last seen."""


def create(
    session: Session,
    person: Person,
    name: str,
    kind: Literal["world", "jsonl"],
    drafts: Sequence[SftDraft],
    source: str | None = None,
) -> int:
    """Keep a set; the same content again is the same set."""
    people.require(person, "admin")
    if not drafts:
        raise TooFew(f"The SFT set {name} has no example, so nothing could be learned from it.")
    content = _content_sha256(session, drafts)
    known = session.execute(select(SftSetRow.id).where(SftSetRow.content_sha256 == content)).scalar_one_or_none()
    if known is not None:
        return known
    row = SftSetRow(
        name=name,
        kind=kind,
        source=source,
        content_sha256=content,
        n_items=len(drafts),
        created_by=person.id,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    session.add_all(
        SftItemRow(
            sft_set_id=row.id,
            ordinal=ordinal,
            example=draft.example,
            video_id=draft.video_id,
            timeline_id=draft.timeline_id,
            question=draft.question,
            answer=draft.answer,
        )
        for ordinal, draft in enumerate(drafts)
    )
    session.flush()
    return row.id


def items(session: Session, sft_set_id: int) -> list[Example]:
    """The examples in their order."""
    rows = _rows(session, sft_set_id)
    if not rows:
        raise Unknown(f"There is no SFT set {sft_set_id}.")
    places = videos.places_of(session, {video.id for _, video, _ in rows})
    found = []
    for item, video, timeline in rows:
        root, rel_path = places[video.id][0]
        value = videos.as_value(video, root / rel_path)
        key_frames = tuple(tuple(clip["key_frames"]) for clip in timeline.clips)
        found.append(Example(item.example, value, video.times_sha256 or "", key_frames, item.question, item.answer))
    return found


def verify(session: Session, sft_set_id: int) -> str:
    """Recompute the content hash; raises `DatasetDrift` where it is not what was kept."""
    card = get(session, sft_set_id)
    drafts = [
        SftDraft(item.example, item.video_id, item.timeline_id, item.question, item.answer)
        for item, _, _ in _rows(session, sft_set_id)
    ]
    found = _content_sha256(session, drafts)
    if found != card.content_sha256:
        raise DatasetDrift(
            f"SFT set {card.name} was kept as {card.content_sha256[:12]} and is now {found[:12]}. "
            "Make it again, or restore a backup."
        )
    return found


def get(session: Session, sft_set_id: int) -> SftCard:
    found = [card for card in listing(session) if card.id == sft_set_id]
    if not found:
        raise Unknown(f"There is no SFT set {sft_set_id}.")
    return found[0]


def listing(session: Session) -> list[SftCard]:
    """Every set, the newest first."""
    s = SftSetRow
    number = func.row_number().over(partition_by=s.name, order_by=s.id)
    columns: tuple[Any, ...] = (
        s.id, s.name, number, s.kind, s.source, s.content_sha256, s.n_items, s.created_ms,
    )  # fmt: skip
    return [SftCard(*row) for row in session.execute(select(*columns).order_by(s.id.desc()))]


def lines(session: Session) -> list[SftLine]:
    """Every set with its videos, the newest first; looks whether each file is there."""
    i = SftItemRow
    rows = session.execute(select(i.sft_set_id, i.video_id, VideoRow.name).join(VideoRow).distinct())
    of_set: dict[int, dict[int, str]] = {}
    for sft_set_id, video_id, name in rows:
        of_set.setdefault(sft_set_id, {})[video_id] = name
    places = videos.places_of(session, {video_id for named in of_set.values() for video_id in named})
    there = {video_id for video_id, seen in places.items() if any((root / path).is_file() for root, path in seen)}
    return [
        SftLine(card, len(named), tuple(sorted(name for video_id, name in named.items() if video_id not in there)))
        for card in listing(session)
        for named in [of_set.get(card.id, {})]
    ]


def _rows(session: Session, sft_set_id: int) -> list[Any]:
    query = (
        select(SftItemRow, VideoRow, TimelineRow)
        .join(VideoRow, VideoRow.id == SftItemRow.video_id)
        .join(TimelineRow, TimelineRow.id == SftItemRow.timeline_id)
        .where(SftItemRow.sft_set_id == sft_set_id)
        .order_by(SftItemRow.ordinal)
        .execution_options(populate_existing=True)
    )
    return list(session.execute(query).all())


def _content_sha256(session: Session, drafts: Sequence[SftDraft]) -> str:
    """Over contents, not ids, so that the same set has the same hash in every database."""
    shown = select(TimelineRow.id, VideoRow.sha256, TimelineRow.sha256, TimelineRow.clips)
    rows = session.execute(shown.join(VideoRow, VideoRow.id == TimelineRow.video_id))
    wanted = {draft.timeline_id for draft in drafts}
    of = {i: [video, timeline, [c["key_frames"] for c in clips]] for i, video, timeline, clips in rows if i in wanted}
    if missing := wanted - of.keys():
        raise Unknown(f"There is no timeline {min(missing)}; scan the videos of the set first.")
    content = [[draft.example, *of[draft.timeline_id], draft.question, draft.answer] for draft in drafts]
    return hashlib.sha256(canonical(content).encode()).hexdigest()
