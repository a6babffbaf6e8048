"""What other thresholds would make of videos that were measured: the rules again, over thousands of videos at once.

Nothing is decoded and no cache is read: the shots' lengths, contrasts and likeness are enough. Where the likeness of
a video's shots is not stored, its clips are not known (NaN) unless they were counted under the same thresholds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tempo_core import likeness
from tempo_core.timeline import MAX_GROUPED_SHOTS, Richness

RULES = ("too_few_shots", "too_many_shots", "shot_too_long", "too_few_clips", "group_dominates")
"""In the order in which they are asked."""
SHAPES = ("min_shot_s", "blank_contrast", "likeness")
"""Thresholds that change which shots and clips there are; the others only cut the counted values."""
KEPT, UNKNOWN = -1, -2
"""What `verdicts` says beside the place of a rule in `RULES`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the rules look at, over n videos (n,): NaN where it is not known."""

    n_shots: NDArray[np.float64]
    longest_s: NDArray[np.float64]
    n_clips: NDArray[np.float64]
    largest_group: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shots:
    """Every detected shot of one video, dropped ones too: (n,), (n,) and their likeness (n, n), where it is stored."""

    seconds: NDArray[np.float64]
    contrast: NDArray[np.float64]
    alike: NDArray[np.float32] | None


def counted(shots: Shots, richness: Richness) -> tuple[float, float, float, float]:
    """(shots, longest, clips, largest group) of one video, as `timeline.judge` would count them."""
    kept = np.flatnonzero(
        (shots.seconds >= richness.min_shot_s - 1e-6) & (shots.contrast >= richness.blank_contrast)
    ).tolist()
    longest = max((float(shots.seconds[i]) for i in kept), default=0.0)
    if not kept:
        return 0.0, longest, 0.0, 0.0
    if shots.alike is None or len(kept) > MAX_GROUPED_SHOTS:
        return float(len(kept)), longest, np.nan, np.nan
    group = likeness.groups(shots.alike[np.ix_(kept, kept)], richness.likeness)
    clips = [name for name, _ in groupby(group)]
    return float(len(kept)), longest, float(len(clips)), float(max(Counter(clips).values()))


def verdicts(counts: Counts, richness: Richness) -> NDArray[np.int8]:
    """The place of the first rule that leaves each video out, `KEPT`, or `UNKNOWN` (n,)."""
    most = np.minimum(richness.max_group_clips, counts.n_clips // richness.group_divisor)
    unknown = np.isnan(counts.n_clips)
    fails = (
        counts.n_shots < richness.min_shots,
        counts.n_shots > richness.max_shots,
        counts.longest_s > richness.max_shot_s,
        counts.n_clips < richness.min_clips,
        counts.largest_group > most,
    )
    found = np.where(unknown, UNKNOWN, KEPT)
    for place in reversed(range(len(RULES))):
        found = np.where(fails[place], place, found)
    return found.astype(np.int8)
