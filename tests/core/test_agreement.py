"""Agreement beyond chance, against the examples of the textbooks."""

import numpy as np
import pytest

from tempo_core.agreement import alpha, kappa

# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011): four observers, twelve units, gaps; nominal 0.743.
FOUR = {
    "A": "1 2 3 3 2 1 4 1 2 . . .",
    "B": "1 2 3 3 2 2 4 1 2 5 . 3",
    "C": ". 3 3 3 2 3 4 2 2 5 1 .",
    "D": "1 2 3 3 2 4 4 1 2 5 1 .",
}
# The same text, section A: two observers, ten units, binary; 0.095.
TWO = {"A": "0 1 0 0 0 0 0 0 1 0", "B": "1 1 1 0 0 1 0 0 0 0"}
# Section B: two observers, twelve units, five categories; 0.692.
LETTERS = {"A": "a a b b d c c c e d d a", "B": "b a b b b c c c e d d d"}


def ratings(table):
    rows = {rater: values.split() for rater, values in table.items()}
    n = len(next(iter(rows.values())))
    return {i: {rater: row[i] for rater, row in rows.items() if row[i] != "."} for i in range(n)}


@pytest.mark.parametrize(("table", "value"), [(FOUR, 0.743), (TWO, 0.095), (LETTERS, 0.692)])
def test_alpha_of_the_textbook(table, value):
    assert alpha(ratings(table)).value == pytest.approx(value, abs=5e-4)


def judged(both_yes, only_first, only_second, both_no):
    """Two raters' judgements from a table of four counts."""
    cells = [("yes", "yes", both_yes), ("yes", "no", only_first), ("no", "yes", only_second), ("no", "no", both_no)]
    both = [(a, b) for a, b, n in cells for _ in range(n)]
    return [a for a, _ in both], [b for _, b in both]


@pytest.mark.parametrize(
    ("table", "value"), [((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)]
)
def test_kappa_of_the_textbook(table, value):
    """The grant proposals read by two people, and two tables of equal agreement with unequal margins."""
    assert kappa(*judged(*table)).value == pytest.approx(value, abs=5e-5)


def test_alpha_of_two_complete_raters_is_close_to_kappa():
    first, second = judged(40, 6, 9, 45)
    of = {i: {"a": a, "b": b} for i, (a, b) in enumerate(zip(first, second, strict=True))}
    assert alpha(of).value == pytest.approx(kappa(first, second).value, abs=0.01)
    assert alpha(of).observed == kappa(first, second).observed == 0.85


def test_agreement_is_symmetric_and_knows_no_names():
    first, second = judged(20, 5, 10, 15)
    turned = [{"yes": "no", "no": "yes"}[value] for value in second], [{"yes": "no", "no": "yes"}[v] for v in first]
    assert kappa(*turned).value == pytest.approx(kappa(first, second).value)


def test_judging_by_chance_gives_nothing_and_by_the_opposite_less_than_nothing():
    draws = np.random.default_rng(3)
    by_chance = [[str(v) for v in draws.integers(0, 3, 6000)] for _ in range(2)]
    found = kappa(*by_chance)
    assert found.low < 0 < found.high
    assert kappa(*judged(0, 20, 20, 0)).value == -1


def test_an_interval_covers_the_truth_as_often_as_stated():
    """Two raters who each err in 15 % of cases; 100 studies of 120 pairs. 95 % within three deviations."""
    draws, truth = np.random.default_rng(5), []
    covered = 0
    share = 0.85**2 + 0.15**2
    true_kappa = (share - 0.5) / 0.5
    for study in range(100):
        right = draws.integers(0, 2, 120)
        first, second = (np.where(draws.random(120) < 0.15, 1 - right, right) for _ in range(2))
        found = kappa([str(v) for v in first], [str(v) for v in second], seed=study)
        covered += found.low <= true_kappa <= found.high
        truth.append(found.value)
    assert covered / 100 >= 0.95 - 3.5 * (0.05 * 0.95 / 100) ** 0.5
    assert np.mean(truth) == pytest.approx(true_kappa, abs=0.02)


def test_clusters_that_hang_together_widen_the_interval():
    first, second = judged(30, 5, 5, 30)
    alone = kappa(first, second)
    together = kappa(first * 8, second * 8, clusters=list(range(70)) * 8)
    apart = kappa(first * 8, second * 8)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert apart.high - apart.low < 0.5 * (together.high - together.low)
    assert kappa(first, second) == alone


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (kappa([], []), "no pair was judged by both"),
        (kappa(["good"] * 3, ["good"] * 3), "every judgement was good"),
        (alpha({}), "no pair was judged by two"),
        (alpha({1: {"a": "good"}, 2: {"b": "bad"}}), "no pair was judged by two"),
        (alpha({1: {"a": "good", "b": "good"}}), "every judgement was good"),
    ],
)
def test_what_cannot_be_computed_says_why(found, why):
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.why.startswith(f"cannot be computed because {why}")


def test_perfect_agreement_has_no_interval_that_claims_to_be_certain():
    found = kappa(*judged(12, 0, 0, 9))
    assert (found.value, found.low, found.high, found.observed) == (1.0, None, None, 1.0)
    assert "nobody disagreed" in found.why
    assert kappa(*judged(5, 1, 1, 5), clusters=[1] * 12).why.startswith("no interval")
