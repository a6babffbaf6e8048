"""Levels from difficulties, and the training order from levels."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from tempo_core.curriculum import plan_sha256, steps_of_share, training_plan
from tempo_core.errors import BadSettings, BadThresholds, EmptyStage, TooFew
from tempo_core.levels import Thresholds, level_of, levels, percentiles, raw_cuts, with_levels
from tempo_core.recipes import PRESETS, RunConfig, check
from tempo_core.types import PairRef

PACINGS = ("strict", "mixed", "hard_to_easy")


def config(**changes):
    return replace(RunConfig(pacing="strict", pairs_per_step=4, micro_batch=2), **changes)


def pair(i, kind="drop", difficulty=0.5, level=None, magnitude=4, video=None):
    return PairRef(i, video or f"v{i}", kind, level, difficulty, magnitude)


def corpus(n_videos=20, seed=0, kinds=("drop", "shuffle", "reverse"), per_level=1):
    """A pair of each kind and level for each video, as the paper's data has."""
    rng = random.Random(seed)
    made = []
    for video in range(n_videos):
        for kind in kinds:
            for level in (1, 2, 3, 4):
                for _ in range(per_level):
                    magnitude = {1: 16, 2: 8, 3: 4, 4: 2}[level]
                    made.append(PairRef(len(made), f"v{video}", kind, level, rng.random(), magnitude))
    return made


# Levels


def test_a_percentile_is_the_share_of_the_others_that_are_easier():
    assert percentiles([0.1, 0.4, 0.2, 0.3, 0.5]) == (0.0, 0.75, 0.25, 0.5, 1.0)
    assert percentiles([0.3, 0.1, 0.3]) == (0.5, 0.0, 0.5)
    assert percentiles([0.7]) == (0.0,)
    assert percentiles([]) == ()


def test_the_percentile_is_sqls_percent_rank():
    import sqlite3

    values = [round(random.Random(1).random(), 1) for _ in range(3)] + [0.2, 0.2, 0.9, 0.5, 0.5, 0.1]
    sql = "SELECT i, percent_rank() OVER (ORDER BY d) FROM (SELECT column1 AS i, column2 AS d FROM (VALUES {}))"
    rows = sqlite3.connect(":memory:").execute(sql.format(",".join(f"({i}, {d})" for i, d in enumerate(values))))
    assert percentiles(values) == pytest.approx([rank for _, rank in sorted(rows)])


@pytest.mark.parametrize(
    ("percentile", "level"), [(0.0, 1), (0.249, 1), (0.25, 2), (0.5, 3), (0.749, 3), (0.75, 4), (1.0, 4)]
)
def test_level_one_is_the_easiest_quarter(percentile, level):
    assert level_of(percentile) == level


@pytest.mark.parametrize(
    "cuts", [(0.5, 0.4, 0.6), (0.1, 0.9, 0.8), (-0.1, 0.5, 0.6), (0.1, 0.5, 1.1), (float("nan"), 0, 1)]
)
def test_thresholds_that_cross_or_leave_the_range_are_refused_by_value(cuts):
    with pytest.raises(BadThresholds, match=f"{cuts[0]:g}, {cuts[1]:g}, {cuts[2]:g} cross or leave"):
        Thresholds(*cuts)


def test_two_equal_thresholds_leave_the_level_between_them_empty():
    assert {level_of(i / 100, Thresholds(0.3, 0.3, 0.8)) for i in range(101)} == {1, 3, 4}


def test_levels_are_ranks_inside_the_kind_whatever_the_scale():
    pairs = [pair(i, "drop", 0.001 * i) for i in range(4)] + [pair(4 + i, "reverse", 0.9 + 0.01 * i) for i in range(4)]
    assert levels(pairs) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 1, 5: 2, 6: 3, 7: 4}


def test_equal_difficulties_get_equal_levels_and_the_order_of_the_pairs_does_not_matter():
    pairs = [pair(i, difficulty=[0.1, 0.5, 0.5, 0.5, 0.9][i % 5]) for i in range(40)]
    found = levels(pairs)
    assert len({found[i] for i in range(40) if i % 5 in (1, 2, 3)}) == 1
    assert levels(random.Random(0).sample(pairs, 40)) == found


def test_on_the_papers_axis_the_largest_r_is_the_easiest():
    pairs = [pair(i, magnitude=r) for i, r in enumerate((16, 8, 4, 2, None))]
    assert levels(pairs, "paper") == {0: 1, 1: 2, 2: 3, 3: 4, 4: None}


def test_imported_pairs_have_no_level_and_do_not_shift_the_others():
    pairs = [pair(i, difficulty=i / 10) for i in range(4)]
    mixed = [*pairs, pair(9, difficulty=None, magnitude=None)]
    assert levels(mixed) == {**levels(pairs), 9: None}


def test_raw_cuts_say_what_the_percentiles_meant():
    pairs = [pair(i, difficulty=i / 10) for i in range(9)]
    assert raw_cuts(pairs) == {"drop": (0.2, 0.4, 0.6)}
    for p, level in ((p, levels(pairs)[p.pair_id]) for p in pairs):
        assert level == 1 + sum(p.difficulty >= cut for cut in raw_cuts(pairs)["drop"])
    assert raw_cuts([pair(0), pair(1)]) == {"drop": (None, None, None)}


# The plan


@pytest.mark.parametrize("pacing", PACINGS)
@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("n_videos", [8, 20])
def test_every_pair_comes_once_an_epoch_but_for_the_counted_remainder(pacing, epochs, n_videos):
    pairs = corpus(n_videos)
    plan = training_plan(pairs, config(pacing=pacing, pairs_per_step=5, dpo_epochs=epochs))
    assert len(plan.planned) + sum(plan.dropped.values()) == len(pairs) * epochs
    assert max(Counter(p.pair_id for p in plan.planned).values()) == epochs
    assert all(n < 5 * epochs for n in plan.dropped.values())
    assert [p.ordinal for p in plan.planned] == list(range(len(plan.planned)))
    assert [p.step for p in plan.planned] == [i // 5 for i in range(len(plan.planned))]


def test_whole_steps_need_no_remainder():
    plan = training_plan(corpus(20), config(pairs_per_step=12))
    assert plan.dropped == {} and plan.notes == ()
    assert Counter(p.pair_id for p in plan.planned) == Counter(range(240))
    assert plan.n_steps == 20


@pytest.mark.parametrize(
    ("pacing", "names"),
    [
        ("strict", ["l1", "l2", "l3", "l4", "imported"]),
        ("hard_to_easy", ["l4", "l3", "l2", "l1", "imported"]),
        ("mixed", ["all"]),
    ],
)
def test_stages_follow_the_pacing_and_hold_their_levels_only(pacing, names):
    imported = [pair(1000 + i, "imported", None, None, None) for i in range(8)]
    plan = training_plan([*corpus(), *imported], config(pacing=pacing, dpo_epochs=2))
    assert [stage.name for stage in plan.stages] == names
    assert {stage.epochs for stage in plan.stages} == {2}
    assert [p.stage for p in plan.planned] == sorted(p.stage for p in plan.planned)
    for place in plan.planned:
        assert place.level in plan.stages[place.stage].levels
    assert {level for stage in plan.stages for level in stage.levels} == {1, 2, 3, 4, None}


def test_a_step_never_reaches_over_two_stages():
    plan = training_plan(corpus(7), config(pairs_per_step=4))
    for step in range(plan.n_steps):
        assert len({p.stage for p in plan.planned if p.step == step}) == 1


def test_the_pairs_of_a_video_stand_side_by_side_three_at_most():
    pairs = {p.pair_id: p for p in corpus(30, per_level=2)}
    plan = training_plan(list(pairs.values()), config(pairs_per_step=6))
    for stage in range(4):
        videos = [pairs[p.pair_id].video_key for p in plan.planned if p.stage == stage]
        changes = 1 + sum(a != b for a, b in pairwise(videos))
        assert changes <= 60, "30 videos of 6 pairs: at most two groups of three each"
        assert any(videos[i : i + 3] == [videos[i]] * 3 for i in range(len(videos)))
    loose = training_plan(list(pairs.values()), config(pairs_per_step=6, pairs_together=1))
    videos = [pairs[p.pair_id].video_key for p in loose.planned if p.stage == 0]
    assert 1 + sum(a != b for a, b in pairwise(videos)) > 120


def test_the_seed_fixes_the_plan_and_the_order_of_the_pairs_does_not_matter():
    pairs = corpus()
    plan = training_plan(pairs, config(seed=3))
    assert training_plan(random.Random(1).sample(pairs, len(pairs)), config(seed=3)) == plan
    other = training_plan(pairs, config(seed=4))
    assert other.planned != plan.planned and other.sha256 != plan.sha256
    assert plan.sha256 == plan_sha256(plan.planned, plan.stages)


def test_a_plan_is_the_same_on_every_machine():
    plan = training_plan(corpus(3), config(seed=7))
    assert [p.pair_id for p in plan.planned][:12] == [8, 4, 0, 20, 12, 16, 28, 32, 17, 13, 21, 33]


def test_epochs_are_shuffled_differently():
    plan = training_plan(corpus(20), config(pacing="mixed", dpo_epochs=2))
    half = len(plan.planned) // 2
    first, second = ([p.pair_id for p in part] for part in (plan.planned[:half], plan.planned[half:]))
    assert sorted(first) == sorted(second) and first != second


def test_the_papers_axis_takes_the_level_from_r():
    pairs = [replace(p, level=4) for p in corpus()]
    plan = training_plan(pairs, config(difficulty="paper"))
    assert [stage.name for stage in plan.stages] == ["l1", "l2", "l3", "l4"]
    magnitude = {p.pair_id: p.magnitude for p in pairs}
    assert {(p.level, magnitude[p.pair_id]) for p in plan.planned} == {(1, 16), (2, 8), (3, 4), (4, 2)}


def test_an_empty_level_is_named_and_skipped():
    plan = training_plan([p for p in corpus() if p.level != 2], config())
    assert [stage.name for stage in plan.stages] == ["l1", "l3", "l4"]
    assert plan.notes == ("l2 is empty",)


def small_level():
    """Level 3 has 3 pairs, the others 60."""
    return [p for p in corpus() if p.level != 3 or p.pair_id < 11]


def test_a_level_smaller_than_a_step_is_an_error_with_ways_out():
    assert sum(p.level == 3 for p in small_level()) == 3
    with pytest.raises(EmptyStage, match="Stage l3 is too small: it has 3 pairs, one step needs 4"):
        training_plan(small_level(), config())


def test_a_small_level_is_left_out_when_that_is_allowed():
    plan = training_plan(small_level(), config(dpo_epochs=2), skip_small=True)
    assert [stage.name for stage in plan.stages] == ["l1", "l2", "l4"]
    assert plan.dropped == {"l3": 6}
    assert plan.notes == ("l3 is left out: it has 3 pairs, one step needs 4",)


def test_a_small_level_takes_one_smaller_step_only_when_the_user_said_so():
    plan = training_plan(small_level(), config(), smaller_step=True)
    assert [stage.name for stage in plan.stages] == ["l1", "l2", "l3", "l4"]
    assert Counter(p.step for p in plan.planned if p.level == 3) == {30: 3}
    assert plan.notes == ("l3 trains in smaller steps: it has 3 pairs, one step needs 4",)
    assert plan.dropped == {}


def test_a_mixed_run_does_not_mind_small_levels():
    assert training_plan(small_level(), config(pacing="mixed")).stages[0].name == "all"


def test_no_pairs_and_no_level_large_enough_are_told_apart():
    with pytest.raises(TooFew, match="no pairs"):
        training_plan([], config())
    with pytest.raises(EmptyStage, match="No level has the 4 pairs"):
        training_plan(with_levels([pair(0), pair(1)]), config(), skip_small=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pacing": "zigzag"}, "pacing is 'zigzag'; it may be strict, replay, linear"),
        ({"recipe": "rl"}, "recipe is 'rl'"),
        ({"reference": "sync"}, "reference is 'sync'; it may be reset, base"),
        ({"attention": "flex"}, "it may be split, dense"),
        ({"positions": "mine"}, "it may be hf, max_plus_one"),
        ({"difficulty": "felt"}, "it may be measured, paper"),
        ({"pairs_per_step": 0}, "pairs_per_step is 0; it must be at least 1"),
        ({"dpo_epochs": 0}, "at least 1"),
        ({"pairs_together": -1}, "at least 0"),
        ({"ld_alpha": 1.5}, "ld_alpha is 1.5; it must be a number from 0 to 1"),
        ({"ld_alpha": "half"}, "ld_alpha is 'half'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_it_may_be(changes, said):
    with pytest.raises(BadSettings, match=said):
        training_plan(corpus(), config(**changes))


def test_every_preset_is_within_its_ranges():
    for preset in PRESETS.values():
        check(preset)


def test_a_pair_that_is_listed_twice_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="twice"):
        training_plan([pair(1), pair(1)], config())


def test_the_share_of_each_level_per_step_is_what_the_chart_shows():
    strict = steps_of_share(training_plan(corpus(20), config(pairs_per_step=12)))
    assert list(strict) == ["l1", "l2", "l3", "l4"]
    assert strict["l1"] == (1.0,) * 5 + (0.0,) * 15
    assert strict["l4"] == (0.0,) * 15 + (1.0,) * 5
    mixed = steps_of_share(training_plan(corpus(20), config(pairs_per_step=12, pacing="mixed")))
    assert [sum(step) for step in zip(*mixed.values(), strict=True)] == pytest.approx([1.0] * 20)
    assert all(0.1 < sum(shares) / 20 < 0.4 for shares in mixed.values())
