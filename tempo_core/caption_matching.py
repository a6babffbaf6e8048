"""Which captions of a data set are about which clip of the timeline: by the time they share.

The one thing to know: the rule is symmetric. A caption belongs to the clip that holds most of it, if that is at least
half of the caption; a clip counts as captioned if its captions cover at least half of the clip. What spreads over
several clips would tell all of them alike, and what covers a corner of a clip does not describe it: both are left out
with the reason. Half is our choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tempo_core.exchange.captions import Segment
from tempo_core.types import JsonDict

MIN_SHARE = 0.5
RULE: JsonDict = {"match": "overlap", "min_share_of_caption": MIN_SHARE, "min_share_of_clip": MIN_SHARE}
"""Stored with every caption that it placed."""

Span = tuple[float, float]
"""Half-open, in seconds."""

Reason = Literal["whole_video", "outside", "spread", "corner"]

REASONS: dict[Reason, str] = {
    "whole_video": "about a whole video of several clips, so it cannot be put into another order; python -m jobs sft "
    "makes such captions examples to train on",
    "outside": "about a time that is in no clip: after the end, or in shots that the scan dropped",
    "spread": f"less than {MIN_SHARE:.0%} of it lies in any one clip",
    "corner": f"covers less than {MIN_SHARE:.0%} of its clip",
}


@dataclass(frozen=True, slots=True)
class Matching:
    """The captions of one video's clips, by clip index, and why the others are not among them."""

    captions: dict[int, str]
    unmatched: tuple[tuple[Segment, Reason], ...]

    @property
    def reasons(self) -> Counter[Reason]:
        return Counter(reason for _, reason in self.unmatched)


def match(clips: Sequence[Sequence[Span]], segments: Sequence[Segment]) -> Matching:
    """Give each segment to a clip.

    Args:
        clips: Of each clip the spans that its shots fill.
    """
    placed: dict[int, list[Segment]] = {}
    unmatched: list[tuple[Segment, Reason]] = []
    for segment in segments:
        clip = _clip_of(clips, segment)
        if isinstance(clip, int):
            placed.setdefault(clip, []).append(segment)
        else:
            unmatched.append((segment, clip))
    captions = {}
    for clip, of_clip in sorted(placed.items()):
        if _covered(clips[clip], of_clip) >= MIN_SHARE:
            captions[clip] = _joined(of_clip)
        else:
            unmatched += [(segment, "corner") for segment in of_clip]
    return Matching(captions, tuple(unmatched))


def _clip_of(clips: Sequence[Sequence[Span]], segment: Segment) -> int | Reason:
    span = _span(segment)
    if span is None:
        # The only clip is the whole video.
        return 0 if len(clips) == 1 else "whole_video"
    shared = [sum(_overlap(part, span) for part in clip) for clip in clips]
    most = max(shared, default=0.0)
    if most <= 0:
        return "outside"
    return shared.index(most) if most / (span[1] - span[0]) >= MIN_SHARE else "spread"


def _covered(clip: Sequence[Span], segments: Sequence[Segment]) -> float:
    """Which share of the clip its captions cover together, overlaps counted once."""
    spans = [span for span in map(_span, segments) if span is not None]
    if len(spans) < len(segments):
        return 1.0
    covered = sum(_overlap(part, span) for part in clip for span in _fused(spans))
    return covered / sum(end - start for start, end in clip)


def _fused(spans: Sequence[Span]) -> list[Span]:
    fused: list[Span] = []
    for start, end in sorted(spans):
        if fused and start <= fused[-1][1]:
            fused[-1] = (fused[-1][0], max(end, fused[-1][1]))
        else:
            fused.append((start, end))
    return fused


def _joined(segments: Sequence[Segment]) -> str:
    """In the order of time; the same words twice are said once."""
    ordered = sorted(segments, key=lambda segment: (segment.start_s or 0.0, segment.line))
    return " ".join(dict.fromkeys(segment.caption for segment in ordered))


def _span(segment: Segment) -> Span | None:
    return None if segment.start_s is None or segment.end_s is None else (segment.start_s, segment.end_s)


def _overlap(a: Span, b: Span) -> float:
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
