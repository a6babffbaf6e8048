"""Does the model see the video at all? With other pictures a held-out answer must get another likelihood.

The one thing to know: losing the video in silence is the commonest fault of training video models on preferences, and
loss and accuracy look healthy all the while. `tempo_core.findings.canary` judges the shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tempo_core.benchmarks.base import AskedModel, HeldOutVideo, Material, about, numbers_of, score, video_of
from tempo_core.errors import TooFew
from tempo_core.types import Frames, ItemScore, JsonDict, PreferencePair, Progress, Question, Report, Score

MOVED = 1e-3
"""Nats a token by which an answer must change (our choice: far above rounding, far below any look at the pictures)."""
GREY = 128
_BATCH = 32


class Canary:
    """Share of the chosen answers that move: `other_video` with another video's pictures, `grey` with grey ones."""

    name = "canary"

    def settings(self, material: Material) -> JsonDict:
        return {"version": 1}

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        asked = list({(p.video.sha256, p.prompt, p.chosen): p for p in material.pairs}.values())
        videos = list({pair.video.sha256: video_of(pair) for pair in asked}.values())
        if len(videos) < 2:
            raise TooFew(
                f"The canary shows an answer the pictures of another video, and the pairs held out are of {len(videos)}"
                " video. Freeze a version that holds out two videos or more."
            )
        items: dict[str, list[ItemScore]] = {"other_video": [], "grey": []}
        for start in range(0, len(asked), _BATCH):
            batch = asked[start : start + _BATCH]
            for name, item in _moved(model, material, batch, videos):
                items[name].append(item)
            report(Progress(start + len(batch), len(asked), "answers with other pictures"))
        return tuple(score(self.name, metric, found, 0.0, material.seed) for metric, found in items.items())


def _moved(
    model: AskedModel, material: Material, pairs: Sequence[PreferencePair], videos: Sequence[HeldOutVideo]
) -> Iterator[tuple[str, ItemScore]]:
    places = {video.video.sha256: i for i, video in enumerate(videos)}

    def of_next(pair: PreferencePair) -> NDArray[np.uint8]:
        other = videos[(places[pair.video.sha256] + 1) % len(videos)]
        return material.pictures(other.video, other.times_sha256, _as_many(other, video_of(pair)))

    own = _per_token(model, pairs, lambda pair: _own(material, pair))
    changed = {
        "other_video": _per_token(model, pairs, of_next),
        "grey": _per_token(model, pairs, lambda pair: np.full_like(_own(material, pair), GREY)),
    }
    for name, values in changed.items():
        for pair, before, after in zip(pairs, own, values, strict=True):
            moved = float(abs(after - before) > MOVED)
            yield name, ItemScore(pair.uid, pair.video.sha256, moved, f"{after - before:+.4f} a token", about(pair))


def _per_token(
    model: AskedModel, pairs: Sequence[PreferencePair], pixels: Callable[[PreferencePair], NDArray[np.uint8]]
) -> list[float]:
    """Mean log p of a token of each chosen answer, with these pixels at the numbers and times of its own video."""
    questions = [Question(pair.prompt, _shown(model, pair, pixels(pair))) for pair in pairs]
    return [float(np.mean(values)) for values in model.log_probs(questions, [pair.chosen for pair in pairs])]


def _shown(model: AskedModel, pair: PreferencePair, pixels: NDArray[np.uint8]) -> Frames:
    return model.shown(pixels, numbers_of(video_of(pair)), pair.video.duration_s)


def _own(material: Material, pair: PreferencePair) -> NDArray[np.uint8]:
    return material.pictures(pair.video, pair.times_sha256, numbers_of(video_of(pair)))


def _as_many(other: HeldOutVideo, video: HeldOutVideo) -> list[int]:
    """As many key frames of `other` as `video` has, clip by clip, spread over it."""
    n, m = len(video.clip_key_frames), len(other.clip_key_frames)
    numbers = []
    for i, clip in enumerate(video.clip_key_frames):
        theirs = other.clip_key_frames[i * m // n]
        numbers += [theirs[k % len(theirs)] for k in range(len(clip))]
    return numbers


benchmark = Canary()
