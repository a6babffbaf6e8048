"""Acceptance sampling: what is stated holds as often as stated, for every stratum of a finite size."""

from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest

from tempo_core import acceptance
from tempo_core.acceptance import Plan
from tempo_core.errors import BadSettings


def exactly_at_most(bad, n_pairs, n_bad, n_sample):
    """By counting, as a fraction."""
    ways = sum(comb(n_bad, k) * comb(n_pairs - n_bad, n_sample - k) for k in range(min(bad, n_sample) + 1))
    return Fraction(ways, comb(n_pairs, n_sample))


def smallest_sample(n_pairs, n_too_many, max_bad, alpha):
    """By trying every size."""
    return next(
        n for n in range(n_pairs + 1) if n > max_bad and exactly_at_most(max_bad, n_pairs, n_too_many, n) <= alpha
    )


def largest_number(n_pairs, n_sample, bad, alpha):
    """By trying every number of bad pairs."""
    possible = range(bad, n_pairs - (n_sample - bad) + 1)
    return max(d for d in possible if exactly_at_most(bad, n_pairs, d, n_sample) > alpha)


# ---- against counting -----------------------------------------------------------------------------------------------
def test_probabilities_are_those_of_every_sample_listed():
    stratum = [True] * 3 + [False] * 5
    for n_sample in range(9):
        samples = [sum(chosen) for chosen in combinations(stratum, n_sample)]
        for bad in range(4):
            listed = Fraction(sum(found <= bad for found in samples), len(samples))
            assert acceptance.at_most(bad, 8, 3, n_sample) == pytest.approx(float(listed), abs=1e-15)


@pytest.mark.parametrize(("n_pairs", "n_draws"), [(401, 40), (1000, 40), (3000, 8)])
def test_large_strata_agree_with_whole_numbers(n_pairs, n_draws):
    draws = np.random.default_rng(1)
    for _ in range(n_draws):
        n_bad, n_sample = int(draws.integers(0, n_pairs + 1)), int(draws.integers(0, n_pairs + 1))
        bad = int(np.clip(n_bad * n_sample // n_pairs + draws.integers(-9, 10), 0, n_sample))
        exact = float(exactly_at_most(bad, n_pairs, n_bad, n_sample))
        assert acceptance.at_most(bad, n_pairs, n_bad, n_sample) == pytest.approx(exact, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize("tolerated", [0.0, 0.05, 0.1, 0.29])
@pytest.mark.parametrize("n_pairs", [20, 21, 37, 60, 100])
def test_a_plan_is_the_smallest_sample_that_keeps_its_promise(n_pairs, tolerated):
    alpha, most = Fraction(1, 20), int(Fraction(str(tolerated)) * n_pairs)
    for max_bad in range(min(most, 3) + 1):
        found = acceptance.plan(n_pairs, tolerated, 0.95, max_bad=max_bad)
        n = smallest_sample(n_pairs, most + 1, max_bad, alpha)
        assert found == (Plan(n_pairs, most) if n >= 0.9 * n_pairs else Plan(n, max_bad))


@pytest.mark.parametrize("n_pairs", [20, 33, 60])
def test_a_bound_is_the_largest_number_that_the_sample_does_not_rule_out(n_pairs):
    for n_sample in (1, 7, n_pairs // 2, n_pairs - 1):
        for bad in range(0, n_sample + 1, 3):
            expected = largest_number(n_pairs, n_sample, bad, Fraction(1, 20))
            assert acceptance.bound(n_pairs, n_sample, bad, 0.95).n_bad == expected


def test_a_plan_that_passes_states_at_most_what_is_tolerated():
    for n_pairs in (25, 180, 2400, 9400):
        for max_bad in (0, 1, 4):
            n_sample, allowed = acceptance.plan(n_pairs, 0.05, 0.95, max_bad=max_bad)
            assert acceptance.bound(n_pairs, n_sample, allowed, 0.95).share <= 0.05
            if n_sample < n_pairs:
                assert acceptance.bound(n_pairs, n_sample - 1, allowed, 0.95).share > 0.05


def test_known_sizes():
    """The example of the method's page, and the limit of a very large stratum: 0.95^59 < 0.05 < 0.95^58."""
    assert acceptance.plan(10**9, 0.05, 0.95) == Plan(59, 0)
    assert acceptance.plan(9400, 0.05, 0.95) == Plan(59, 0)
    assert acceptance.bound(9400, 180, 3, 0.95) == (397, 397 / 9400)


def test_a_share_is_taken_as_it_is_written():
    """0.29 * 100 is 28.999999999999996 in binary."""
    assert acceptance.worst_case(100, 0.29) == 30
    assert acceptance.worst_case(100, 0.07) == 8
    assert acceptance.worst_case(10, 0.0) == 1


# ---- monotony -------------------------------------------------------------------------------------------------------
def test_more_bad_ones_found_are_never_better_news():
    bounds = [acceptance.bound(500, 60, bad, 0.95).n_bad for bad in range(61)]
    assert all(low < high for low, high in pairwise(bounds))
    p = [acceptance.p_value(500, 60, bad, 0.05) for bad in range(61)]
    assert all(low <= high for low, high in pairwise(p))


def test_reading_more_never_loosens_a_bound():
    bounds = [acceptance.bound(500, n, 2, 0.95).n_bad for n in range(2, 501)]
    assert all(low >= high for low, high in pairwise(bounds))
    assert bounds[-1] == 2


def test_more_bad_ones_allowed_need_larger_samples_and_let_good_strata_pass_more_often():
    plans = [acceptance.plan(5000, 0.05, 0.95, max_bad=c) for c in range(8)]
    assert all(a.n_sample < b.n_sample for a, b in pairwise(plans))
    chances = [acceptance.accepts(5000, found, 0.01) for found in plans]
    assert all(a < b for a, b in pairwise(chances))


def test_an_expected_share_leads_to_a_sample_that_such_a_stratum_passes():
    for n_pairs in (200, 9400, 100_000):
        found = acceptance.plan(n_pairs, 0.05, 0.95, expected_bad=0.01)
        assert acceptance.accepts(n_pairs, found, 0.01) >= acceptance.POWER
        fewer = acceptance.plan(n_pairs, 0.05, 0.95, max_bad=found.max_bad - 1)
        assert acceptance.accepts(n_pairs, fewer, 0.01) < acceptance.POWER


def test_small_strata_are_read_to_the_last_pair():
    assert acceptance.plan(19, 0.1, 0.95) == Plan(19, 1)
    assert acceptance.plan(100, 0.0, 0.95) == Plan(100, 0)
    assert acceptance.bound(19, 19, 1, 0.95) == (1, 1 / 19)
    assert [acceptance.p_value(19, 19, bad, 0.1) for bad in (1, 2)] == [0.0, 1.0]


@pytest.mark.parametrize("wrong", [{"tolerated": 1.0}, {"tolerated": -0.1}, {"confidence": 1.0}, {"confidence": 0.4}])
def test_shares_outside_their_range_are_refused(wrong):
    with pytest.raises(BadSettings):
        acceptance.plan(100, **({"tolerated": 0.05, "confidence": 0.95} | wrong))


# ---- Holm -----------------------------------------------------------------------------------------------------------
def test_holm_as_worked_by_hand():
    """Four p-values: 4 x .005, 3 x .01, 2 x .03, then .04 lifted to the one before it."""
    assert acceptance.holm_accepts([0.01, 0.04, 0.03, 0.005], 0.95) == [True, False, False, True]
    assert acceptance.holm_accepts([0.01, 0.026, 0.03, 0.005], 0.95) == [True, False, False, True]
    assert acceptance.holm_accepts([0.01, 0.02, 0.04], 0.95) == [True, True, True]
    assert acceptance.holm_accepts([0.02, 0.02, 0.02], 0.95) == [False, False, False]
    assert acceptance.holm_accepts([], 0.95) == []


def test_a_sample_that_is_not_complete_helps_no_other_to_pass():
    p = [0.012, 0.03, 0.04, 0.049]
    for known in range(5):
        so_far = [value if i < known else 1.0 for i, value in enumerate(p)]
        passed = acceptance.holm_accepts(so_far, 0.95)
        assert all(not early or final for early, final in zip(passed, acceptance.holm_accepts(p, 0.95), strict=True))


# ---- simulated strata with known shares of bad pairs -----------------------------------------------------------------
DRAWS = 4000
TOLERANCE = 3.9 * (0.05 * 0.95 / DRAWS) ** 0.5
"""A right promise misses this by chance in 1 of 20,000 cases; every draw is seeded besides."""


def bounds_that_fail(n_pairs, n_sample, n_bad, seed=0, n_strata=1):
    """Share of samples whose bound lies below the truth."""
    found = np.random.default_rng(seed).hypergeometric(n_bad, n_pairs - n_bad, n_sample, DRAWS)
    stated = {int(bad): acceptance.bound(n_pairs, n_sample, int(bad), 0.95, n_strata).n_bad for bad in set(found)}
    return float(np.mean([stated[int(bad)] < n_bad for bad in found]))


@pytest.mark.parametrize(
    ("n_pairs", "n_sample", "n_bad"),
    [(40, 12, 6), (40, 12, 7), (60, 30, 8), (200, 90, 10), (200, 90, 11), (1000, 120, 50), (9400, 180, 397),
     (9400, 180, 470), (9400, 59, 471)],
)  # fmt: skip
def test_a_bound_holds_as_often_as_stated(n_pairs, n_sample, n_bad):
    assert bounds_that_fail(n_pairs, n_sample, n_bad) <= 0.05 + TOLERANCE


def test_bounds_do_not_waste_what_was_read():
    """Where the number just ruled out is the truth, the bound fails nearly as often as it may."""
    stated = acceptance.bound(9400, 180, 3, 0.95).n_bad
    assert 0.045 - TOLERANCE <= bounds_that_fail(9400, 180, stated + 1) <= 0.05 + TOLERANCE


def wrongly_accepted(sizes, shares, tolerated, seed=0):
    """Share of campaigns in which at least one stratum with more bad pairs than tolerated is accepted."""
    draws, wrong = np.random.default_rng(seed), 0
    plans = [acceptance.plan(n, tolerated, 0.95, max_bad=1, n_strata=len(sizes)) for n in sizes]
    n_bad = [round(n * share) for n, share in zip(sizes, shares, strict=True)]
    too_many = [d >= acceptance.worst_case(n, tolerated) for n, d in zip(sizes, n_bad, strict=True)]
    for _ in range(DRAWS):
        found = [draws.hypergeometric(d, n - d, plan.n_sample) for n, d, plan in zip(sizes, n_bad, plans, strict=True)]
        p = [
            acceptance.p_value(n, plan.n_sample, int(bad), tolerated)
            for n, plan, bad in zip(sizes, plans, found, strict=True)
        ]
        passed = acceptance.holm_accepts(p, 0.95)
        wrong += any(ok and bad for ok, bad in zip(passed, too_many, strict=True))
    return wrong / DRAWS


@pytest.mark.parametrize("shares", [(0.11, 0.11, 0.11), (0.0, 0.11, 0.11), (0.02, 0.0, 0.11)])
def test_no_stratum_of_a_campaign_is_accepted_wrongly_more_often_than_stated(shares, monkeypatch):
    monkeypatch.setattr(acceptance, "at_most", cache(acceptance.at_most))
    assert wrongly_accepted((100, 200, 300), shares, 0.1) <= 0.05 + TOLERANCE


def test_all_bounds_of_a_campaign_hold_together():
    """Four strata at a quarter of the error each: all four hold in 95 % of campaigns, whichever is quoted."""
    strata = [(300, 80, 12), (500, 90, 40), (900, 120, 9), (200, 60, 30)]
    failed = np.zeros(DRAWS, dtype=bool)
    for seed, (n_pairs, n_sample, n_bad) in enumerate(strata):
        found = np.random.default_rng(seed).hypergeometric(n_bad, n_pairs - n_bad, n_sample, DRAWS)
        stated = {int(b): acceptance.bound(n_pairs, n_sample, int(b), 0.95, n_strata=4).n_bad for b in set(found)}
        failed |= np.array([stated[int(bad)] < n_bad for bad in found])
    assert failed.mean() <= 0.05 + TOLERANCE


# ---- mutants: faults that these tests must see -----------------------------------------------------------------------
def binomial(bad, n_pairs, n_bad, n_sample):
    """Drawing with replacement."""
    share = n_bad / n_pairs
    return sum(comb(n_sample, k) * share**k * (1 - share) ** (n_sample - k) for k in range(min(bad, n_sample) + 1))


MUTANTS = {
    "one fewer bad is too many": ("worst_case", lambda n, share: int(Fraction(str(share)) * n)),
    "one more bad is too many": ("worst_case", lambda n, share: int(Fraction(str(share)) * n) + 2),
    "binomial": ("at_most", binomial),
    "strictly fewer": ("at_most", lambda bad, *rest: float(exactly_at_most(bad - 1, *rest))),
    "alpha is not shared": ("passes", lambda p, confidence, n=1: Fraction(p) <= acceptance.alpha(confidence)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_fault_in_the_law_is_seen(mutant, monkeypatch):
    name, fault = MUTANTS[mutant]
    monkeypatch.setattr(acceptance, name, fault)
    with pytest.raises(AssertionError):
        test_a_plan_is_the_smallest_sample_that_keeps_its_promise(37, 0.1)
        test_a_plan_is_the_smallest_sample_that_keeps_its_promise(60, 0.05)
        test_holm_as_worked_by_hand()


# ---- the draw -------------------------------------------------------------------------------------------------------
def test_a_draw_takes_every_pair_once_and_every_sample_equally_often():
    """With replacement some pair would come twice; with a biased order some of the ten pairs of five would be rare."""
    drawn = [tuple(sorted(acceptance.drawn_order(range(5), seed)[:2])) for seed in range(DRAWS)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    often = [drawn.count(pair) for pair in combinations(range(5), 2)]
    expected = DRAWS / 10
    # Chi-square with 9 degrees of freedom exceeds 33.7 once in 10,000.
    assert sum((n - expected) ** 2 / expected for n in often) < 33.7


def test_a_seed_draws_the_same_again_whatever_the_order_of_the_ids():
    assert acceptance.drawn_order([5, 3, 9, 3], 4) == acceptance.drawn_order([9, 5, 3], 4)
    assert sorted(acceptance.drawn_order(range(50), 1)) == list(range(50))
    assert acceptance.drawn_order(range(50), 1) != acceptance.drawn_order(range(50), 2)


def test_the_beginning_of_the_order_is_a_sample_of_what_remains():
    """Pairs may leave a stratum later; the order of those that stay is still a random one."""
    firsts = [next(i for i in acceptance.drawn_order(range(6), seed) if i % 2) for seed in range(DRAWS)]
    often = [firsts.count(i) for i in (1, 3, 5)]
    assert sum((n - DRAWS / 3) ** 2 / (DRAWS / 3) for n in often) < 18.4
