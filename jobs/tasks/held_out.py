"""What a dataset version holds out, as the benchmarks on held-out videos take it."""

from __future__ import annotations

from collections.abc import Sequence

from db import captions, datasets, timelines
from db.datasets import DatasetCard, FrozenPair
from db.session import Database
from jobs.payloads import EvaluatePayload
from tempo_core.benchmarks.base import HeldOutVideo, Material
from tempo_core.errors import TooFew
from tempo_core.pictures import Pictures
from tempo_core.settings import Home


def material(database: Database, version: DatasetCard, model_id: int, payload: EvaluatePayload, home: Home) -> Material:
    """The held-out videos of the version and their pairs, with captions, the measured model's own first.

    Raises:
        TooFew: Nothing is held out.
    """
    with database.reading() as session:
        frozen = datasets.items(session, version.id, "held_out")
        kept = {v.video_id: v for v in timelines.kept(session, {item.video_id for item in frozen} or None)}
        told = captions.of_timelines(session, {v.timeline.id for v in kept.values()} if frozen else (), model_id)
    if not frozen:
        raise TooFew(
            f"{version.name} {version.number} holds nothing out: it has {version.n_videos} videos, and five are needed."
        )
    videos = tuple(
        HeldOutVideo(
            v.video,
            v.times_sha256,
            tuple(clip.key_frames for clip in v.timeline.timeline),
            tuple(clip.group for clip in v.timeline.timeline),
            told.texts.get(v.timeline.id, ()),
        )
        for v in (kept[i] for i in dict.fromkeys(item.video_id for item in frozen) if i in kept)
    )
    spread = _spread(frozen)[: payload.limit and payload.limit * 8]
    return Material(
        videos=videos[: payload.limit],
        pairs=tuple(item.pair for item in spread),
        pictures=Pictures(home.cache, None).get,
        seed=payload.seed,
        orders={item.pair.uid: item.order for item in spread if item.order is not None},
        captions_by=told.by,
    )


def _spread(frozen: Sequence[FrozenPair]) -> list[FrozenPair]:
    """Pairs in the order of their uid, so that a limit takes some of every video."""
    return sorted(frozen, key=lambda item: item.pair.uid)
