"""How far people agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number with gaps.

Both are for categories without an order. An interval comes from drawing whole clusters (pairs, or the videos they are
of) again. Where a figure cannot be computed its `value` is None and `why` says so in words: a page must never show a
number that means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
_ROWS = 250
"""Resamples at a time, so that memory stays small with many clusters."""

Ratings = Mapping[Hashable, Mapping[Hashable, str]]
"""Unit (a pair) -> rater -> category. A rater who did not judge a unit is not in it."""

Array = NDArray[np.float64]
_Figure = Callable[[Array], Array]
"""(R, k, k) tables -> (R,) values."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`value` is 1 for perfect agreement and 0 for what chance gives; below 0 is worse than chance.

    `observed` is the plain share that agrees. `n` counts the units that two or more judged; `why` is set where value
    or interval is missing.
    """

    value: float | None
    low: float | None
    high: float | None
    observed: float | None
    n: int
    why: str | None = None


def kappa(
    first: Sequence[str], second: Sequence[str], clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> Agreement:
    """Cohen's kappa (1960) of two raters who judged the same units, with its 95 % interval.

    Args:
        clusters: What each unit belongs to, such as its video; by default each unit is a cluster of its own.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} judgements are not of the same units.")
    if not first:
        return _missing(None, 0, "no pair was judged by both")
    names = sorted({*first, *second})
    if len(names) == 1:
        return _missing(1.0, len(first), f"every judgement was {names[0]}; chance alone would agree as often")
    place = {name: i for i, name in enumerate(names)}
    tables = np.zeros((len(first), len(names), len(names)))
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        tables[i, place[a], place[b]] = 1
    return _with_interval(_clustered(tables, clusters), _kappa, len(first), seed)


def alpha(ratings: Ratings, clusters: Mapping[Hashable, Hashable] | None = None, seed: int = 0) -> Agreement:
    """Krippendorff's alpha for categories without an order; units that fewer than two judged do not count.

    Args:
        clusters: The cluster of each unit; by default each is its own.
    """
    units = [(unit, list(of.values())) for unit, of in ratings.items() if len(of) >= 2]
    if not units:
        return _missing(None, 0, "no pair was judged by two people")
    names = sorted({name for _, of in units for name in of})
    if len(names) == 1:
        return _missing(1.0, len(units), f"every judgement was {names[0]}; chance alone would agree as often")
    place = {name: i for i, name in enumerate(names)}
    tables = np.zeros((len(units), len(names), len(names)))
    for i, (_, of) in enumerate(units):
        counts = np.bincount([place[name] for name in of], minlength=len(names)).astype(np.float64)
        # Every ordered pair of judgements of this unit, weighted so that a unit counts as often as it was judged.
        tables[i] = (np.outer(counts, counts) - np.diag(counts)) / (len(of) - 1)
    of_unit = None if clusters is None else [clusters[unit] for unit, _ in units]
    return _with_interval(_clustered(tables, of_unit), _alpha, len(units), seed)


def _missing(observed: float | None, n: int, why: str) -> Agreement:
    return Agreement(None, None, None, observed, n, f"cannot be computed because {why}")


def _clustered(tables: Array, clusters: Sequence[Hashable] | None) -> Array:
    """The tables of each cluster, summed, in order of appearance."""
    if clusters is None:
        return tables
    if len(clusters) != len(tables):
        raise ValueError(f"{len(tables)} units, but {len(clusters)} clusters.")
    numbers: dict[Hashable, int] = {}
    of = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    summed = np.zeros((len(numbers), *tables.shape[1:]))
    np.add.at(summed, of, tables)
    return summed


def _kappa(tables: Array) -> Array:
    """(R, k, k) tables, rows the first rater -> (R,), NaN where both used one and the same category only."""
    share = tables / tables.sum(axis=(1, 2), keepdims=True)
    chance = (share.sum(axis=2) * share.sum(axis=1)).sum(axis=1)
    return _beyond(_trace_share(tables), chance)


def _alpha(tables: Array) -> Array:
    """(R, k, k) coincidences -> (R,), NaN where one category is left."""
    counts, n = tables.sum(axis=2), tables.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = ((counts * counts).sum(axis=1) - n) / (n * (n - 1))
    return _beyond(_trace_share(tables), chance)


def _trace_share(tables: Array) -> Array:
    shares: Array = np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return shares


def _beyond(observed: Array, chance: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Array = np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan)
    return value


def _with_interval(clusters: Array, figure: _Figure, n: int, seed: int) -> Agreement:
    """The figure of all clusters, and the middle 95 % of those of clusters drawn again."""
    whole = clusters.sum(axis=0, keepdims=True)
    value, observed = float(figure(whole)[0]), float(_trace_share(whole)[0])
    if len(clusters) < 2:
        return Agreement(value, None, None, observed, n, "no interval: all judgements are of one video")
    if observed == 1.0:
        return Agreement(value, None, None, observed, n, "no interval: nobody disagreed yet")
    draws, found = np.random.default_rng(seed), []
    for start in range(0, RESAMPLES, _ROWS):
        rows = min(_ROWS, RESAMPLES - start)
        weights = draws.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=rows)
        summed = weights.astype(np.float64) @ clusters.reshape(len(clusters), -1)
        found.append(figure(summed.reshape(rows, *clusters.shape[1:])))
    drawn = np.concatenate(found)
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < RESAMPLES // 2:
        return Agreement(value, None, None, observed, n, "no interval: one category was used almost alone")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Agreement(value, float(low), float(high), observed, n)
