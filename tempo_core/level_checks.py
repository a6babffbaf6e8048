"""What each level of a curriculum holds, and what a person should know of it before anything is frozen or trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tempo_core.curriculum import MOST_OF_A_KIND
from tempo_core.lengths import LengthRule, length_rule
from tempo_core.types import PairRef, level_key

FEWEST_VIDEOS_OF_LEVEL = 5
"""With fewer a level teaches those videos, not its difficulty."""

FEWEST_HELD_OUT = 8
"""Videos: with fewer the intervals of what is measured on them are too wide to tell two runs apart."""

LENGTHS_TELL, FEWEST_FOR_LENGTHS = 0.85, 20
"""From this share on, always preferring the longer (or shorter) answer gets a level right."""


@dataclass(frozen=True, slots=True)
class LevelCount:
    """One level: pairs of each kind, and of how many videos."""

    level: int | None
    kinds: Mapping[str, int]
    n_videos: int
    n_of_one_video: int
    """Pairs of the video that has most here."""
    lengths: LengthRule

    @property
    def n_pairs(self) -> int:
        return sum(self.kinds.values())


def level_counts(pairs: Sequence[PairRef]) -> tuple[LevelCount, ...]:
    """The levels 1 to 4, also empty ones, then the imported pairs if there are any."""
    members: dict[int | None, list[PairRef]] = {1: [], 2: [], 3: [], 4: []}
    for pair in pairs:
        members.setdefault(pair.level, []).append(pair)
    return tuple(_count(level, here) for level, here in members.items())


def _count(level: int | None, pairs: Sequence[PairRef]) -> LevelCount:
    videos = Counter(pair.video_key for pair in pairs)
    return LevelCount(
        level=level,
        kinds=dict(sorted(Counter(pair.kind for pair in pairs).items())),
        n_videos=len(videos),
        n_of_one_video=max(videos.values(), default=0),
        lengths=length_rule(pairs),
    )


def level_warnings(counts: Sequence[LevelCount]) -> tuple[str, ...]:
    """Empty levels, levels of one kind or of few videos, and levels that the lengths of the answers give away."""
    found = []
    for count in counts:
        name = level_key(count.level)
        if not count.n_pairs:
            found.append(f"{name} holds no pair; a run would skip it. Move the thresholds.")
            continue
        kind, n = max(count.kinds.items(), key=lambda item: item[1])
        if n > MOST_OF_A_KIND * count.n_pairs:
            found.append(f"{name} is {n / count.n_pairs:.0%} {kind}: its curves tell about that kind only.")
        if count.n_videos < FEWEST_VIDEOS_OF_LEVEL:
            videos = "video" if count.n_videos == 1 else "videos"
            found.append(f"{name} has pairs of {count.n_videos} {videos} only, so it teaches those. Add videos.")
        found += _of_lengths(name, count.lengths)
    return tuple(found)


def _of_lengths(name: str, rule: LengthRule) -> list[str]:
    if rule.n < FEWEST_FOR_LENGTHS:
        return []
    shorter = rule.n - rule.longer - rule.equal
    for n, word in ((rule.longer, "longer"), (shorter, "shorter")):
        if n >= LENGTHS_TELL * rule.n:
            return [
                f"{name}: the {word} answer is the chosen one in {n / rule.n:.0%}, so length tells it without looking. "
                "Match lengths, or add shuffle and reverse."
            ]
    return []


def held_out_warning(n_held_out: int, n_videos: int) -> str | None:
    """Said where a measurement on these held-out videos would tell little; None where they are enough."""
    if n_held_out >= FEWEST_HELD_OUT:
        return None
    if not n_held_out:
        return (
            f"No video is held out of {n_videos:,}, so nothing unseen is left to measure on. Hold some out, or keep "
            "other videos aside."
        )
    videos = "video is" if n_held_out == 1 else "videos are"
    return (
        f"Only {n_held_out} {videos} held out of {n_videos:,}: figures measured on fewer than {FEWEST_HELD_OUT} have "
        "wide intervals. Hold out a larger share, or add videos."
    )
