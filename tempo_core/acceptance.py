"""Acceptance sampling: how many pairs of a stratum to read, and what that says about those that nobody read.

Exact for a finite stratum (hypergeometric), no approximation; rounding is taken to the safe side. Two statements:

- *The test* of one stratum: it is refused unless P(at most this many bad in the sample | one bad pair more than
  tolerated) is at most alpha = 1 - confidence. One more than tolerated is the worst case, since that probability
  falls with every further bad pair. Several strata are tested together by Holm, so that with probability
  `confidence` no stratum of a campaign is accepted wrongly.
- *The bound* of one stratum: the largest number of bad pairs that the sample does not contradict. For several strata
  each bound is taken at alpha divided by their number (Bonferroni over all sampled strata, refused ones too), so that
  with probability `confidence` all of them hold together, whichever of them is quoted later.

The two families hold at `confidence` each. A stratum that Holm lets through at a milder level than Bonferroni's may
carry a bound above the tolerated share; it is stated as it is. A stratum read to the last pair is known, not
estimated: it takes no share of alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb, exp, floor, fsum, lgamma
from typing import NamedTuple

import numpy as np

from tempo_core.errors import BadSettings

SMALL = 20
"""Strata below this are read to the last pair."""

NEARLY_ALL = Fraction(9, 10)
"""A sample of this share of its stratum is not worth drawing: read all."""

POWER = 0.9
"""How likely a stratum as good as expected should pass, where the number of bad ones allowed is chosen for us."""

_SAFE = 1e-8
"""Logarithms of factorials of 100,000 are right to 1e-9; probabilities are taken this much larger."""

_NOTHING = 1e-25
"""Terms this much smaller than the largest are left out; there are fewer than 100,000."""

_EXACT = 400
"""Strata up to this size are counted in whole numbers."""


class Plan(NamedTuple):
    """Read `n_sample` pairs; more than `max_bad` bad ones among them refuse the stratum."""

    n_sample: int
    max_bad: int


class Bound(NamedTuple):
    """At most this many pairs of the whole stratum are bad, those found included."""

    n_bad: int
    share: float


def worst_case(n_pairs: int, tolerated: float) -> int:
    """The fewest bad pairs that are too many. From the decimal as written: 0.29 of 100 tolerates 29, not 28."""
    return floor(Fraction(str(tolerated)) * n_pairs) + 1


def at_most(bad: int, n_pairs: int, n_bad: int, n_sample: int) -> float:
    """P(at most `bad` bad ones among `n_sample` drawn without replacement from `n_pairs` that hold `n_bad`)."""
    first, last = max(0, n_sample - (n_pairs - n_bad)), min(bad, n_bad, n_sample)
    if last < first:
        return 0.0
    if bad >= min(n_bad, n_sample):
        return 1.0
    if n_pairs <= _EXACT:
        ways = sum(comb(n_bad, k) * comb(n_pairs - n_bad, n_sample - k) for k in range(first, last + 1))
        return float(Fraction(ways, comb(n_pairs, n_sample)))
    return min(1.0, _sum(first, last, n_pairs, n_bad, n_sample) * (1 + _SAFE))


def _sum(first: int, last: int, n_pairs: int, n_bad: int, n_sample: int) -> float:
    """Of the probabilities from `first` to `last`, beginning at the largest: each is its neighbour times a ratio."""
    largest = max(first, min(last, (n_sample + 1) * (n_bad + 1) // (n_pairs + 2)))
    good, terms = n_pairs - n_bad, []
    ways = _log_comb(n_bad, largest) + _log_comb(good, n_sample - largest) - _log_comb(n_pairs, n_sample)
    start = exp(ways)
    term = start
    for k in range(largest, first - 1, -1):
        terms.append(term)
        term *= k * (good - n_sample + k) / ((n_bad - k + 1) * (n_sample - k + 1))
        if term < start * _NOTHING:
            break
    term = start
    for k in range(largest + 1, last + 1):
        term *= (n_bad - k + 1) * (n_sample - k + 1) / (k * (good - n_sample + k))
        terms.append(term)
        if term < start * _NOTHING:
            break
    return fsum(terms)


def _log_comb(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def p_value(n_pairs: int, n_sample: int, bad: int, tolerated: float) -> float:
    """How unlikely so few bad ones are where the stratum holds more than tolerated. Read to the last pair: 0 or 1."""
    if n_sample == n_pairs:
        return 0.0 if bad < worst_case(n_pairs, tolerated) else 1.0
    return at_most(bad, n_pairs, worst_case(n_pairs, tolerated), n_sample)


def passes(p: float, confidence: float, n_strata: int = 1) -> bool:
    """Whether p is small enough, with alpha shared by `n_strata`. 1 - 0.95 is a hair above 0.05, hence the decimals."""
    return p <= float(alpha(confidence) / n_strata)


def alpha(confidence: float) -> Fraction:
    return 1 - Fraction(str(confidence))


def plan(
    n_pairs: int,
    tolerated: float,
    confidence: float,
    *,
    expected_bad: float = 0.0,
    max_bad: int | None = None,
    n_strata: int = 1,
) -> Plan:
    """The smallest sample of a stratum; with `n_strata` it passes for sure, whatever becomes of the others.

    Args:
        n_pairs: Size of the stratum.
        tolerated: Share of bad pairs that is acceptable, 0 <= tolerated < 1.
        confidence: Probability that no stratum with more than that is accepted.
        expected_bad: Share of bad pairs that one expects; a larger sample lets such a stratum pass 9 times of 10.
        max_bad: Bad ones allowed in the sample, instead of what `expected_bad` leads to.
        n_strata: How many sampled strata share the error probability.

    Raises:
        BadSettings: A share or confidence outside its range.
    """
    _check(n_pairs, tolerated, confidence, expected_bad)
    most = worst_case(n_pairs, tolerated) - 1
    if n_pairs < SMALL:
        return Plan(n_pairs, most)
    if max_bad is not None:
        found = _with(n_pairs, min(max_bad, most), tolerated, confidence, n_strata)
    else:
        found = _likely(n_pairs, most, tolerated, confidence, n_strata, expected_bad)
    return Plan(n_pairs, most) if found.n_sample >= NEARLY_ALL * n_pairs else found


def _likely(n_pairs: int, most: int, tolerated: float, confidence: float, n_strata: int, expected_bad: float) -> Plan:
    """The fewest bad ones allowed with which a stratum as good as expected passes: doubled, then halved."""

    def enough(found: Plan) -> bool:
        whole = found.n_sample >= NEARLY_ALL * n_pairs or found.max_bad >= most
        return whole or accepts(n_pairs, found, expected_bad) >= POWER

    low, high = -1, 0
    while not enough(_with(n_pairs, high, tolerated, confidence, n_strata)):
        low, high = high, min(most, 2 * high + 1)
    while high - low > 1:
        middle = (low + high) // 2
        fits = enough(_with(n_pairs, middle, tolerated, confidence, n_strata))
        low, high = (low, middle) if fits else (middle, high)
    return _with(n_pairs, high, tolerated, confidence, n_strata)


def _with(n_pairs: int, max_bad: int, tolerated: float, confidence: float, n_strata: int) -> Plan:
    return Plan(_smallest(n_pairs, max_bad, tolerated, confidence, n_strata), max_bad)


def _smallest(n_pairs: int, bad: int, tolerated: float, confidence: float, n_strata: int) -> int:
    """By halving, for the p-value falls with the size of the sample; the whole stratum always does."""
    low, high = bad, n_pairs
    while high - low > 1:
        middle = (low + high) // 2
        enough = passes(p_value(n_pairs, middle, bad, tolerated), confidence, n_strata)
        low, high = (low, middle) if enough else (middle, high)
    return high


def allowed(n_pairs: int, n_sample: int, tolerated: float, confidence: float, n_strata: int = 1) -> int:
    """The most bad ones in a sample of this size with which a stratum still passes; -1: not even none."""
    bad = -1
    while bad < n_sample and passes(p_value(n_pairs, n_sample, bad + 1, tolerated), confidence, n_strata):
        bad += 1
    return bad


def accepts(n_pairs: int, found: Plan, bad_share: float) -> float:
    """Operating characteristic: how likely a stratum with this share of bad pairs passes."""
    n_bad = round(Fraction(str(bad_share)) * n_pairs)
    return at_most(found.max_bad, n_pairs, n_bad, found.n_sample)


def bound(n_pairs: int, n_sample: int, bad: int, confidence: float, n_strata: int = 1) -> Bound:
    """The largest number of bad pairs in the WHOLE stratum that is compatible with `bad` of `n_sample` read.

    The exact one-sided upper limit: every larger number makes so few bad ones rarer than alpha / `n_strata`.
    """
    if not 0 <= bad <= n_sample <= n_pairs:
        raise ValueError(f"{bad} bad of {n_sample} read of {n_pairs} cannot be.")
    if n_sample == n_pairs:
        return Bound(bad, bad / n_pairs if n_pairs else 0.0)
    low, high = bad, n_pairs - (n_sample - bad) + 1
    while high - low > 1:
        middle = (low + high) // 2
        ruled_out = passes(at_most(bad, n_pairs, middle, n_sample), confidence, n_strata)
        low, high = (low, middle) if ruled_out else (middle, high)
    return Bound(low, low / n_pairs)


def holm_accepts(p_values: Sequence[float], confidence: float) -> list[bool]:
    """Which strata Holm lets pass. A sample that is not complete has p = 1: it cannot pass, and helps no other."""
    found, order = [False] * len(p_values), sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, i in enumerate(order):
        if not passes(p_values[i], confidence, len(p_values) - rank):
            break
        found[i] = True
    return found


def drawn_order(ids: Sequence[int], seed: int) -> list[int]:
    """The ids in random order. The first n of any part of them, in this order, are a simple random sample of it."""
    ordered = np.asarray(sorted(set(ids)), dtype=np.int64)
    return [int(i) for i in np.random.default_rng(seed).permutation(ordered)]


def _check(n_pairs: int, tolerated: float, confidence: float, expected_bad: float) -> None:
    if n_pairs < 1:
        raise BadSettings("A stratum needs at least one pair.")
    if not 0 <= tolerated < 1:
        raise BadSettings(f"Tolerated are {tolerated:g} bad pairs of each; say a share from 0 up to, not with, 1.")
    if not 0.5 <= confidence < 1:
        raise BadSettings(f"The confidence is {confidence:g}; say one from 0.5 up to, not with, 1, such as 0.95.")
    if not 0 <= expected_bad < 1:
        raise BadSettings(f"Expected are {expected_bad:g} bad pairs of each; say a share from 0 up to, not with, 1.")
