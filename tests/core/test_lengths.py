"""What length alone can win, and pairs chosen so that it wins nothing."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tempo_core.curriculum import training_plan
from tempo_core.errors import EmptyStage
from tempo_core.lengths import LengthRule, length_rule, length_rules, matched
from tempo_core.recipes import RunConfig
from tempo_core.types import PairRef


def pair(i, n_chosen, n_rejected, level=1, kind="shuffle"):
    return PairRef(i, f"v{i}", kind, level, 0.5, 4, n_chosen, n_rejected)


lengths = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from((1, 2, None))), min_size=1, max_size=60
)


def test_always_preferring_the_longer_answer_is_right_as_often_as_the_chosen_one_is_longer():
    pairs = [pair(0, 30, 20), pair(1, 30, 20), pair(2, 10, 20), pair(3, 15, 15)]
    assert length_rule(pairs) == LengthRule(n=4, longer=2, equal=1)
    assert length_rule(pairs).longer_wins == 0.5
    assert length_rule([]).longer_wins == 0.0


def test_the_rule_stands_beside_each_level_and_kind():
    pairs = [pair(0, 30, 9, 1, "drop"), pair(1, 30, 9, 1, "drop"), pair(2, 5, 9, 1), pair(3, 9, 9, None, "imported")]
    assert length_rules(pairs) == {
        1: {"drop": LengthRule(2, 2), "shuffle": LengthRule(1, 0)},
        None: {"imported": LengthRule(1, 0, 1)},
    }


def test_of_the_many_longer_ones_those_stay_whose_ratio_is_nearest():
    shorter = [pair(0, 10, 20), pair(1, 10, 11)]
    longer = [pair(2, 90, 10, kind="drop"), pair(3, 21, 10), pair(4, 12, 10), pair(5, 50, 10, kind="drop")]
    assert {p.pair_id for p in matched([*longer, *shorter])} == {0, 1, 3, 4}


def test_the_nearest_ratio_is_taken_from_below_too_and_the_most_unequal_pair_chooses_first():
    assert {p.pair_id for p in matched([pair(0, 10, 20), pair(1, 19, 10), pair(2, 50, 10)])} == {0, 1}
    shorter = [pair(0, 10, 15), pair(1, 10, 20)]
    longer = [pair(2, 18, 10), pair(3, 11, 10), pair(4, 25, 10)]
    assert {p.pair_id for p in matched([*shorter, *longer])} == {0, 1, 2, 3}


def test_pairs_of_equal_length_stay_and_a_side_that_stands_alone_goes():
    assert [p.pair_id for p in matched([pair(0, 9, 9), pair(1, 20, 10), pair(2, 30, 10)])] == [0]
    assert matched([pair(1, 20, 10, kind="drop")]) == ()


@settings(max_examples=100, deadline=None)
@given(lengths)
def test_after_matching_no_level_can_be_won_by_length(drawn):
    pairs = [pair(i, *one) for i, one in enumerate(drawn)]
    kept = matched(pairs)
    for level in (1, 2, None):
        before, after = ([p for p in some if p.level == level] for some in (pairs, kept))
        rule, was = length_rule(after), length_rule(before)
        assert 2 * rule.longer + rule.equal == rule.n
        assert rule.equal == was.equal and rule.longer == min(was.longer, was.n - was.equal - was.longer)
    assert matched(kept) == kept
    assert set(matched(random.Random(0).sample(pairs, len(pairs)))) == set(kept)


def test_the_ratios_of_both_sides_agree_after_matching():
    rng = random.Random(3)
    shorter = [pair(i, 100, 100 + rng.randrange(1, 40)) for i in range(40)]
    longer = [pair(100 + i, 100 + rng.randrange(1, 400), 100, kind="drop") for i in range(800)]
    kept = matched([*shorter, *longer])

    def means(pairs):
        sides = [[p for p in pairs if (p.n_chosen > p.n_rejected) == side] for side in (True, False)]
        return [sum(max(p.n_chosen, p.n_rejected) for p in side) / len(side) for side in sides]

    before, after = means([*shorter, *longer]), means(kept)
    assert before[0] - before[1] > 150 and abs(after[0] - after[1]) < 20


# In a plan


def corpus():
    """20 videos; drop's chosen answer is always longer, shuffle's as often as shorter."""
    pairs = []
    for video in range(20):
        for level in (1, 2, 3, 4):
            pairs.append(PairRef(len(pairs), f"v{video}", "drop", level, 0.5, 4, 60 + video, 30))
            n = 50 + (5 if video % 2 else -5)
            pairs.append(PairRef(len(pairs), f"v{video}", "shuffle", level, 0.5, 4, n, 50))
    return pairs


CONFIG = RunConfig(pairs_per_step=4, micro_batch=2, length_matched=True)


@pytest.mark.parametrize("pacing", ["strict", "linear", "competence"])
def test_a_matched_plan_trains_balanced_pairs_and_says_how_many_it_left_out(pacing):
    pairs = corpus()
    plan = training_plan(pairs, replace(CONFIG, pacing=pacing))
    trained = {p.pair_id for p in plan.planned}
    assert plan.unmatched == {"l1": 20, "l2": 20, "l3": 20, "l4": 20}
    assert len(plan.planned) + sum(plan.dropped.values()) + sum(plan.unmatched.values()) == len(pairs)
    assert {key: rule.longer_wins for key, rule in _rules(pairs, trained).items()} == dict.fromkeys((1, 2, 3, 4), 0.5)
    assert (
        "l1: 20 pairs are left out for their lengths (the chosen answer was the longer one in 30 of 40)." in plan.notes
    )


def _rules(pairs, trained):
    kept = [p for p in pairs if p.pair_id in trained]
    return {level: length_rule([p for p in kept if p.level == level]) for level in (1, 2, 3, 4)}


def test_a_level_without_the_other_side_is_left_out_by_name():
    pairs = [p for p in corpus() if p.level != 2 or p.kind == "drop"]
    plan = training_plan(pairs, CONFIG)
    assert [stage.name for stage in plan.stages] == ["l1", "l3", "l4"]
    assert plan.unmatched["l2"] == 20
    assert any(note.startswith("l2: 20 pairs are left out") and "none is left" in note for note in plan.notes)
    assert Counter(p.level for p in plan.planned)[2] == 0


def test_when_nothing_can_be_balanced_the_plan_is_refused_and_not_quietly_empty():
    with pytest.raises(EmptyStage, match="No pair is left"):
        training_plan([p for p in corpus() if p.kind == "drop"], CONFIG)


def test_a_plan_without_the_option_does_not_look_at_lengths():
    without = replace(CONFIG, length_matched=False)
    other = [replace(p, n_chosen=0, n_rejected=0) for p in corpus()]
    assert training_plan(corpus(), without) == training_plan(other, without)
    assert training_plan(corpus(), without).unmatched == {}
