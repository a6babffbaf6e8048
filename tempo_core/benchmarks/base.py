"""What every benchmark takes and gives: held-out material and a model in, scores with intervals out. No torch.

Questions about one video are not independent, so intervals come from a bootstrap over videos (`ItemScore.group`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tempo_core import statistics
from tempo_core.types import (
    Answer,
    Asked,
    Frames,
    ItemScore,
    JsonDict,
    PreferencePair,
    Question,
    Report,
    Sampling,
    Score,
    Video,
)


class AskedModel(Protocol):
    """The part of a Video LLM that a benchmark uses."""

    prompt_set: str
    """"embedded" reads the words of the drawn world only; "general" can be asked anything."""

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames: ...

    def answer(self, questions: Sequence[Question], sampling: Sampling, seed: int) -> list[Answer]: ...

    def log_probs(self, questions: Sequence[Question], answers: Sequence[str]) -> list[NDArray[np.float32]]: ...


@dataclass(frozen=True, slots=True)
class HeldOutVideo:
    """A video no training pair came from, with its clips' key frames in clean order."""

    video: Video
    times_sha256: str
    clip_key_frames: tuple[tuple[int, ...], ...]
    groups: tuple[int, ...] = ()
    """A number for each clip; clips that look alike share one."""
    captions: tuple[str, ...] = ()
    """What a model said of each clip; empty where no model has described all of them."""


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to measure on; a benchmark takes what it needs and says when that is too little."""

    videos: tuple[HeldOutVideo, ...]
    pairs: tuple[PreferencePair, ...]
    pictures: Callable[[Video, str, Sequence[int]], NDArray[np.uint8]]
    seed: int = 0
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By a pair's uid the order of clips that its rejected answer was given on; imported pairs have none."""
    captions_by: str = ""
    """The model that wrote the captions."""


class Benchmark(Protocol):
    name: str

    def settings(self, material: Material) -> JsonDict:
        """What its figures depend on beside the held-out videos and the seed; with others they are not compared."""

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]: ...


def video_of(pair: PreferencePair) -> HeldOutVideo:
    """The video of a held-out pair, on the timeline that the pair was made on."""
    return HeldOutVideo(pair.video, pair.times_sha256, pair.clip_key_frames)


def about(pair: PreferencePair) -> Asked:
    """A held-out pair, for people who look at single answers."""
    responses = (f"chosen: {pair.chosen}", f"rejected: {pair.rejected}")
    return Asked(pair.prompt, responses, responses[0], str(pair.video.path))


def numbers_of(video: HeldOutVideo, order: Sequence[int] | None = None) -> list[int]:
    """The numbers of its key frames, its clips in `order` (default: clean)."""
    clips = range(len(video.clip_key_frames)) if order is None else order
    return [number for clip in clips for number in video.clip_key_frames[clip]]


def frames_of(model: AskedModel, material: Material, video: HeldOutVideo, order: Sequence[int] | None = None) -> Frames:
    """The video's key frames as the model is shown them, its clips in `order` (default: clean)."""
    numbers = numbers_of(video, order)
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
        "Order: swap, group, order, earlier (a model blind to order is at chance). Content: recall, content_questions. "
        "Controls: the questions of order on one frame alone and on clips in a random order must be at chance.",
    ),
    "held_out_preference": (
        "Held-out pairs",
        "Does the model prefer the chosen response? Beside it the rules that the longer or the shorter response wins, "
        "and the pairs whose responses are about equally long.",
    ),
    "own_order": (
        "Own videos: order",
        "Two clips of a held-out video, told in either order, on the video and on its clips backwards. Text: the right "
        "text for both videos; video: the right video for both texts; group: both. The captions are a model's own, "
        "which favours it.",
    ),
    "order_sensitivity": (
        "Order sensitivity",
        "By how much is a token of the chosen answer likelier on the clean order than on the disturbed one, and how "
        "often? About 0: the model is blind to order, or has wrong position ids. Drop takes clips away, so it stands "
        "apart.",
    ),
    "short_answers": (
        "Short answers",
        "Questions that a word or a letter answers. DPO on long descriptions can make them worse or longer: compare "
        "accuracy, unparsed answers and median_words with the base; the remedy is SFT after DPO.",
    ),
    "canary": (
        "Canary",
        "Share of answers whose likelihood moves with another video's pictures and with grey ones. Below 95 %: this "
        "model does not see the video.",
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
