"""How far length alone tells chosen from rejected, and how to choose pairs so that it does not.

`drop` takes events away, so its chosen answer is always the longer one: a model can win there by liking long answers.
Lengths are characters, so that they can be counted anywhere; the curves of a run count the model's tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tempo_core.types import PairRef


@dataclass(frozen=True, slots=True)
class LengthRule:
    """How often the chosen answer is the longer one."""

    n: int
    longer: int
    equal: int = 0

    @property
    def longer_wins(self) -> float:
        """Accuracy of always preferring the longer answer; equal lengths count as wrong, as equal margins do."""
        return self.longer / self.n if self.n else 0.0


def length_rule(pairs: Iterable[PairRef]) -> LengthRule:
    signs = [_sign(pair) for pair in pairs]
    return LengthRule(len(signs), signs.count(1), signs.count(0))


def length_rules(pairs: Sequence[PairRef]) -> dict[int | None, dict[str, LengthRule]]:
    """The rule on each level and, inside it, on each kind."""
    found: dict[int | None, dict[str, list[PairRef]]] = {}
    for pair in pairs:
        found.setdefault(pair.level, {}).setdefault(pair.kind, []).append(pair)
    return {level: {kind: length_rule(same) for kind, same in sorted(kinds.items())} for level, kinds in found.items()}


def matched(pairs: Sequence[PairRef]) -> tuple[PairRef, ...]:
    """The pairs that stay when, on each level, the chosen answer may be the longer one as often as the shorter one.

    Of the side that has more, each pair of the other side keeps the one whose ratio of longer to shorter answer is
    nearest to its own, the most unequal first; so not only the counts but also the ratios agree. Pairs of equal length
    stay. A level with one side only keeps none but those.
    """
    of_level: dict[int | None, list[PairRef]] = {}
    for pair in pairs:
        of_level.setdefault(pair.level, []).append(pair)
    kept = {pair.pair_id for same in of_level.values() for pair in _matched(same)}
    return tuple(pair for pair in pairs if pair.pair_id in kept)


def _matched(pairs: Sequence[PairRef]) -> list[PairRef]:
    longer = [pair for pair in pairs if _sign(pair) > 0]
    shorter = [pair for pair in pairs if _sign(pair) < 0]
    few, many = sorted((longer, shorter), key=len)
    free = sorted(many, key=lambda pair: (_ratio(pair), pair.pair_id))
    ratios = [_ratio(pair) for pair in free]
    kept = [pair for pair in pairs if _sign(pair) == 0]
    for pair in sorted(few, key=lambda pair: (-_ratio(pair), pair.pair_id)):
        place = _nearest(ratios, _ratio(pair))
        kept += [pair, free.pop(place)]
        ratios.pop(place)
    return kept


def _nearest(ordered: Sequence[float], value: float) -> int:
    right = bisect_left(ordered, value)
    if right == 0 or (right < len(ordered) and ordered[right] - value < value - ordered[right - 1]):
        return right
    return right - 1


def _sign(pair: PairRef) -> int:
    return (pair.n_chosen > pair.n_rejected) - (pair.n_chosen < pair.n_rejected)


def _ratio(pair: PairRef) -> float:
    """Of the longer to the shorter answer."""
    few, many = sorted((pair.n_chosen, pair.n_rejected))
    return max(1, many) / max(1, few)
