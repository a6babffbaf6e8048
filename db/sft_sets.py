"""Sets of questions with answers for supervised fine-tuning, kept whole and known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
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
    kind: str
    source: str | None
    content_sha256: str
    n_items: int
    created_ms: int


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
    row = session.get(SftSetRow, sft_set_id)
    if row is None:
        raise Unknown(f"There is no SFT set {sft_set_id}.")
    return _card(row)


def listing(session: Session) -> list[SftCard]:
    return [_card(row) for row in session.execute(select(SftSetRow).order_by(SftSetRow.id.desc())).scalars()]


def _card(row: SftSetRow) -> SftCard:
    return SftCard(row.id, row.name, row.kind, row.source, row.content_sha256, row.n_items, row.created_ms)


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
