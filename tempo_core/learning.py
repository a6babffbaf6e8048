"""Is what a plan calls hard also hard for the model? Margins and pace of learning by kind and level.

The one thing to know: the margin before is by the model with which a pair's stage began. Only in a run whose DPO is one
stage at its beginning (mixed order) is that the untrained model for every level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tempo_core.curves import WINDOW, Series, is_falling, last_mean
from tempo_core.statistics import rank_correlation

PASSED = 0.75
"""Our choice: half way between chance and always right."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A pair with its difficulty and the per-token margins of chosen over rejected."""

    kind: str
    level: int | None
    difficulty: float | None
    before: float | None
    after: float | None
    video: str


@dataclass(frozen=True, slots=True)
class Learned:
    """Pairs of one kind and level. Steps count from the first one that holds such a pair."""

    kind: str
    level: int | None
    n: int
    difficulty: float | None
    before: float | None
    after: float | None
    right_before: float | None
    """Share whose chosen answer was the likelier one per token before training."""
    passed_at: int | None
    """The step from which 3 of 4 of its pairs are ranked right, over a window; None: never."""
    area: float | None
    """Mean accuracy over its steps: 1 = right from the beginning."""
    falling: bool
    """The chosen answers lose likelihood at the end."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rank correlation of difficulty and margin before, inside a kind; hard for the model means below 0."""

    kind: str
    n: int
    rho: float
    low: float
    high: float

    @property
    def says(self) -> str:
        if self.high < 0:
            return "harder by the plan is harder for the model"
        return "harder by the plan is easier for the model" if self.low > 0 else "cannot tell"


Curves = Mapping[tuple[str, int | None], Series]
"""By kind and level."""


def learned(pairs: Sequence[Trained], accuracy: Curves, reward_chosen: Curves) -> tuple[Learned, ...]:
    """A line for each kind and level, easiest first."""
    members: dict[tuple[str, int | None], list[Trained]] = {}
    for pair in pairs:
        members.setdefault((pair.kind, pair.level), []).append(pair)
    ordered = sorted(members, key=lambda key: (key[0], key[1] is None, key[1] or 0))
    return tuple(_line(key, members[key], accuracy.get(key, ()), reward_chosen.get(key, ())) for key in ordered)


def _line(key: tuple[str, int | None], pairs: Sequence[Trained], accuracy: Series, rewards: Series) -> Learned:
    known = [value for _, value in accuracy if value is not None]
    before = [pair.before for pair in pairs if pair.before is not None]
    return Learned(
        kind=key[0],
        level=key[1],
        n=len(pairs),
        difficulty=_mean([pair.difficulty for pair in pairs]),
        before=_mean(before),
        after=_mean([pair.after for pair in pairs]),
        right_before=_mean([float(value > 0) for value in before]),
        passed_at=passed_at(accuracy),
        area=_mean(known),
        falling=is_falling(rewards),
    )


def passed_at(accuracy: Series, at: float = PASSED, window: int = WINDOW) -> int | None:
    """How many of its own steps a curve takes until the mean of its last `window` values is `at` or more."""
    for n in range(window, len(accuracy) + 1):
        mean = last_mean(accuracy[:n], window)
        if mean is not None and mean >= at:
            return n
    return None


def agreements(pairs: Sequence[Trained]) -> tuple[Agreement, ...]:
    """Of each kind that can be ranked; difficulties are compared only inside a kind."""
    found = []
    for kind in sorted({pair.kind for pair in pairs}):
        ours = [
            (pair.difficulty, pair.before, pair.video)
            for pair in pairs
            if pair.kind == kind and pair.difficulty is not None and pair.before is not None
        ]
        ranked = rank_correlation([x for x, _, _ in ours], [y for _, y, _ in ours], [video for _, _, video in ours])
        if ranked is not None:
            found.append(Agreement(kind, len(ours), *ranked))
    return tuple(found)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
