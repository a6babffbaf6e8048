"""What models said of single clips, read back: one model's captions for whole timelines."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import CaptionRow, ModelRow, TimelineRow


@dataclass(frozen=True, slots=True)
class Captions:
    """By timeline the caption of every clip, in clean order; all from the model named `by`."""

    by: str = ""
    texts: dict[int, tuple[str, ...]] = field(default_factory=dict)


def of_timelines(session: Session, timeline_ids: Collection[int], prefer_model_id: int) -> Captions:
    """Complete captions of these timelines: the preferred model's where it has any, else of who has the most.

    A timeline with a clip that has no caption, or a cut-off one, is left out. Of several sets the newest counts.
    """
    c, t = CaptionRow, TimelineRow
    query = (
        select(c.model_id, c.timeline_id, t.n_clips, c.prompt_id, c.sampling_id, c.seed, c.clip_idx, c.text)
        .join(t, t.id == c.timeline_id)
        .where(c.timeline_id.in_(timeline_ids), c.finish == "stop")
        .order_by(c.id)
    )
    sets: dict[tuple[int, ...], dict[int, str]] = {}
    for model_id, timeline_id, n_clips, prompt_id, sampling_id, seed, clip_idx, text in session.execute(query):
        recipe = (model_id, timeline_id, n_clips, prompt_id, sampling_id, seed)
        sets.setdefault(recipe, {})[clip_idx] = text
    by_model: dict[int, dict[int, tuple[str, ...]]] = {}
    for (model_id, timeline_id, n_clips, *_), texts in sets.items():
        if len(texts) == n_clips:
            by_model.setdefault(model_id, {})[timeline_id] = tuple(texts[i] for i in range(n_clips))
    if not by_model:
        return Captions()
    chosen = prefer_model_id if prefer_model_id in by_model else max(by_model, key=lambda m: (len(by_model[m]), m))
    name = session.execute(select(ModelRow.name).where(ModelRow.id == chosen)).scalar_one()
    return Captions(name, by_model[chosen])
