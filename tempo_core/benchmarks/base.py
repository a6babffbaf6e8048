"""What every benchmark takes and gives: held-out material and a model in, scores with intervals out. No torch.

Questions about one video are not independent, so intervals come from a bootstrap over videos (`ItemScore.group`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tempo_core import statistics
from tempo_core.types import Answer, Frames, ItemScore, PreferencePair, Question, Report, Sampling, Score, Video


class AskedModel(Protocol):
    """The part of a Video LLM that a benchmark uses."""

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames: ...

    def answer(self, questions: Sequence[Question], sampling: Sampling, seed: int) -> list[Answer]: ...

    def log_probs(self, questions: Sequence[Question], answers: Sequence[str]) -> list[NDArray[np.float32]]: ...


@dataclass(frozen=True, slots=True)
class HeldOutVideo:
    """A video no training pair came from, with its clips' key frames in clean order."""

    video: Video
    times_sha256: str
    clip_key_frames: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to measure on; a benchmark takes what it needs and says when that is too little."""

    videos: tuple[HeldOutVideo, ...]
    pairs: tuple[PreferencePair, ...]
    pictures: Callable[[Video, str, Sequence[int]], NDArray[np.uint8]]
    seed: int = 0


class Benchmark(Protocol):
    name: str

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]: ...


def frames_of(model: AskedModel, material: Material, video: HeldOutVideo, order: Sequence[int] | None = None) -> Frames:
    """The video's key frames as the model is shown them, its clips in `order` (default: clean)."""
    clips = range(len(video.clip_key_frames)) if order is None else order
    numbers = [number for clip in clips for number in video.clip_key_frames[clip]]
    pixels = material.pictures(video.video, video.times_sha256, numbers)
    return model.shown(pixels, numbers, video.video.duration_s)


def score(benchmark: str, metric: str, items: Sequence[ItemScore], chance: float | None, seed: int) -> Score:
    """The mean with its 95 % interval, resampling whole groups; unparsed items count as wrong."""
    values = [0.0 if item.correct is None else item.correct for item in items]
    groups = [item.group for item in items]
    # Of right-or-wrong items a bootstrap claims to be certain when all agree; `accuracy` does not.
    interval = statistics.accuracy if set(values) <= {0.0, 1.0} else statistics.cluster_bootstrap
    mean, low, high = interval(values, groups, seed=seed)
    unparsed = sum(item.correct is None for item in items)
    return Score(benchmark, metric, mean, low, high, len(items), len(set(groups)), unparsed, chance, tuple(items))


TITLES = {
    "drawn_world": (
        "Drawn world",
        "Order: swap, group, order, earlier (a model blind to order is at chance). Content: recall, content_questions.",
    ),
    "held_out_preference": (
        "Held-out pairs",
        "Does the model prefer the chosen response? Beside it the rule that the longer response wins.",
    ),
    "tempcompass": (
        "TempCompass",
        "Action, direction, speed, order and change of attributes, asked as multiple choice, yes or no, and captions.",
    ),
    "vinoground": (
        "Vinoground",
        "Pairs that differ in order alone. Text, video: both of a pair's questions right; group: all four.",
    ),
    "tvbench": ("TVBench", "Ten tasks that one picture or the text alone does not answer."),
    "mvbench": ("MVBench", "Twenty tasks of perception and of time."),
    "tomato": ("TOMATO", "Six types of motion, three to seven options."),
    "vitatecs": ("VITATECS", "The true caption beside one that is wrong in one aspect of time."),
    "next_qa": ("NExT-QA", "Five answers; questions of cause, time and description, and their eight types."),
    "mlvu": ("MLVU", "Long videos, seven tasks; mean_of_tasks is its own figure."),
    "video_mme": ("Video-MME", "Short, medium and long videos, without subtitles."),
}
"""Title and explanation of each benchmark, for people."""
