"""Intervals and paired tests against values worked out elsewhere."""

from math import comb

import numpy as np
import pytest

from tempo_core.errors import TooFew
from tempo_core.statistics import (
    accuracy,
    cluster_bootstrap,
    exact,
    half_width,
    holm,
    mcnemar,
    n_to_show,
    paired_bootstrap,
    paired_mean_of_tasks,
    rank_correlation,
    spearman,
    student_t,
    two_level_bootstrap,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (50, 100, 0.4038, 0.5962), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_gives_the_published_bounds(successes, n, low, high):
    assert wilson(successes, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_holds_the_share_it_saw():
    for n in range(1, 60):
        for k in range(n + 1):
            low, high = wilson(k, n)
            assert 0.0 <= low <= k / n <= high <= 1.0


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.038574), (30, 15, 0.035698), (15, 30, 0.035698), (4, 4, 1.0)],
)
def test_mcnemar_gives_the_exact_value(only_first, only_second, p):
    assert mcnemar(only_first, only_second) == pytest.approx(p, abs=5e-7)


def test_mcnemar_is_the_binomial_test_of_scipy():
    binomtest = pytest.importorskip("scipy.stats").binomtest
    for a, b in [(3, 9), (120, 80), (700, 640), (2000, 1700)]:
        assert mcnemar(a, b) == pytest.approx(binomtest(min(a, b), a + b).pvalue, rel=1e-9)


def test_spearman_by_hand():
    assert spearman([1, 2, 3], [10, 20, 90]) == 1.0
    assert spearman([1, 2, 3], [3, 2, 1]) == -1.0
    assert spearman([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)  # 1 - 6 * 4 / (4 * 15)
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(0.8660254)
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([], []) is None


def test_spearman_is_scipys_with_ties():
    spearmanr = pytest.importorskip("scipy.stats").spearmanr
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 6, 40), rng.random(40)
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_two_groups_can_be_resampled_in_four_ways():
    # Groups with means 0 and 1: the resampled mean is 0, 1/2, 1/2 or 1, each with chance 1/4.
    assert cluster_bootstrap([0, 0, 1, 1], ["a", "a", "b", "b"]) == (0.5, 0.0, 1.0)


def test_a_larger_group_weighs_more():
    mean, low, high = cluster_bootstrap([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert mean == 0.75
    assert (low, high) == (0.0, 1.0)


def test_the_interval_of_equal_groups_is_that_of_their_means():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(400), 4)
    values = np.repeat(rng.random(400), 4)
    mean, low, high = cluster_bootstrap(values, groups.tolist())
    half = 1.96 * values[::4].std() / np.sqrt(400)
    assert (mean - low, high - mean) == (pytest.approx(half, rel=0.06), pytest.approx(half, rel=0.06))
    assert high - low > 1.8 * np.subtract(*cluster_bootstrap(values, list(range(1600)))[:0:-1])


def test_the_seed_fixes_the_interval_and_matters():
    values, groups = np.random.default_rng(0).random(30), [i // 3 for i in range(30)]
    assert cluster_bootstrap(values, groups, seed=3) == cluster_bootstrap(values, groups, seed=3)
    assert cluster_bootstrap(values, groups, seed=3) != cluster_bootstrap(values, groups, seed=4)


def test_more_confidence_is_a_wider_interval():
    values, groups = list(range(30)), list(range(30))
    _, low90, high90 = cluster_bootstrap(values, groups, confidence=0.9)
    _, low99, high99 = cluster_bootstrap(values, groups, confidence=0.99)
    assert low99 < low90 < high90 < high99


def test_one_group_has_no_interval():
    with pytest.raises(TooFew, match=r"here is 1\. Freeze a version that holds out more"):
        cluster_bootstrap([0, 1], ["a", "a"])
    with pytest.raises(ValueError, match="2 values, but 1 groups"):
        cluster_bootstrap([0, 1], ["a"])


def test_accuracy_takes_the_interval_that_fits_the_questions():
    one_each = accuracy([1] * 50 + [0] * 50, list(range(100)))
    assert one_each == (0.5, *wilson(50, 100))
    grouped = accuracy([1] * 50 + [0] * 50, [i // 10 for i in range(100)])
    assert grouped[2] - grouped[1] > one_each[2] - one_each[1]


def test_accuracy_is_not_certain_when_every_answer_is_right():
    assert accuracy([1] * 40, [i // 10 for i in range(40)]) == (1.0, *wilson(4, 4))
    assert accuracy([0, 0], ["a", "a"]) == (0.0, *wilson(0, 1))
    with pytest.raises(TooFew):
        accuracy([], [])


def test_a_checkpoint_against_itself_is_exactly_nothing():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, 300)
    found = paired_bootstrap(values, values, [i // 4 for i in range(300)])
    assert (found.difference, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, "cannot tell")


def test_a_clear_gain_is_better_and_seen_from_the_other_side_worse():
    first, second = [0] * 30 + [1] * 70, [0] * 10 + [1] * 90
    groups = list(range(100))
    assert paired_bootstrap(first, second, groups).verdict == "better"
    assert paired_bootstrap(first, second, groups).difference == pytest.approx(0.2)
    assert paired_bootstrap(second, first, groups).verdict == "worse"
    assert paired_bootstrap([0, 1] * 50, [1, 0] * 50, groups).verdict == "cannot tell"


def test_pairs_of_different_items_are_refused():
    with pytest.raises(ValueError, match="same items"):
        paired_bootstrap([1, 0], [1, 0, 1], ["a", "b", "c"])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    groups, covered = [i // 5 for i in range(200)], 0
    for _ in range(60):
        chance = np.repeat(np.clip(rng.normal(0.6, 0.2, 40), 0, 1), 5)
        _, low, high = cluster_bootstrap((rng.random(200) < chance).astype(float), groups)
        covered += low <= 0.6 <= high
    assert covered >= 50


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (1, 10, 0.00253, 0.44502), (50, 100, 0.39832, 0.60168)],
)
def test_exact_intervals_of_the_tables(successes, n, low, high):
    assert exact(successes, n) == pytest.approx((low, high), abs=5e-6)


def test_an_exact_interval_covers_at_least_as_often_as_stated():
    for n, share in ((12, 0.07), (30, 0.5), (60, 0.93)):
        chance = [comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
        covered = sum(p for k, p in enumerate(chance) if exact(k, n)[0] <= share <= exact(k, n)[1])
        assert 0.95 <= covered <= 1


def test_an_exact_interval_of_nothing_is_everything():
    assert exact(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("degrees", "inside", "t"),
    [
        (1, 0.95, 12.7062),
        (2, 0.95, 4.3027),
        (3, 0.95, 3.1824),
        (4, 0.99, 4.6041),
        (9, 0.95, 2.2622),
        (30, 0.95, 2.0423),
    ],
)
def test_students_t_of_the_tables(degrees, inside, t):
    assert student_t(degrees, inside) == pytest.approx(t, abs=5e-5)


def test_one_training_run_has_the_interval_of_its_videos_alone():
    values, groups = np.random.default_rng(2).random(60), [i // 4 for i in range(60)]
    found = two_level_bootstrap([values], groups)
    assert (found.mean, found.low, found.high) == pytest.approx(cluster_bootstrap(values, groups))
    assert found.of_seed == (pytest.approx(values.mean()),)


def test_seeds_that_agree_add_nothing_and_two_that_differ_are_hardly_known():
    values, groups = np.random.default_rng(3).random(60), [i // 4 for i in range(60)]
    alike = two_level_bootstrap([values] * 3, groups)
    assert alike.high - alike.low == pytest.approx(np.subtract(*cluster_bootstrap(values, groups)[:0:-1]), rel=0.05)
    # Means 0 and 1, equal in every video: 1/2 plus or minus sqrt(2) * t(1) / z halves.
    apart = two_level_bootstrap([[0.0, 0.0], [1.0, 1.0]], ["a", "b"])
    assert (apart.mean, apart.low, apart.high) == pytest.approx((0.5, 0.5 - 4.5841, 0.5 + 4.5841), abs=1e-3)
    assert apart.p == pytest.approx(0.5, abs=0.03)


def test_a_mean_that_every_resample_has_above_zero_is_as_sure_as_resamples_and_videos_can_tell():
    three = [[1.0, 0.9, 1.0], [1.0, 1.0, 0.9], [0.9, 1.0, 1.0]]
    many = two_level_bootstrap([row * 5 for row in three], list(range(15)))
    assert many.p == pytest.approx(2 / 10_001)
    # Three videos agree by chance alone in 2 of 8 cases, however many seeds say so.
    assert two_level_bootstrap(three, ["a", "b", "c"]).p == 0.25
    with pytest.raises(TooFew, match="2 videos"):
        two_level_bootstrap([[1.0, 0.0]], ["a", "a"])


def test_three_seeds_cover_the_truth_about_as_often_as_they_say():
    rng, covered = np.random.default_rng(7), 0
    groups = [i // 4 for i in range(160)]
    for _ in range(40):
        of_seed, of_group = rng.normal(0, 0.05, (3, 1)), np.repeat(rng.normal(0, 0.2, 40), 4)
        chance = np.clip(0.6 + of_seed + of_group, 0, 1)
        found = two_level_bootstrap((rng.random((3, 160)) < chance).astype(float), groups)
        covered += found.low <= 0.6 <= found.high
    assert covered >= 36


def test_a_rank_correlation_is_between_its_bounds_and_that_of_a_constant_is_none():
    x = np.arange(60) / 60
    y = x + np.random.default_rng(0).normal(0, 0.2, 60)
    value, low, high = rank_correlation(x, y, [i // 3 for i in range(60)])
    assert value == spearman(x, y)
    assert 0.5 < low < value < high <= 1
    assert rank_correlation(x, [1.0] * 60, list(range(60))) is None
    assert rank_correlation(x, y, ["one video"] * 60) is None


@pytest.mark.parametrize(("changed", "points"), [(0.05, 0.87), (0.10, 1.23), (0.20, 1.74)])
def test_what_2525_questions_can_show(changed, points):
    assert 100 * half_width(changed, 2525) == pytest.approx(points, abs=0.005)


@pytest.mark.parametrize(("changed", "n", "with_power"), [(0.05, 1921, 3925), (0.10, 3842, 7849), (0.20, 7684, 15_698)])
def test_questions_needed_to_show_a_difference_of_one_point(changed, n, with_power):
    assert (n_to_show(0.01, changed), n_to_show(0.01, changed, with_power=True)) == (n, with_power)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 * .01, then 2 * .03, which holds .04 down
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02] and holm([]) == []


def test_the_p_of_a_bootstrap_agrees_with_its_interval():
    before, groups = [0] * 30 + [1] * 70, list(range(100))
    assert paired_bootstrap(before, [0] * 10 + [1] * 90, groups).p < 0.001
    unclear = paired_bootstrap(before, [1] * 5 + [0] * 25 + [1] * 69 + [0], groups)
    assert unclear.verdict == "cannot tell" and 0.05 < unclear.p < 0.3
    assert paired_bootstrap(before, before, groups).p == 1.0


def test_five_videos_that_agree_prove_nothing_and_six_do():
    five, six = (paired_bootstrap([0] * n, [1] * n, list(range(n))) for n in (5, 6))
    assert (five.verdict, five.p) == ("cannot tell", 0.0625)
    assert (six.verdict, six.p) == ("better", 0.03125)


def test_a_mean_of_tasks_counts_each_task_the_same():
    # One task of 90 questions gains nothing, one of 10 gains all: half of the mean, whatever their sizes.
    first, second = [[1] * 90, [0] * 10], [[1] * 90, [1] * 10]
    groups = [list(range(90)), list(range(10))]
    found = paired_mean_of_tasks(first, second, groups)
    assert (found.difference, found.verdict) == (0.5, "better")
    whole = paired_bootstrap([1] * 90 + [0] * 10, [1] * 100, list(range(100)))
    assert whole.difference == pytest.approx(0.1)
    with pytest.raises(TooFew, match="here is 1"):
        paired_mean_of_tasks(first, second, [groups[0], [0] * 10])
