"""Import conversations about scanned videos as an SFT set: `python -m jobs sft FILE`.

The one thing to know: a video is its bytes. A path of the file only leads to them, and what was never scanned has no
key frames to show, so it is refused by name or, on request, left out by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from db import datasets, sft_sets
from db.people import Person
from db.session import Database
from db.sft_sets import SftDraft
from jobs import named_videos
from jobs.named_videos import Shown
from tempo_core.errors import TempoError, TooFew, Unknown
from tempo_core.exchange import llava
from tempo_core.exchange.llava import Conversation
from tempo_core.media import sha256_of


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file. `left_out` tells why, by video as the file names it."""

    sft_set_id: int
    n_examples: int
    n_videos: int
    left_out: dict[str, str]


def import_file(
    database: Database,
    person: Person,
    file: Path,
    *,
    folder: Path | None = None,
    name: str | None = None,
    skip_missing: bool = False,
    without_held_out: int | None = None,
) -> Imported:
    """Keep the conversations of a JSONL file as an SFT set, whole or not at all.

    Args:
        folder: Where the file's relative video paths begin; its own folder when not given.
        skip_missing: Leave out videos that are not scanned instead of refusing the file.
        without_held_out: Leave out the videos that this dataset version holds out.

    Raises:
        BadLine: A line is not what the format says.
        Unknown: A video was not scanned, or has no clip.
    """
    conversations = _read(file)
    named = dict.fromkeys(conversation.video for conversation in conversations)
    begin = (folder or file.parent).resolve()
    sha256s = {video: sha256_of(begin / video) if (begin / video).is_file() else None for video in named}
    with database.session() as session:
        found, left_out = named_videos.matched(session, sha256s)
        if left_out and not skip_missing:
            raise Unknown(named_videos.refusal(left_out, len(named)))
        if without_held_out is not None:
            held_out = held_out_videos(session, without_held_out)
            for video in [video for video, shown in found.items() if shown.video_id in held_out]:
                left_out[video] = f"dataset version {without_held_out} holds it out"
                del found[video]
        drafts = _drafts(conversations, found)
        if not drafts:
            raise TooFew(f"No example of {file} is left: {named_videos.refusal(left_out, len(named))}")
        set_id = sft_sets.create(session, person, name or file.stem, "jsonl", drafts, source=str(file.resolve()))
    return Imported(set_id, len(drafts), len({draft.video_id for draft in drafts}), left_out)


def held_out_videos(session: Session, version_id: int) -> set[int]:
    """The videos that a dataset version keeps for evaluation."""
    return {item.video_id for item in datasets.items(session, version_id, "held_out")}


def _read(file: Path) -> tuple[Conversation, ...]:
    if not file.is_file():
        raise TempoError(f"{file} is no file. Name a JSONL file of conversations about videos.")
    with file.open("rb") as lines:
        return llava.parse(lines)


def _drafts(conversations: Sequence[Conversation], found: dict[str, Shown]) -> list[SftDraft]:
    return [
        SftDraft(turn.example, found[talk.video].video_id, found[talk.video].timeline_id, turn.question, turn.answer)
        for talk in conversations
        if talk.video in found
        for turn in talk.turns
    ]
