"""From the database to what the desk is given: the queue of pairs as plain values, and the counts above it.

Moments are frame numbers here; the browser derives seconds from the rate, or from the times where it is not constant.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import claims, pair_margins, pairs, reviews, videos
from db.pair_filters import PairFilter
from db.pairs import PairCard
from db.people import Person
from db.reviews import ReviewLine
from db.session import Database
from tempo_core import diff
from tempo_core.errors import DatabaseBusy, MediaError, NoSpace, Unknown
from tempo_core.measures import load_measures, measures_path
from tempo_core.settings import Home

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

QUEUE = 8
"""Pairs held by one desk. A queue of 4 runs dry above 5 keys a second."""

MOST_COMMENTS = 50

DID = {
    "accept": "accepted it",
    "reject": "rejected it",
    "swap": "swapped the sides and accepted it",
    "edit": "edited and accepted it",
    "flag": "flagged it",
    "undo": "took the decision back",
    "reason": "said why",
    "bulk_accept": "accepted it with others",
    "bulk_reject": "rejected it with others",
}

Sign = Callable[[str, int], str]
"""(room, number) -> the address of a private file for the browser that asks."""


def desk_data(
    database: Database,
    home: Home,
    person: Person,
    wanted: PairFilter,
    sign: Sign,
    *,
    pinned: Sequence[int] = (),
    asked: int | None = None,
) -> dict[str, Any]:
    """Claim the next pairs of a filter and describe them, after the one `asked` for and those that are pinned."""
    held, trouble = _claimed(database, person, wanted)
    # A long list of pinned pairs goes to the browser as it is worked off.
    ordered = list(dict.fromkeys([*([asked] if asked is not None else []), *pinned, *held]))[:QUEUE]
    with database.reading() as session:
        queue = described(session, home, ordered, sign, versions=held)
        counts = reviews.progress(session, person)
        left = max(len(pinned), pairs.count(session, wanted.with_status("pending")))
        past = [{"pair": p.pair_id, "act": p.act, "token": p.token} for p in reviews.latest(session, person)]
    return {
        "mode": "review",
        "queue": queue,
        "counts": {"done": counts.done, "total": counts.done + left, "median_dwell_s": counts.median_dwell_s},
        "past": past,
        "want": None if asked is None else {"pair": asked},
        "trouble": trouble,
    }


def _claimed(database: Database, person: Person, wanted: PairFilter) -> tuple[dict[int, int], str | None]:
    """{pair: version} of the queue; while nothing can be written, what the person holds, and why it is not more."""
    try:
        with database.session() as session:
            return dict(claims.claim(session, person, QUEUE, wanted)), None
    except (DatabaseBusy, NoSpace) as error:
        with database.reading() as session:
            return dict(claims.held_by(session, person, QUEUE, wanted)), str(error)


def described(
    session: Session, home: Home, pair_ids: Sequence[int], sign: Sign, *, versions: Mapping[int, int] | None = None
) -> list[dict[str, Any]]:
    """These pairs with all that a reviewer must see, in this order; pairs that are not there are left out.

    Those whose version is known are read once and kept for a while: seven of eight were in the queue before.
    """
    known = versions or {}
    found = [_found(session, home, pair_id, known.get(pair_id)) for pair_id in pair_ids]
    n_comments = reviews.comment_counts(session, pair_ids)
    there = [
        (replace(both[0], n_comments=n_comments.get(both[0].id, 0)), both[1]) for both in found if both is not None
    ]
    margins = pair_margins.newest(session, [card.id for card, _ in there])
    return [
        pair(card, clock, sign) | _told(session, card) | {"margin": _margin(margins.get(card.id))}
        for card, clock in there
    ]


KEPT_S = 60
"""How long a pair of the queue may be shown as it was read; a new review makes a new version, so only the
level can be late. Comments are counted anew each time."""
_kept: dict[tuple[Path, int, int], tuple[float, PairCard, Clock]] = {}


def _found(session: Session, home: Home, pair_id: int, version: int | None) -> tuple[PairCard, Clock] | None:
    key = (home.root, pair_id, version or 0)
    read_at, *both = _kept.get(key, (-math.inf,))
    if time.monotonic() - read_at < KEPT_S:
        return both[0], both[1]
    try:
        card = pairs.get(session, pair_id)
    except Unknown:
        return None
    clock = clock_of(session, home, card.video_id)
    if version == card.version:
        now = time.monotonic()
        # What is too old to be shown goes at once: a pair holds its texts and its timeline.
        for old in [old for old, (at, *_both) in list(_kept.items()) if now - at >= KEPT_S]:
            _kept.pop(old, None)
        _kept[key] = (now, card, clock)
    return card, clock


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
        # Captions that came with the data set: no model saw the frames then.
        "given": "captions" in card.from_clean.sampling,
        "prompt": card.prompt,
        "ranges": ranges,
        "order": list(card.plan.order) if card.plan and card.timeline else list(range(len(ranges))),
        # The model was shown these frames of each clip, whatever it was asked on.
        "key_frames": [list(clip.key_frames) for clip in card.timeline],
        **clock.told(),
        "url": sign("clips", card.video_id),
        "sprite_url": None if card.timeline_id is None else sign("sprites", card.timeline_id),
        # As made, also where a decision stands already: a new decision is about these texts.
        "chosen": card.chosen,
        "rejected": card.rejected,
        "diff": _diff(card.chosen, card.rejected),
        "checks": [{"name": v.name, "passed": v.passed, "value": v.value, "rule": v.rule} for v in card.verdicts],
    }


def _told(session: Session, card: PairCard) -> dict[str, Any]:
    """What people said and did about a pair: comments, every review, and the verdict that stands."""
    lines = reviews.history(session, card.id) if card.version > 1 else []
    last = next((line for line in reversed(lines) if not line.undone and line.act != "undo"), None)
    stands = card.status not in ("pending", "filtered") and last is not None
    return {
        "comments": comments_of(session, card),
        "history": [
            {"by": line.by, "did": _did(line), "reason": line.reason, "at_ms": line.created_ms, "undone": line.undone}
            for line in lines
        ],
        "standing": {"verdict": card.status, "by": last.by, "at_ms": last.created_ms} if stands and last else None,
    }


def comments_of(session: Session, card: PairCard) -> list[list[Any]]:
    """[author, text, unix ms] of the newest comments, the oldest of those first."""
    return [list(said) for said in reviews.comments(session, card.id)[-MOST_COMMENTS:]] if card.n_comments else []


def _did(line: ReviewLine) -> str:
    """What a review did, in words."""
    done = DID.get(line.act, line.act.replace("_", " "))
    return f"{done} and now it is {line.verdict}" if line.act == "undo" and line.verdict != "pending" else done


def _margin(found: pair_margins.Margin | None) -> dict[str, Any] | None:
    return None if found is None else {"run_id": found.run_id, "run": found.run, "value": found.value}


@dataclass(frozen=True, slots=True)
class Clock:
    """A video's frames in time. `frame_s` holds when each begins, or None where the rate is constant."""

    fps: Fraction
    n_frames: int
    frame_s: list[float] | None

    def told(self) -> dict[str, Any]:
        fps = [self.fps.numerator, self.fps.denominator]
        return {"fps": fps, "n_frames": self.n_frames, "frame_s": self.frame_s}


def clock_of(session: Session, home: Home, video_id: int) -> Clock:
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


@lru_cache(maxsize=8 * QUEUE)
def _diff(chosen: str, rejected: str) -> dict[str, Any]:
    return diff.diff(chosen, rejected).as_json()
