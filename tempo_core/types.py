"""The values of the method, in the order in which they come to be.

video -> shots -> timeline -> plan -> response -> pair -> curriculum -> training plan -> metrics -> scores.
All are frozen. Frame ranges are half-open `[start, end)` and count decoded frames; rates are exact fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

KINDS_OF_INPUT = ("captions", "clips", "video")
"""What the model is asked on: a list of clip captions, each clip as a video of its own, or all frames as one video."""

Input = Literal["captions", "clips", "video"]
Law = Literal["tempo", "authors"]
"""How plans are drawn: ours, or the published law for comparison."""

DifficultyAxis = Literal["measured", "paper"]
"""What orders the curriculum: the measured difficulty, or the nominal magnitude r."""

IMPORTED = "imported"
"""The level key of pairs without a plan."""


@dataclass(frozen=True, slots=True)
class Video:
    """A file that can be decoded. `sha256` of its bytes is its identity; `path` is only where it lies now."""

    sha256: str
    path: Path
    fps: Fraction
    n_frames: int
    duration_s: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames between two neighbouring cuts."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Clip:
    """Neighbouring look-alike shots: the unit that is perturbed.

    `ranges` are its shots' frame ranges, touching ones fused; `key_frames` are frame numbers inside them.
    """

    shots: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]
    group: int
    key_frames: tuple[int, ...]

    @property
    def n_frames(self) -> int:
        return sum(end - start for start, end in self.ranges)


Timeline = tuple[Clip, ...]


@dataclass(frozen=True, slots=True)
class PerturbationPlan:
    """One disturbance of a timeline of n clips. `order` lists indices of the clean timeline and alone replays it."""

    kind: str
    magnitude: int
    seed: int
    order: tuple[int, ...]
    law: Law = "tempo"
    aliases: tuple[int, ...] = ()
    """Other magnitudes that give this same plan on this timeline (collapsed levels)."""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard the pair is, measured from the plan. `value` in [0, 1], 1 = hard; compare only inside a kind."""

    value: float
    measures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Frames:
    """What a model is shown: RGB, shape (T, H, W, 3), uint8, with the times that position embeddings need."""

    pixels: NDArray[np.uint8]
    numbers: tuple[int, ...]
    """Frame number of each picture in the file."""
    fps: float
    """Pictures a second of the sampled sequence, as the model is told."""

    @property
    def duration_s(self) -> float:
        return len(self.numbers) / self.fps


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: text, and the video it is about (`None`: text only, as when captions are given).

    `clips` are several videos instead of one; all videos come before the text, in this order.
    """

    text: str
    frames: Frames | None = None
    clips: tuple[Frames, ...] = ()

    def __post_init__(self) -> None:
        if self.frames is not None and self.clips:
            raise ValueError("a question is about one video or about clips, not both")

    @property
    def videos(self) -> tuple[Frames, ...]:
        return self.clips if self.frames is None else (self.frames,)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn; stored with every response, the same on both sides of a pair."""

    input: Input = "captions"
    temperature: float = 0.7
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    max_new_tokens: int = 512
    key_frames_per_clip: int = 2
    positions: str = "hf"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said. `finish` is "stop" or "length" (cut off at the token limit)."""

    text: str
    n_tokens: int
    finish: Literal["stop", "length"]
    log_prob: float | None = None


@dataclass(frozen=True, slots=True)
class FilterVerdict:
    """What one named rule said about a pair, with the value it measured."""

    name: str
    passed: bool
    value: float | None
    rule: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One pair as training reads it. `clip_key_frames` are the clean timeline's key frames, clip by clip."""

    pair_id: int
    uid: str
    video: Video
    times_sha256: str
    clip_key_frames: tuple[tuple[int, ...], ...]
    prompt: str
    chosen: str
    rejected: str
    kind: str
    magnitude: int | None
    difficulty: float | None
    level: int | None
    """1 (easiest) .. 4 (hardest); None for imported pairs."""


@dataclass(frozen=True, slots=True)
class PairRef:
    """What the curriculum needs to know of a pair. `level` may be missing until `levels.with_levels` sets it."""

    pair_id: int
    video_key: str
    kind: str
    level: int | None
    difficulty: float | None
    magnitude: int | None
    n_chosen: int = 0
    """Characters of the chosen answer."""
    n_rejected: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One SFT example: a question about a video and its answer."""

    example_id: str
    video: Video
    times_sha256: str
    clip_key_frames: tuple[tuple[int, ...], ...]
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a curriculum: the pairs of one or more levels, trained with a fresh adapter."""

    name: str
    """The level key: "l1" .. "l4", "imported", or "all"."""
    levels: tuple[int | None, ...]
    """Of `replay` its own level first, then those it repeats."""
    epochs: int = 1


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """One place in the training order, written to the database before step 0."""

    ordinal: int
    step: int
    stage: int
    pair_id: int
    level: int | None
    difficulty: float | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of a run. `key` is like "l1/loss", "sft/loss" or "speed/pairs_per_s"; `step` counts over all stages."""

    key: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What an item was about, for people who look at single answers; no score is made of it.

    `truth` is the right answer in words, `video` where its file lay, `numbers` the frames that were shown.
    """

    question: str
    options: tuple[str, ...] = ()
    truth: str = ""
    video: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemScore:
    """One question's outcome. `group` ties questions that are not independent (one video); None = unparsed."""

    item: str
    group: str
    correct: float | None
    response: str = ""
    asked: Asked | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Score:
    """A benchmark's figure with its 95 % interval."""

    benchmark: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    n_groups: int
    n_unparsed: int
    chance: float | None
    items: tuple[ItemScore, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is: `done` of `total` in `unit`, and a line for people."""

    done: int
    total: int
    text: str = ""


Report = Callable[[Progress], None]
"""How progress leaves the core. Raises `Cancelled` when a person asked to stop."""


def level_key(level: int | None) -> str:
    """The key under which a level's metrics are kept: "l1" .. "l4", or "imported"."""
    return IMPORTED if level is None else f"l{level}"


JsonDict = dict[str, Any]
