"""From stored measures to a timeline, and whether the video is rich enough in time to perturb it.

Pure: nothing is decoded, so every threshold is a slider. All rules are evaluated and keep their value; the first that
fails is why a video is left out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tempo_core import likeness
from tempo_core.measures import Measures
from tempo_core.shots import DetectorConfig, shots
from tempo_core.types import Clip, Shot, Timeline

MAX_GROUPED_SHOTS = 256
"""Grouping costs n^3; a video with more kept shots has failed `too_many_shots` long before."""


@dataclass(frozen=True, slots=True)
class Richness:
    """Every threshold between a file and its timeline; the paper's values, but for `likeness` (its was for SigLIP)."""

    min_shot_s: float = 0.2
    blank_contrast: int = 10
    """A shot whose grey values span less than this over all its frames is blank."""
    min_shots: int = 4
    max_shots: int = 32
    max_shot_s: float = 16.0
    likeness: float = 0.85
    min_clips: int = 4
    max_group_clips: int = 3
    group_divisor: int = 3
    """No group may own more than min(max_group_clips, n_clips // group_divisor) clips."""
    key_frames_per_clip: int = 2
    detector: DetectorConfig = field(default_factory=DetectorConfig)


@dataclass(frozen=True, slots=True)
class JudgedShot:
    """One detected shot. `dropped_by` is "short", "blank" or None; `group` is None where it was dropped."""

    start: int
    end: int
    seconds: float
    contrast: int
    dropped_by: str | None
    group: int | None


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule of the video with what it measured; `value` is None where an earlier failure left nothing to measure."""

    code: str
    passed: bool
    value: float | None
    limit: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """A video's timeline and the verdict of every rule. `clip_likeness` (n, n) is the mean likeness of their shots."""

    timeline: Timeline
    shots: tuple[JudgedShot, ...]
    rules: tuple[RuleResult, ...]
    left_out_by: str | None
    left_out_value: float | None
    clip_likeness: NDArray[np.float32]

    @property
    def kept(self) -> bool:
        return self.left_out_by is None


def judge(measures: Measures, richness: Richness = Richness()) -> Judgement:
    """The timeline of a video, and the first rule that leaves it out (None: kept)."""
    found = shots(measures, richness.detector)
    edges = measures.edges_s
    judged = [_judged(measures, edges, shot, richness) for shot in found]
    kept = [i for i, shot in enumerate(judged) if shot.dropped_by is None]
    timeline: Timeline = ()
    clip_likeness = np.zeros((0, 0), np.float32)
    if 0 < len(kept) <= MAX_GROUPED_SHOTS:
        alike = likeness.matrix(measures, [found[i] for i in kept])
        group = [kept[g] for g in likeness.groups(alike, richness.likeness)]
        for i, g in zip(kept, group, strict=True):
            judged[i] = _grouped(judged[i], g)
        timeline = clips(found, dict(zip(kept, group, strict=True)), measures.sharpness, richness.key_frames_per_clip)
        clip_likeness = _between_clips(alike, kept, timeline)
    rules = _rules(judged, timeline, len(kept) <= MAX_GROUPED_SHOTS, richness)
    failed = next((rule for rule in rules if not rule.passed), None)
    return Judgement(
        timeline=timeline,
        shots=tuple(judged),
        rules=rules,
        left_out_by=failed.code if failed else None,
        left_out_value=failed.value if failed else None,
        clip_likeness=clip_likeness,
    )


def _judged(measures: Measures, edges: NDArray[np.float64], shot: Shot, richness: Richness) -> JudgedShot:
    seconds = float(edges[shot.end] - edges[shot.start])
    span = slice(shot.start, shot.end)
    contrast = int(measures.hi[span].max()) - int(measures.lo[span].min())
    dropped_by = None
    if seconds < richness.min_shot_s - 1e-6:
        dropped_by = "short"
    elif contrast < richness.blank_contrast:
        dropped_by = "blank"
    return JudgedShot(shot.start, shot.end, seconds, contrast, dropped_by, None)


def _grouped(shot: JudgedShot, group: int) -> JudgedShot:
    return JudgedShot(shot.start, shot.end, shot.seconds, shot.contrast, shot.dropped_by, group)


def clips(found: Sequence[Shot], group: dict[int, int], sharpness: NDArray[np.float32], n_key_frames: int) -> Timeline:
    """The longest runs of neighbouring kept shots of one group. `group` maps each kept shot's index to its group."""
    runs = [list(run) for _, run in groupby(sorted(group), key=lambda i: group[i])]
    timeline = []
    for run in runs:
        ranges = _fused([(found[i].start, found[i].end) for i in run])
        timeline.append(Clip(tuple(run), ranges, group[run[0]], key_frames(ranges, sharpness, n_key_frames)))
    return tuple(timeline)


def _fused(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    fused = [ranges[0]]
    for start, end in ranges[1:]:
        if start == fused[-1][1]:
            fused[-1] = (fused[-1][0], end)
        else:
            fused.append((start, end))
    return tuple(fused)


def key_frames(
    ranges: Sequence[tuple[int, int]], sharpness: NDArray[np.float32], n_key_frames: int = 2
) -> tuple[int, ...]:
    """The sharpest frames near evenly spaced centres of a clip: for two, near its thirds.

    Around each centre a cosine window as wide as half the spacing weighs the sharpness; equal values go to the frame
    nearest to the centre, then to the earlier one.
    """
    numbers = np.concatenate([np.arange(start, end) for start, end in ranges])
    length, reach = len(numbers), len(numbers) / (2 * (n_key_frames + 1))
    chosen = []
    for j in range(1, n_key_frames + 1):
        centre = j * length / (n_key_frames + 1)
        first, last = max(0, math.ceil(centre - reach)), min(length - 1, math.floor(centre + reach))
        if length < 6 or first > last:
            chosen.append(int(numbers[min(length - 1, int(centre))]))
            continue
        places = np.arange(first, last + 1)
        distance = np.abs(places - centre)
        value = np.cos(np.pi / 2 * np.minimum(distance / reach, 1.0)) * sharpness[numbers[places]]
        # Rounded: equal sharpness at both sides of the centre must tie on every machine.
        best = min(range(len(places)), key=lambda k: (-round(float(value[k]), 6), distance[k], places[k]))
        chosen.append(int(numbers[places[best]]))
    return tuple(chosen)


def _between_clips(alike: NDArray[np.float32], kept: Sequence[int], timeline: Timeline) -> NDArray[np.float32]:
    place = {shot: k for k, shot in enumerate(kept)}
    members = [[place[shot] for shot in clip.shots] for clip in timeline]
    means = [[alike[np.ix_(a, b)].mean() for b in members] for a in members]
    return np.asarray(means, np.float32).clip(0.0, 1.0)


def _rules(
    judged: Sequence[JudgedShot], timeline: Timeline, grouped: bool, richness: Richness
) -> tuple[RuleResult, ...]:
    kept = [shot for shot in judged if shot.dropped_by is None]
    n_shots, n_clips = len(kept), len(timeline)
    longest = max((shot.seconds for shot in kept), default=0.0)
    largest = max(Counter(clip.group for clip in timeline).values(), default=0)
    most = min(richness.max_group_clips, n_clips // richness.group_divisor)
    return (
        RuleResult("too_few_shots", n_shots >= richness.min_shots, n_shots, richness.min_shots),
        RuleResult("too_many_shots", n_shots <= richness.max_shots, n_shots, richness.max_shots),
        RuleResult("shot_too_long", longest <= richness.max_shot_s, longest, richness.max_shot_s),
        RuleResult(
            "too_few_clips", grouped and n_clips >= richness.min_clips, n_clips if grouped else None, richness.min_clips
        ),
        RuleResult("group_dominates", grouped and largest <= most, largest if grouped else None, most),
    )


def timeline_sha256(video_sha256: str, times_sha256: str, timeline: Timeline) -> str:
    """The identity of a timeline: same video, same frame numbering, same clips."""
    clips_of = [{"ranges": [list(part) for part in clip.ranges], "group": clip.group} for clip in timeline]
    content = {"video": video_sha256, "times": times_sha256, "clips": clips_of}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
