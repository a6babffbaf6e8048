"""What the curves of a run say: how long it will still take, and whether the chosen answers lose likelihood.

DPO rewards the distance between two answers. It can grow while both become less likely, the chosen one too; then the
model unlearns what it should say. A likelihood term on the chosen answers (`sft_weight`) holds against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import median

WINDOW = 20
"""Steps that are looked at: the last ones, enough to tell a direction from noise."""

FEWEST = 8
"""With fewer values no direction is told."""

Series = Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Beat:
    """When a step ended, and in which attempt."""

    step: int
    at_ms: int
    attempt: int = 1


def is_falling(rewards: Series, window: int = WINDOW) -> bool:
    """Whether the last `window` values lie below 0 on average and fall by more than their noise.

    The slope of the least-squares line must be more than two of its standard errors below 0.
    """
    points = [(step, value) for step, value in rewards if value is not None][-window:]
    n = len(points)
    if n < FEWEST or sum(value for _, value in points) >= 0:
        return False
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope < -2 * sqrt(rest / (n - 2) / spread)


def seconds_a_step(beats: Sequence[Beat], from_step: int = 1, window: int = WINDOW) -> float | None:
    """The pace of the last steps since `from_step` in the newest attempt; None before three steps are known."""
    newest = max((beat.attempt for beat in beats), default=0)
    kept = sorted((b for b in beats if b.attempt == newest and b.step >= from_step), key=lambda b: b.step)[-window:]
    if len(kept) < 3:
        return None
    spans_s = [(b.at_ms - a.at_ms) / 1000 / (b.step - a.step) for a, b in pairwise(kept)]
    if min(spans_s) < 0:
        # The clock was turned back between two steps; their mean would be a pace below 0.
        return max(0.0, median(spans_s))
    return (kept[-1].at_ms - kept[0].at_ms) / 1000 / (kept[-1].step - kept[0].step)


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """`seconds` is None where nothing is known yet. Phases in `then` come later and have no known pace."""

    a_step_s: float | None = None
    seconds: float | None = None
    then: tuple[str, ...] = ()


def time_left(beats: Sequence[Beat], stages: Sequence[tuple[str, int, int]]) -> TimeLeft:
    """What the steps still to come will take, as far as their phase has shown its pace.

    Args:
        stages: (phase, first step, last step) of every stage in order; steps count from 1 over all stages.
    """
    if not beats or not stages:
        return TimeLeft()
    done = max(beat.step for beat in beats)
    phase, first = next(((phase, first) for phase, first, last in stages if first <= done <= last), (stages[0][0], 1))
    # Loading the model for a stage is no part of the pace, unless the stage has just begun.
    a_step = seconds_a_step(beats, first)
    if a_step is None:
        a_step = seconds_a_step(beats, min(f for p, f, _ in stages if p == phase))
    ahead = [(p, last - max(done, first - 1)) for p, first, last in stages if last > done]
    then = tuple(dict.fromkeys(p for p, _ in ahead if p != phase))
    if a_step is None:
        return TimeLeft(then=then)
    return TimeLeft(a_step, a_step * sum(n for p, n in ahead if p == phase), then)


def last_mean(series: Series, window: int = WINDOW) -> float | None:
    """Mean of the last `window` values that are there."""
    values = [value for _, value in series if value is not None][-window:]
    return sum(values) / len(values) if values else None


def words_for(seconds: float) -> str:
    """A length of time as people say it, no more exact than it is known."""
    if seconds < 90:
        return f"{max(1, round(seconds)):d} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(seconds / 3600, 1)
    return f"{hours:g} h" if hours < 48 else f"{hours / 24:.1f} days"
