"""Does the model prefer the chosen response on held-out videos? Shown beside the rule "the longer one wins".

Drop's chosen responses are always longer, so the plain accuracy is a lesson in length; `per_token` takes that out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tempo_core.benchmarks.base import AskedModel, HeldOutVideo, Material, frames_of, score
from tempo_core.errors import TooFew
from tempo_core.types import ItemScore, PreferencePair, Progress, Question, Report, Score, level_key

_BATCH = 64


class HeldOutPreference:
    """Accuracy of log p(chosen) > log p(rejected) on the clean video, over all held-out pairs and per level."""

    name = "held_out_preference"

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        pairs = material.pairs
        if not pairs:
            raise TooFew(
                "The dataset version holds no held-out pair to compare. Freeze a version from five videos or more: "
                "one of them is then held out."
            )
        summed, per_token, longer = [], [], []
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            for pair, (total, mean) in zip(batch, _compare(model, material, batch), strict=True):
                summed.append(_item(pair, total))
                per_token.append(_item(pair, mean))
                longer.append(_item(pair, len(pair.chosen) - len(pair.rejected)))
            report(Progress(min(start + _BATCH, len(pairs)), len(pairs), "held-out pairs"))
        return tuple(self._scores(pairs, summed, per_token, longer, material.seed))

    def _scores(
        self,
        pairs: Sequence[PreferencePair],
        summed: list[ItemScore],
        per_token: list[ItemScore],
        longer: list[ItemScore],
        seed: int,
    ) -> Iterator[Score]:
        for metric, items in (("accuracy", summed), ("accuracy_per_token", per_token), ("longer_wins", longer)):
            yield score(self.name, metric, items, 0.5, seed)
        for level in sorted({pair.level for pair in pairs if pair.level is not None}):
            chosen = [item for pair, item in zip(pairs, per_token, strict=True) if pair.level == level]
            # An interval is over videos: a level that only one of them has is left out, the whole figure is not.
            if len({item.group for item in chosen}) > 1:
                yield score(self.name, f"{level_key(level)}/accuracy_per_token", chosen, 0.5, seed)


def _item(pair: PreferencePair, margin: float) -> ItemScore:
    """A tie is half right."""
    return ItemScore(pair.uid, pair.video.sha256, 0.5 if margin == 0 else float(margin > 0))


def _compare(model: AskedModel, material: Material, pairs: Sequence[PreferencePair]) -> Iterator[tuple[float, float]]:
    """For each pair log p(chosen) - log p(rejected), as sums and as means per token."""
    questions = [Question(pair.prompt, frames_of(model, material, _video(pair))) for pair in pairs]
    values = model.log_probs(questions * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    for chosen, rejected in zip(values[: len(pairs)], values[len(pairs) :], strict=True):
        yield float(chosen.sum() - rejected.sum()), float(np.mean(chosen) - np.mean(rejected))


def _video(pair: PreferencePair) -> HeldOutVideo:
    return HeldOutVideo(pair.video, pair.times_sha256, pair.clip_key_frames)


benchmark = HeldOutPreference()
