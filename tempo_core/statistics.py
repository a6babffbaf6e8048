"""How sure a score is, and whether two scores differ. numpy only, every draw seeded.

Questions about one video are not independent, so the videos (groups) are resampled, not the questions: with 16
questions on each of 100 videos a plain binomial interval covers the truth in 66 % of cases instead of 95 %.
These intervals cover item noise, not the noise of training; that needs several training runs (`two_level_bootstrap`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, cos, lgamma, log, log1p, pi, sin, sqrt, tan
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tempo_core.errors import TooFew

RESAMPLES = 10_000
_ROWS = 500
"""Resamples drawn at a time, so that memory stays small with many groups."""

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Second minus first, on the same items, with the 95 % interval; the interval decides the verdict."""

    difference: float
    low: float
    high: float
    verdict: Verdict
    p: float | None = None
    """Two-sided, of no difference, by the same resamples; what `holm` corrects."""


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share, for independent items (Wilson 1927). Nothing seen: anything is possible."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    # Rounding must not push the bounds past the share of 0 or 1 that was seen.
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def exact(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share that never covers less than stated (Clopper and Pearson 1934), for independent items."""
    if n == 0:
        return 0.0, 1.0
    half = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _share_where(lambda p: _at_least(successes, n, p), half)
    high = 1.0 if successes == n else 1 - _share_where(lambda p: _at_least(n - successes, n, p), half)
    return low, high


def _share_where(rising: Callable[[float], float], level: float) -> float:
    """Where a rising function of a share in 0..1 reaches a level, by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return (low + high) / 2


def _at_least(successes: int, n: int, share: float) -> float:
    """P(at least this many of n), by logarithms, so that thousands do not overflow."""
    if share <= 0 or share >= 1:
        return float(share >= 1 or successes == 0)
    k = np.arange(successes, n + 1)
    logs = _log_factorials(n)
    terms = logs[n] - logs[k] - logs[n - k] + k * log(share) + (n - k) * log1p(-share)
    return float(np.exp(terms).sum())


@lru_cache(maxsize=64)
def _log_factorials(n: int) -> NDArray[np.float64]:
    return np.array([lgamma(k + 1) for k in range(n + 1)])


def cluster_bootstrap(
    values: ArrayLike, groups: Sequence[Hashable], seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean over all items with its percentile interval, resampling whole groups.

    Returns:
        mean, low, high.

    Raises:
        TooFew: One group says nothing about how groups differ.
    """
    sums, counts = _by_group(values, groups)
    _check_groups(len(sums))
    low, high = _percentiles(_resampled_means(sums, counts, seed), confidence)
    return float(sums.sum() / counts.sum()), low, high


def _check_groups(n_groups: int) -> None:
    if n_groups < 2:
        raise TooFew(
            f"An interval needs 2 videos or more, here is {n_groups}. Freeze a version that holds out more of its "
            "videos (a larger share, as 40 % of 5), or add videos, then train and evaluate on that version."
        )


def accuracy(values: Sequence[float], groups: Sequence[Hashable], seed: int = 0) -> tuple[float, float, float]:
    """Share of right answers (0 or 1 each) with its 95 % interval: mean, low, high.

    Wilson where every group has one item, else the cluster bootstrap. When all items agree a bootstrap would claim
    to be certain, so that case takes Wilson over the groups.
    """
    if not values:
        raise TooFew("A score needs at least one question, here are none.")
    n_groups, mean = len(set(groups)), float(np.mean(np.asarray(values, dtype=np.float64)))
    if n_groups == len(values) or mean in (0.0, 1.0):
        low, high = wilson(mean * n_groups, n_groups)
        return mean, low, high
    return cluster_bootstrap(values, groups, seed)


def mean_of_tasks(
    values: Sequence[ArrayLike], groups: Sequence[Sequence[Hashable]], seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean of the tasks' means with its interval, resampling whole groups inside each task: mean, low, high.

    Raises:
        TooFew: A task with one group says nothing about how its groups differ.
    """
    tasks = [_by_group(*task) for task in zip(values, groups, strict=True)]
    if not tasks or min(len(sums) for sums, _ in tasks) < 2:
        raise TooFew("The mean of tasks needs 2 videos or more in every task.")
    mean = float(np.mean([sums.sum() / counts.sum() for sums, counts in tasks]))
    if mean in (0.0, 1.0):
        n_groups = len({group for task in groups for group in task})
        return mean, *wilson(mean * n_groups, n_groups, confidence)
    # Tasks are drawn apart: one seed for all would make them rise and fall together.
    drawn = [_resampled_means(*task, seed + i) for i, task in enumerate(tasks)]
    low, high = _percentiles(np.mean(drawn, axis=0), confidence)
    return mean, low, high


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, groups: Sequence[Hashable], seed: int = 0, confidence: float = 0.95
) -> Comparison:
    """Compare two models on the same items, in the same order, resampling whole groups."""
    return paired_mean_of_tasks([first], [second], [groups], seed, confidence)


FEWEST_GROUPS = 6
"""For a verdict. When all videos agree, chance alone does so in 2 of 2^n cases: under six that is more than 5 %."""


def paired_mean_of_tasks(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    groups: Sequence[Sequence[Hashable]],
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two models by the mean of their tasks' means; whole groups are resampled inside each task.

    Raises:
        TooFew: A task with one group says nothing about how its groups differ.
    """
    tasks = [_by_group(_minus(a, b), names) for a, b, names in zip(first, second, groups, strict=True)]
    _check_groups(min(len(sums) for sums, _ in tasks))
    difference = float(np.mean([sums.sum() / counts.sum() for sums, counts in tasks]))
    drawn = np.mean([_resampled_means(*task, seed + i) for i, task in enumerate(tasks)], axis=0)
    low, high = _percentiles(drawn, confidence)
    n_groups = sum(len(sums) for sums, _ in tasks)
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    if n_groups < FEWEST_GROUPS:
        verdict = "cannot tell"
    return Comparison(difference, low, high, verdict, max(_two_sided(drawn), _least_p(n_groups)))


def _least_p(n_groups: int) -> float:
    """How often so many videos all agree by chance alone; no test of them can be surer."""
    return float(2 * 0.5**n_groups)


def _minus(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"Paired values must be of the same items: {a.shape} and {b.shape}.")
    return b - a


def holm(p_values: Sequence[float]) -> list[float]:
    """The p of each test, corrected for how many there are (Holm 1979); in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


Z_95, Z_POWER = 1.96, 0.8416
"""Of a two-sided 95 % interval, and of 80 % power."""


def half_width(changed: float, n: int) -> float:
    """How small a difference `n` independent items can show, when this share of them changed from wrong to right or
    back: half of the paired 95 % interval, around a difference near 0."""
    return Z_95 * sqrt(changed / n)


def n_to_show(difference: float, changed: float, *, with_power: bool = False) -> int:
    """Independent items needed for a half-width of `difference`, or to find it in 80 % of studies."""
    z = Z_95 + (Z_POWER if with_power else 0.0)
    return ceil(changed * (z / difference) ** 2)


@dataclass(frozen=True, slots=True)
class TwoLevel:
    """A mean over training seeds and items with its 95 % interval; `p` is the two-sided p of "it is 0"."""

    mean: float
    low: float
    high: float
    p: float
    of_seed: tuple[float, ...]


def two_level_bootstrap(
    values: ArrayLike, groups: Sequence[Hashable], seed: int = 0, confidence: float = 0.95
) -> TwoLevel:
    """Mean over training runs that answered the same items, resampling seeds and whole groups (Owen 2007).

    Few seeds make a plain bootstrap too sure of itself: three drawn from three vary too little, and their spread is
    hardly known. So the deviation of the drawn seeds is widened by sqrt(S / (S - 1)), and the whole by Student's t over
    the normal quantile, at the degrees of freedom of the sum of both variances (Satterthwaite 1946):
    docs/decisions/0013 has how often that covers the truth. One seed has no spread: its interval is over groups alone.

    Args:
        values: Shape (S, N): seeds by items.
        groups: N, of each item.

    Raises:
        TooFew: One group says nothing about how groups differ.
    """
    array = np.asarray(values, dtype=np.float64)
    by_group = [_by_group(row, groups) for row in array]
    sums, counts = np.stack([found for found, _ in by_group]), by_group[0][1]
    n_seeds, n_groups = sums.shape
    if n_groups < 2:
        raise TooFew(f"An interval needs 2 videos or more, here is {n_groups}. Hold out more videos.")
    rng, means = np.random.default_rng(seed), []
    for start in range(0, RESAMPLES, _ROWS):
        n = min(_ROWS, RESAMPLES - start)
        drawn = rng.integers(0, n_groups, size=(n, n_groups))
        of_seed = sums[:, drawn].sum(axis=2) / counts[drawn].sum(axis=1)
        chosen = rng.integers(0, n_seeds, size=(n_seeds, n)) if n_seeds > 1 else np.zeros((1, n), np.int64)
        means.append(np.stack([of_seed.mean(axis=0), np.take_along_axis(of_seed, chosen, axis=0).mean(axis=0)]))
    of_each = sums.sum(axis=1) / counts.sum()
    resampled = _widened(np.concatenate(means, axis=1), of_each, confidence)
    low, high = _percentiles(resampled, confidence)
    p = max(_two_sided(resampled), _least_p(n_groups))
    return TwoLevel(float(of_each.mean()), low, high, p, tuple(float(value) for value in of_each))


def _widened(means: NDArray[np.float64], of_each: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Resampled means, made as wide as so few seeds ask for.

    Args:
        means: Shape (2, R): over all seeds, and over the drawn ones, of the same drawn groups.
        of_each: The mean of each seed.
    """
    all_seeds, drawn_seeds = means
    n_seeds, mean = len(of_each), float(of_each.mean())
    of_seeds = float(of_each.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    if of_seeds == 0:
        return np.asarray(all_seeds)
    deviation = all_seeds - mean + sqrt(n_seeds / (n_seeds - 1)) * (drawn_seeds - all_seeds)
    degrees = (n_seeds - 1) * (1 + float(all_seeds.var()) / of_seeds) ** 2
    widened = student_t(int(min(degrees, _MANY)), confidence) / NormalDist().inv_cdf((1 + confidence) / 2)
    return np.asarray(mean + widened * deviation)


_MANY = 200
"""Degrees of freedom from which Student's t is the normal."""


def _two_sided(resampled: NDArray[np.float64]) -> float:
    """Never 0: the true value counts as one more resample (Davison and Hinkley 1997)."""
    fewer = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(resampled) + 1))


def student_t(degrees: int, confidence: float = 0.95) -> float:
    """The value that |t| stays below with this probability, from the finite series of whole degrees of freedom."""

    def inside(share: float) -> float:
        angle = share * pi / 2
        term = total = cos(angle) if degrees % 2 else 1.0
        for k in range(1 + degrees % 2, degrees - 2, 2):
            term *= k / (k + 1) * cos(angle) ** 2
            total += term
        if degrees % 2 == 0:
            return sin(angle) * total
        return 2 / pi * (angle + (sin(angle) * total if degrees > 1 else 0.0))

    return sqrt(degrees) * tan(_share_where(inside, confidence) * pi / 2)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p for items that only one of two models got right; needs independent items."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / (1 << n))


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Rank correlation, ties sharing their mean rank. None where one side is constant or too short to rank."""
    a, b = _ranks(np.asarray(x, dtype=np.float64)), _ranks(np.asarray(y, dtype=np.float64))
    if a.shape != b.shape:
        raise ValueError(f"Ranks are compared item by item: {a.shape} and {b.shape}.")
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    a, b = a - a.mean(), b - b.mean()
    cosine = float(a @ b) / sqrt(float(a @ a) * float(b @ b))
    return max(-1.0, min(1.0, cosine))


def rank_correlation(
    x: ArrayLike, y: ArrayLike, groups: Sequence[Hashable], seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float] | None:
    """`spearman` with its percentile interval, resampling whole groups 1,000 times: value, low, high.

    None where a side is constant, or with fewer than two groups.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    whole, names = spearman(a, b), list(dict.fromkeys(groups))
    if whole is None or len(names) < 2:
        return None
    places = {name: np.array([i for i, group in enumerate(groups) if group == name]) for name in names}
    rng, found = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // 10):
        drawn = np.concatenate([places[names[i]] for i in rng.integers(0, len(names), len(names))])
        value = spearman(a[drawn], b[drawn])
        found += [] if value is None else [value]
    return whole, *_percentiles(np.array(found), confidence)


def _by_group(values: ArrayLike, groups: Sequence[Hashable]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values of each group, in order of appearance."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) != len(groups):
        raise ValueError(f"{len(array)} values, but {len(groups)} groups.")
    numbers: dict[Hashable, int] = {}
    of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    counts = np.bincount(of, minlength=len(numbers)).astype(np.float64)
    sums = np.bincount(of, weights=array, minlength=len(numbers)).astype(np.float64)
    return sums, counts


def _resampled_means(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, RESAMPLES, _ROWS):
        drawn = rng.integers(0, len(sums), size=(min(_ROWS, RESAMPLES - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def _percentiles(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return ranks
