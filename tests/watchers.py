"""Drawn held-out videos without files, and three that answer about them: who sees, who reads only, who talks.

The one thing to know: a picture here is two numbers, which clip and which video, so that a model which sees can be
written in a few lines and what it must score is known.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np

from tempo_core import worlds
from tempo_core.benchmarks.base import HeldOutVideo, Material
from tempo_core.types import Answer, Frames, PreferencePair, Question, Video
from tempo_core.worlds import Event, WorldConfig, WorldVideo

SMALL = WorldConfig(min_shots=4, max_shots=8)


def specs(n_videos: int, config: WorldConfig = SMALL) -> list[WorldVideo]:
    return [worlds.spec(41, i, config) for i in range(n_videos)]


def key_frames(spec: WorldVideo) -> tuple[tuple[int, int], ...]:
    """The two frames of every event in which its action can be told, as the scan would find them."""
    starts = (0, *spec.cuts)
    return tuple((start + int(0.45 * s.n_frames), start + int(0.65 * s.n_frames))
                 for start, s in zip(starts, spec.scenes, strict=True))  # fmt: skip


def held_out(spec: WorldVideo, folder: Path) -> HeldOutVideo:
    path = folder / f"{spec.index}.mp4"
    worlds.write_events(spec, path)
    n_frames = sum(scene.n_frames for scene in spec.scenes)
    sha256 = hashlib.sha256(str(spec.index).encode()).hexdigest()
    video = Video(sha256, path, Fraction(10), n_frames, n_frames / 10, 48, 48)
    captions = tuple(f"{event}." for event in spec.events)
    return HeldOutVideo(video, "", key_frames(spec), tuple(range(len(captions))), captions)


def pair(video: HeldOutVideo, spec: WorldVideo, kind: str, order: Sequence[int], level: int = 1) -> PreferencePair:
    chosen, rejected = worlds.caption(spec), worlds.caption(spec, order)
    uid = f"{video.video.sha256[:8]}-{kind}-{order}"
    return PreferencePair(0, uid, video.video, "", video.clip_key_frames, worlds.vocabulary.DESCRIBE[0], chosen,
                          rejected, kind, 2, 0.5, level)  # fmt: skip


def material(
    found: Sequence[WorldVideo], folder: Path, orders: dict[str, Callable[[int], Sequence[int]]] | None = None
) -> Material:
    """The videos with pictures of two numbers; a pair for each video and kind of `orders`."""
    videos = [held_out(spec, folder) for spec in found]
    index = {video.video.sha256: i for i, video in enumerate(videos)}
    pairs, planned = [], {}
    for video, spec in zip(videos, found, strict=True):
        for kind, order_of in (orders or {}).items():
            order = tuple(order_of(len(spec.events)))
            pairs.append(pair(video, spec, kind, order))
            planned[pairs[-1].uid] = order

    def pictures(video: Video, times_sha256: str, numbers: Sequence[int]) -> np.ndarray:
        i = index[video.sha256]
        clips = [next(k for k, clip in enumerate(videos[i].clip_key_frames) if n in clip) for n in numbers]
        return np.array([[[[clip, i, 0]]] for clip in clips], np.uint8)

    return Material(tuple(videos), tuple(pairs), pictures, orders=planned, captions_by="who wrote them")


def small_noise(*told: str) -> float:
    """A guess: the same for the same words, and without any bias."""
    return int.from_bytes(hashlib.sha256("|".join(told).encode()).digest()[:6]) / 2**48 * 1e-3


class Watcher:
    """The part that all share. `prompt_set` decides whether a benchmark asks for letters."""

    def __init__(self, found: Sequence[WorldVideo], prompt_set: str = "embedded") -> None:
        self.found, self.prompt_set = found, prompt_set

    def shown(self, pixels, numbers, duration_s):
        return Frames(pixels, tuple(numbers), len(numbers) / duration_s)

    def log_probs(self, questions, answers):
        return [np.full(4, self.likes(q, a) / 4, np.float32) for q, a in zip(questions, answers, strict=True)]

    def answer(self, questions, sampling, seed):
        said = [self.says(question) for question in questions]
        return [Answer(text, len(text.split()), "stop") for text in said]

    def likes(self, question: Question, answer: str) -> float:
        raise NotImplementedError

    def says(self, question: Question) -> str:
        raise NotImplementedError


class Reader(Watcher):
    """Never looks: likes an answer by a rule over the question and the answer alone."""

    def __init__(self, found: Sequence[WorldVideo], rule: Callable[[str, str], float]) -> None:
        super().__init__(found)
        self.rule = rule

    def likes(self, question: Question, answer: str) -> float:
        return self.rule(question.text, answer) + small_noise(question.text, answer)

    def says(self, question: Question) -> str:
        return "A"


class Talker(Watcher):
    """Describes the whole video, whatever it is asked."""

    def says(self, question: Question) -> str:
        return worlds.caption(self.found[int(question.frames.pixels[0, 0, 0, 1])])


class Seer(Watcher):
    """Knows what is in every picture and in which order they are; where that does not help it guesses."""

    def events(self, frames: Frames) -> list[Event]:
        """As shown, each once; a plain card is no event."""
        told = [(int(p[0, 0, 0]), int(p[0, 0, 1])) for p in frames.pixels if p[0, 0, 0] != 128]
        return [self.found[video].events[clip] for clip, video in dict.fromkeys(told)]

    def likes(self, question: Question, answer: str) -> float:
        seen, told = self.events(question.frames), worlds.parse_events(answer)
        guess = small_noise(question.text, answer, str(seen))
        if question.text.startswith("Which comes earlier"):
            told += [event for event in worlds.parse_events(question.text) if event not in told]
        places = [seen.index(event) if event in seen else None for event in told]
        known = [(a, b) for a, b in combinations(places, 2) if a is not None and b is not None]
        return sum(1 if a < b else -1 for a, b in known) + sum(p is not None for p in places) + guess

    def says(self, question: Question) -> str:
        seen, text = self.events(question.frames), question.text
        if "Which half" in text:
            return self._half(question)
        if "Which description" in text:
            return self._description(seen, text)
        if about := re.match("What does the (.*) do", text):
            return next((f"{event.action}." for event in seen if event.thing == about[1]), "rises.")
        return worlds.caption_of(seen)

    def _description(self, seen: list[Event], text: str) -> str:
        first = worlds.parse_events(text)[:2]
        return "A" if seen.index(first[0]) < seen.index(first[1]) else "B"

    def _half(self, question: Question) -> str:
        pixels = question.frames.pixels
        card = next(i for i, picture in enumerate(pixels) if picture[0, 0, 0] == 128)
        seen, told = self.events(Frames(pixels[:card], (), 1.0)), worlds.parse_events(question.text)
        return "A" if seen.index(told[0]) < seen.index(told[1]) else "B"
