"""From the database to what the desk is given: the queue of pairs as plain values, and the counts above it.

Moments are frame numbers here; the browser derives seconds from the rate, or from the times where it is not constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import claims, pairs, reviews, videos
from db.pair_filters import PairFilter
from db.pairs import PairCard
from db.people import Person
from db.session import Database
from tempo_core import diff
from tempo_core.errors import MediaError, Unknown
from tempo_core.measures import load_measures, measures_path
from tempo_core.settings import Home

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

QUEUE = 8
"""Pairs held by one desk. A queue of 4 runs dry above 5 keys a second."""

Sign = Callable[[str, int], str]
"""(room, number) -> the address of a private file for the browser that asks."""


def desk_data(
    database: Database, home: Home, person: Person, wanted: PairFilter, sign: Sign, *, pinned: Sequence[int] = ()
) -> dict[str, Any]:
    """Claim the next pairs of a filter and describe them, after those that are pinned."""
    with database.session() as session:
        held = [pair_id for pair_id, _version in claims.claim(session, person, QUEUE, wanted)]
    # A long list of pinned pairs goes to the browser as it is worked off.
    ordered = [*pinned, *(pair_id for pair_id in held if pair_id not in pinned)][:QUEUE]
    with database.reading() as session:
        cards = [card for card in (_card(session, pair_id) for pair_id in ordered) if card is not None]
        clocks = {card.video_id: _clock_of(session, home, card.video_id) for card in cards}
        counts = reviews.progress(session, person)
        left = max(len(pinned), pairs.count(session, wanted.with_status("pending")))
    return {
        "queue": [pair(card, clocks[card.video_id], sign) for card in cards],
        "counts": {"done": counts.done, "total": counts.done + left, "median_dwell_s": counts.median_dwell_s},
        "reviewer": person.id,
    }


def _card(session: Session, pair_id: int) -> PairCard | None:
    try:
        return pairs.get(session, pair_id)
    except Unknown:
        return None


def pair(card: PairCard, clock: Clock, sign: Sign) -> dict[str, Any]:
    """One pair as the desk shows it. A pair without a timeline is one clip: the whole file on both sides."""
    whole = [[[0, clock.n_frames]]]
    ranges = [[list(span) for span in clip.ranges] for clip in card.timeline] or whole
    return {
        "id": card.id,
        "version": card.version,
        "kind": card.kind,
        "magnitude": card.magnitude,
        "aliases": list(card.plan.aliases) if card.plan else [],
        "difficulty": {"value": card.difficulty, "level": card.level, "axis": "measured"},
        "input": card.input,
        "prompt": card.prompt,
        "video_name": card.video_name,
        "ranges": ranges,
        "order": list(card.plan.order) if card.plan and card.timeline else list(range(len(ranges))),
        "fps": [clock.fps.numerator, clock.fps.denominator],
        "n_frames": clock.n_frames,
        "frame_s": clock.frame_s,
        "url": sign("clips", card.video_id),
        "sprite_url": None if card.timeline_id is None else sign("sprites", card.timeline_id),
        # As made, also where a decision stands already: a new decision is about these texts.
        "chosen": card.chosen,
        "rejected": card.rejected,
        "diff": _diff(card.chosen, card.rejected),
        "checks": [{"name": v.name, "passed": v.passed, "value": v.value, "rule": v.rule} for v in card.verdicts],
        "n_comments": card.n_comments,
    }


@dataclass(frozen=True, slots=True)
class Clock:
    """A video's frames in time. `frame_s` holds when each begins, or None where the rate is constant."""

    fps: Fraction
    n_frames: int
    frame_s: list[float] | None


def _clock_of(session: Session, home: Home, video_id: int) -> Clock:
    """From the stored scan; without it (cache cleared, file gone) from the video's row, as a constant rate."""
    card = videos.get(session, video_id)
    try:
        return _scanned(measures_path(home.cache, card.sha256 or ""))
    except MediaError:
        n_frames, length_s = card.n_frames or 1, card.duration_s or 1.0
        return Clock(Fraction(n_frames / length_s).limit_denominator(1001), n_frames, None)


@lru_cache(maxsize=256)
def _scanned(path: Path) -> Clock:
    measures = load_measures(path)
    times = None if measures.probe.get("constant_rate", True) else [round(t, 6) for t in measures.t.tolist()]
    return Clock(measures.fps, measures.n_frames, times)


@lru_cache(maxsize=256)
def _diff(chosen: str, rejected: str) -> dict[str, Any]:
    return diff.diff(chosen, rejected).as_json()
