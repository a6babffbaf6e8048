"""Is the chosen answer less likely once the clips are shown in the pair's disturbed order? On held-out pairs.

The one thing to know: about 0 means that the model is blind to order, or that it was given wrong position ids. Drop
takes clips away, which also a model blind to order notices, so it stands apart and is in neither whole figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tempo_core.benchmarks.base import AskedModel, Material, about, frames_of, score, video_of
from tempo_core.errors import TooFew
from tempo_core.types import ItemScore, JsonDict, PreferencePair, Progress, Question, Report, Score, level_key

_BATCH = 32


class OrderSensitivity:
    """`per_token`: mean of (log p(chosen | clean) - log p(chosen | plan)) / tokens; `share`: how often it is above 0.

    Both over the kinds that keep every clip, then by kind and by level.
    """

    name = "order_sensitivity"

    def settings(self, material: Material) -> JsonDict:
        return {"version": 1}

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        planned = [pair for pair in material.pairs if pair.uid in material.orders]
        if not planned:
            raise TooFew(
                "No held-out pair has a plan, so there is no disturbed order to compare with. Freeze a version that "
                "holds out pairs which were made here; imported ones tell no order."
            )
        gained: dict[str, float] = {}
        # Kind by kind: pairs of one kind keep or lose clips together, so both sides go through in equal batches.
        for kind in sorted({pair.kind for pair in planned}):
            of_kind = [pair for pair in planned if pair.kind == kind]
            for start in range(0, len(of_kind), _BATCH):
                batch = of_kind[start : start + _BATCH]
                gained |= zip((pair.uid for pair in batch), _gains(model, material, batch), strict=True)
                report(Progress(len(gained), len(planned), "held-out pairs, clean and disturbed"))
        scores = tuple(_scores(material, planned, gained))
        if not scores:
            raise TooFew(
                "The held-out pairs with a plan are of 1 video, and an interval is over videos. Freeze a version that "
                "holds out two videos or more."
            )
        return scores


def _gains(model: AskedModel, material: Material, pairs: Sequence[PreferencePair]) -> list[float]:
    """For each pair how much likelier a token of the chosen answer is on the clean video, in nats."""
    chosen = [pair.chosen for pair in pairs]
    clean = [Question(pair.prompt, frames_of(model, material, video_of(pair))) for pair in pairs]
    disturbed = [
        Question(pair.prompt, frames_of(model, material, video_of(pair), material.orders[pair.uid])) for pair in pairs
    ]
    sides = zip(model.log_probs(clean, chosen), model.log_probs(disturbed, chosen), strict=True)
    return [float(seen.sum() - other.sum()) / len(seen) for seen, other in sides]


def _scores(material: Material, pairs: Sequence[PreferencePair], gained: dict[str, float]) -> Iterator[Score]:
    kept = [pair for pair in pairs if len(material.orders[pair.uid]) == len(pair.clip_key_frames)]
    parts = {"": kept}
    parts |= {f"{kind}/": [p for p in pairs if p.kind == kind] for kind in sorted({p.kind for p in pairs})}
    levels = sorted({pair.level for pair in kept if pair.level is not None})
    parts |= {f"{level_key(level)}/": [p for p in kept if p.level == level] for level in levels}
    for prefix, part in parts.items():
        # An interval is over videos: what only one of them has is left out.
        if len({pair.video.sha256 for pair in part}) > 1:
            items = [_item(pair, gained[pair.uid]) for pair in part]
            yield score(OrderSensitivity.name, f"{prefix}per_token", items, 0.0, material.seed)
            shares = [replace(item, correct=_above(gained[item.item])) for item in items]
            yield score(OrderSensitivity.name, f"{prefix}share", shares, 0.5, material.seed)


def _item(pair: PreferencePair, gain: float) -> ItemScore:
    return ItemScore(pair.uid, pair.video.sha256, gain, f"{gain:+.4f} a token", about(pair))


def _above(gain: float) -> float:
    """A tie is half."""
    return 0.5 if gain == 0 else float(gain > 0)


benchmark = OrderSensitivity()
