"""From measured difficulties to levels 1 (easiest quarter) .. 4 (hardest).

A level is the place of a pair's difficulty among the pairs of its own kind, for raw values of different kinds cannot be
compared. Imported pairs have no difficulty and form a level of their own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tempo_core.errors import BadThresholds
from tempo_core.types import DifficultyAxis, PairRef

LEVELS: tuple[int | None, ...] = (1, 2, 3, 4, None)
"""Easiest first; imported pairs, whose difficulty nobody knows, last in every pacing."""

LEVEL_OF_MAGNITUDE = {16: 1, 8: 2, 4: 3, 2: 4}
"""`difficulty="paper"`: the stronger the disturbance, the easier the pair."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where levels 2, 3 and 4 begin, as percentiles inside the kind. Equal ones leave the level between empty.

    Raises:
        BadThresholds: They cross or leave [0, 1].
    """

    cut1: float = 0.25
    cut2: float = 0.5
    cut3: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.cut1 <= self.cut2 <= self.cut3 <= 1:
            raise BadThresholds(
                f"Thresholds {self.cut1:g}, {self.cut2:g}, {self.cut3:g} cross or leave 0..1. "
                "Each must be at least the one before."
            )

    @property
    def cuts(self) -> tuple[float, float, float]:
        return self.cut1, self.cut2, self.cut3


QUARTERS = Thresholds()


def percentiles(difficulties: Sequence[float]) -> tuple[float, ...]:
    """Share of the other values that are smaller, as SQL's percent_rank: equal values get equal percentiles."""
    ordered = sorted(difficulties)
    return tuple(bisect_left(ordered, value) / max(1, len(ordered) - 1) for value in difficulties)


def level_of(percentile: float, thresholds: Thresholds = QUARTERS) -> int:
    """1 (easiest) .. 4; a value on a threshold belongs to the harder level."""
    return 1 + bisect_right(thresholds.cuts, percentile)


def levels(
    pairs: Sequence[PairRef], axis: DifficultyAxis = "measured", thresholds: Thresholds = QUARTERS
) -> dict[int, int | None]:
    """The level of each pair by id; None for pairs without a difficulty (or, on the paper's axis, its magnitudes)."""
    if axis == "paper":
        return {pair.pair_id: LEVEL_OF_MAGNITUDE.get(pair.magnitude or 0) for pair in pairs}
    found: dict[int, int | None] = {pair.pair_id: None for pair in pairs}
    for members in _by_kind(pairs).values():
        ranks = percentiles([difficulty for _, difficulty in members])
        found |= {pair_id: level_of(rank, thresholds) for (pair_id, _), rank in zip(members, ranks, strict=True)}
    return found


def with_levels(
    pairs: Sequence[PairRef], axis: DifficultyAxis = "measured", thresholds: Thresholds = QUARTERS
) -> tuple[PairRef, ...]:
    """The pairs with their levels set."""
    found = levels(pairs, axis, thresholds)
    return tuple(replace(pair, level=found[pair.pair_id]) for pair in pairs)


def raw_cuts(pairs: Sequence[PairRef], thresholds: Thresholds = QUARTERS) -> dict[str, tuple[float | None, ...]]:
    """Of each kind, the difficulty at which levels 2, 3 and 4 begin: what the percentiles meant on these pairs.

    None where no pair reaches a level.
    """
    cuts: dict[str, tuple[float | None, ...]] = {}
    for kind, members in _by_kind(pairs).items():
        ordered = sorted(difficulty for _, difficulty in members)
        ranked = list(zip(percentiles(ordered), ordered, strict=True))
        cuts[kind] = tuple(next((d for rank, d in ranked if rank >= cut), None) for cut in thresholds.cuts)
    return cuts


def _by_kind(pairs: Sequence[PairRef]) -> dict[str, list[tuple[int, float]]]:
    kinds: dict[str, list[tuple[int, float]]] = {}
    for pair in pairs:
        if pair.difficulty is not None:
            kinds.setdefault(pair.kind, []).append((pair.pair_id, pair.difficulty))
    return kinds
