"""The pairs of a frozen version with all that an export tells of them: what they were made of, and where files lie.

A video is its bytes: a file that is gone or changed since the scan takes its pairs out of the bundle, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from db import datasets, models, pairs, reviews
from db.datasets import FrozenPair
from db.session import Database
from jobs import clips
from tempo_core.errors import FrameTimesChanged, MediaError, TimelineTooShort, Unknown
from tempo_core.exchange import ExportPair, Provenance
from tempo_core.media import sha256_of
from tempo_core.settings import Home
from tempo_core.types import Progress, Video

Tell = Callable[[Progress], None]
GONE = "its video is not where it was last seen"
CHANGED = "its video is not the one that was scanned"
NOT_RENDERED = (Unknown, FrameTimesChanged, MediaError, TimelineTooShort)


def rows(database: Database, version_id: int, tell: Tell) -> list[ExportPair]:
    """Every pair of the version in its frozen order."""
    with database.reading() as session:
        frozen = datasets.items(session, version_id)
        decided = reviews.made_by(session, [item.review_id for item in frozen])
        read = []
        for n, item in enumerate(frozen, start=1):
            read.append(_row(session, item, *decided[item.review_id]))
            if n % 200 == 0:
                tell(Progress(n, len(frozen), f"{n:,} of {len(frozen):,} pairs read"))
    return _checked(read, [item.pair.video for item in frozen], tell)


def _row(session: Session, item: FrozenPair, reviewer_id: int, act: str) -> ExportPair:
    """One pair with where it comes from. People are numbers outside the studio."""
    pair, card = item.pair, pairs.get(session, item.pair.pair_id)
    plan = card.plan
    return ExportPair(
        uid=pair.uid,
        video=pair.video.path,
        video_sha256=pair.video.sha256,
        prompt=pair.prompt,
        chosen=pair.chosen,
        rejected=pair.rejected,
        kind=pair.kind,
        magnitude=pair.magnitude,
        difficulty=pair.difficulty,
        level=pair.level,
        order=item.order,
        split=item.split,
        provenance=Provenance(
            model=card.from_clean.model,
            model_sha256=models.get(session, card.from_clean.model_id).files_sha256,
            input=card.input,
            timeline_sha256=item.timeline_sha256 or "",
            n_clips=len(card.timeline) or None,
            seed=plan.seed if plan else None,
            law=plan.law if plan else None,
            attempt=plan.attempt if plan else 0,
            aliases=plan.aliases if plan else (),
            sampling=card.from_clean.sampling,
            filters=card.verdicts,
            reviewer=str(reviewer_id),
            edited=pair.chosen != card.chosen or pair.rejected != card.rejected,
            bulk=act.startswith("bulk"),
        ),
    )


def _checked(read: Sequence[ExportPair], videos: Sequence[Video], tell: Tell) -> list[ExportPair]:
    """With the reason where the file is not what was scanned; each file is read once."""
    wanted = {video.path: video.sha256 for video in videos}
    faults = {}
    for n, (path, sha256) in enumerate(wanted.items(), start=1):
        faults[path] = GONE if not path.is_file() else CHANGED if sha256_of(path) != sha256 else ""
        tell(Progress(n, len(wanted), f"{n:,} of {len(wanted):,} videos checked"))
    return [replace(row, fault=faults[row.video]) for row in read]


def with_clips(
    database: Database, home: Home, version_id: int, read: Sequence[ExportPair], tell: Tell
) -> list[ExportPair]:
    """With both orders of each pair rendered alike; a pair that has no plan stays without."""
    with database.reading() as session:
        items = {item.pair.uid: item for item in datasets.items(session, version_id)}
    folder = home.cache / "rendered"

    def rendered(pair_id: int, side: clips.Side, name: str) -> Path:
        path = folder / name
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            clips.export_side(database, home, pair_id, side, path, titles=False, long_side=None)
        return path

    found = []
    for n, row in enumerate(read, start=1):
        item = items[row.uid]
        if item.plan_sha256 is not None and not row.fault:
            try:
                clean, perturbed = _names(item)
                pair_id = item.pair.pair_id
                both = rendered(pair_id, "chosen", clean), rendered(pair_id, "rejected", perturbed)
                row = replace(row, clips=both)
            except NOT_RENDERED as error:
                row = replace(row, fault=str(error))
        found.append(row)
        tell(Progress(n, len(read), f"{n:,} of {len(read):,} pairs rendered"))
    return found


def _names(item: FrozenPair) -> tuple[str, str]:
    """Of content, so that one file serves every pair and every later export that shows the same."""
    video, pair = item.pair.video.sha256[:12], item.pair
    clean = f"{video}_clean_{(item.timeline_sha256 or '')[:8]}.mp4"
    return clean, f"{video}_{pair.kind}_r{pair.magnitude}_{(item.plan_sha256 or '')[:8]}.mp4"
