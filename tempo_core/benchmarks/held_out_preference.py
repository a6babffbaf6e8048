"""Does the model prefer the chosen response on held-out videos? Shown beside the two rules that look at length only.

Drop's chosen responses are always longer, so the plain accuracy is a lesson in length. `per_token` takes that out, and
so do the `length_matched` pairs, whose responses are about equally long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tempo_core.benchmarks.base import AskedModel, Material, about, frames_of, score, video_of
from tempo_core.errors import TooFew
from tempo_core.types import ItemScore, JsonDict, PreferencePair, Progress, Question, Report, Score, level_key

MATCHED = 1.1
"""At most so many times the characters of the shorter response has the longer one of a length-matched pair."""
_BATCH = 64


class HeldOutPreference:
    """Accuracy of log p(chosen) > log p(rejected) on the clean video, over all held-out pairs and per level."""

    name = "held_out_preference"

    def settings(self, material: Material) -> JsonDict:
        return {"version": 2}

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        pairs = material.pairs
        if not pairs:
            raise TooFew(
                "The dataset version holds no held-out pair to compare. Freeze a version from five videos or more: "
                "one of them is then held out."
            )
        summed, per_token = [], []
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            for pair, (total, mean) in zip(batch, _compare(model, material, batch), strict=True):
                summed.append(_item(pair, total))
                per_token.append(_item(pair, mean))
            report(Progress(min(start + _BATCH, len(pairs)), len(pairs), "held-out pairs"))
        return tuple(self._scores(pairs, summed, per_token, material.seed))

    def _scores(
        self, pairs: Sequence[PreferencePair], summed: list[ItemScore], per_token: list[ItemScore], seed: int
    ) -> Iterator[Score]:
        longer = [_item(pair, len(pair.chosen) - len(pair.rejected)) for pair in pairs]
        shorter = [_item(pair, len(pair.rejected) - len(pair.chosen)) for pair in pairs]
        whole = {"accuracy": summed, "accuracy_per_token": per_token, "longer_wins": longer, "shorter_wins": shorter}
        for metric, items in whole.items():
            yield score(self.name, metric, items, 0.5, seed)
        parts = {"length_matched": [_ratio(pair) <= MATCHED for pair in pairs]}
        levels = sorted({pair.level for pair in pairs if pair.level is not None})
        parts |= {level_key(level): [pair.level == level for pair in pairs] for level in levels}
        for name, inside in parts.items():
            metrics = whole if name == "length_matched" else {"accuracy_per_token": per_token}
            for metric, items in metrics.items():
                chosen = [item for item, here in zip(items, inside, strict=True) if here]
                # An interval is over videos: a part that only one of them has is left out, the whole figure is not.
                if len({item.group for item in chosen}) > 1:
                    yield score(self.name, f"{name}/{metric}", chosen, 0.5, seed)


def _ratio(pair: PreferencePair) -> float:
    shorter, longer = sorted((len(pair.chosen), len(pair.rejected)))
    return longer / max(1, shorter)


def _item(pair: PreferencePair, margin: float) -> ItemScore:
    """A tie is half right."""
    return ItemScore(pair.uid, pair.video.sha256, 0.5 if margin == 0 else float(margin > 0), asked=about(pair))


def _compare(model: AskedModel, material: Material, pairs: Sequence[PreferencePair]) -> Iterator[tuple[float, float]]:
    """For each pair log p(chosen) - log p(rejected), as sums and as means per token."""
    questions = [Question(pair.prompt, frames_of(model, material, video_of(pair))) for pair in pairs]
    values = model.log_probs(questions * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    for chosen, rejected in zip(values[: len(pairs)], values[len(pairs) :], strict=True):
        yield float(chosen.sum() - rejected.sum()), float(np.mean(chosen) - np.mean(rejected))


benchmark = HeldOutPreference()
