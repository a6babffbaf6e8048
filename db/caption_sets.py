"""Captions that came with a data set: kept clip by clip like a model's own, under a model row that names their file.

The one thing to know: a file is known by its hash. The same file is the same set, however often it is read in; what a
later reading adds are captions of timelines that were not there before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import models, prompts, responses, samplings
from db.responses import CaptionRecipe
from db.tables import CaptionRow, ModelRow
from tempo_core.errors import Unknown
from tempo_core.types import Answer, JsonDict

FAMILY = "captions"
"""Of the model row that stands for a file."""

_PROMPT = "Captions that came with the videos; no model was asked for them."
_SOME = 500
"""Ids in one query; SQLite allows some thousands."""


@dataclass(frozen=True, slots=True)
class CaptionSet:
    """A file of captions as it was read in."""

    id: int
    name: str
    file: Path
    sha256: str
    n_captions: int
    n_timelines: int


def record(
    session: Session,
    file: Path,
    name: str,
    sha256: str,
    rule: JsonDict,
    captions: Mapping[int, Mapping[int, str]],
) -> tuple[int, int]:
    """Keep captions by timeline and clip; known ones stay as they are. (id of the set, how many were new).

    Args:
        rule: How segments were given to clips, kept with every caption.
    """
    set_id = models.register(session, file, FAMILY, sha256, name)
    prompt_id = prompts.id_of(session, _PROMPT, "captions/file")
    sampling_id = samplings.id_of_settings(session, {"backend": "file", "rule": rule})
    n_new = 0
    for timeline_id, by_clip in captions.items():
        recipe = CaptionRecipe(timeline_id, set_id, prompt_id, sampling_id, seed=0)
        # How many tokens a text has is a model's to say, and none was asked.
        answers = {clip: Answer(text, 0, "stop") for clip, text in by_clip.items()}
        n_new += responses.record_captions(session, recipe, answers)
    return set_id, n_new


def get(session: Session, set_id: int) -> CaptionSet:
    found = {card.id: card for card in listing(session)}
    if set_id not in found:
        known = ", ".join(f"{card.id} ({card.name})" for card in found.values()) or "none yet"
        raise Unknown(
            f"There is no set of captions {set_id}; there is {known}. Read one in: python -m jobs captions FILE"
        )
    return found[set_id]


def listing(session: Session) -> list[CaptionSet]:
    """The newest first."""
    n_captions, n_timelines = func.count(CaptionRow.id), func.count(func.distinct(CaptionRow.timeline_id))
    query = (
        select(ModelRow.id, ModelRow.name, ModelRow.path, ModelRow.files_sha256, n_captions, n_timelines)
        .outerjoin(CaptionRow, CaptionRow.model_id == ModelRow.id)
        .where(ModelRow.family == FAMILY)
        .group_by(ModelRow.id)
        .order_by(ModelRow.id.desc())
    )
    return [
        CaptionSet(set_id, name, Path(path), sha256, n, n_of)
        for set_id, name, path, sha256, n, n_of in session.execute(query)
    ]


def of_timelines(session: Session, set_id: int, timeline_ids: Collection[int]) -> dict[int, dict[int, str]]:
    """The set's captions of these timelines, by clip index; timelines without one are left out."""
    found: dict[int, dict[int, str]] = {}
    wanted = sorted(timeline_ids)
    for start in range(0, len(wanted), _SOME):
        query = (
            select(CaptionRow.timeline_id, CaptionRow.clip_idx, CaptionRow.text)
            .where(CaptionRow.model_id == set_id, CaptionRow.timeline_id.in_(wanted[start : start + _SOME]))
            .order_by(CaptionRow.id)
        )
        for timeline_id, clip, text in session.execute(query):
            found.setdefault(timeline_id, {})[clip] = text
    return found
