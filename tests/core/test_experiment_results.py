"""What an experiment may say: differences on the same seeds and questions, verdicts corrected for their number."""

from __future__ import annotations

import numpy as np
import pytest

from tempo_core.experiment_results import (
    BASE,
    ORDER,
    REJECTED,
    UNTRAINED,
    Answers,
    answers,
    difference,
    figures,
    rows,
    told,
)
from tempo_core.experiments import Design, arms
from tempo_core.recipes import PRESETS

GROUPS = tuple(f"video {i // 4}" for i in range(160))
ITEMS = tuple(f"q{i:03d}" for i in range(160))
KEY = ("drawn_world", "group")
ARMS = arms(Design(PRESETS["embedded"], pacings=("mixed",), controls=("chosen_only", "hard_to_easy")))
REFERENCE = ARMS[0].name


def answered(share: float, seeds=(0, 1, 2), first: int = 0) -> Answers:
    """Right in the first items, each seed in two more than the one before."""
    values = {s: tuple(float(first <= i < share * 160 + 2 * k) for i in range(160)) for k, s in enumerate(seeds)}
    return Answers(ITEMS, GROUPS, values, chance=1 / 6)


def shuffled(share: float, seed: int) -> Answers:
    right = np.random.default_rng(seed).random((3, 160)) < share
    return Answers(ITEMS, GROUPS, {s: tuple(map(float, right[s])) for s in range(3)})


def test_an_arm_is_compared_with_the_reference_seed_by_seed_and_question_by_question():
    found = difference(answered(0.5), answered(0.75))
    assert found.mean == pytest.approx(0.25)
    # The seeds differ in both arms alike, so their differences do not differ at all.
    assert len(set(found.of_seed)) == 1 and len(found.of_seed) == 3


def test_only_shared_seeds_and_shared_questions_are_compared():
    fewer = Answers(ITEMS[:80], GROUPS[:80], {1: (1.0,) * 80, 7: (0.0,) * 80})
    found = difference(answered(0.25), fewer)
    assert found.of_seed == (pytest.approx(1 - 42 / 80),)
    assert difference(answered(0.25, seeds=(3,)), fewer) is None
    assert difference(Answers(("other",), ("v",), {1: (1.0,)}), fewer) is None


def test_the_base_stands_beside_every_seed():
    base = Answers(ITEMS, GROUPS, {UNTRAINED: (0.0,) * 160})
    found = figures({BASE: {KEY: base}, REFERENCE: {KEY: answered(0.5)}}, REFERENCE)
    change = found[0].change
    assert (found[0].arm, len(change.of_seed), change.mean) == (BASE, 3, pytest.approx(-0.5125))
    assert found[0].verdict == "worse" and found[1].change is None and found[1].verdict is None


def test_the_same_answers_are_no_difference_and_a_plain_gain_is_better():
    measured = {REFERENCE: {KEY: answered(0.5)}, "same": {KEY: answered(0.5)}, "more": {KEY: answered(0.9)}}
    _, same, more = figures(measured, REFERENCE)
    assert (same.change.mean, same.change.low, same.change.high, same.verdict) == (0, 0, 0, "cannot tell")
    assert (more.verdict, more.p_adjusted) == ("better", more.change.p)


def test_verdicts_are_corrected_for_how_many_figures_a_comparison_has():
    metrics = ("swap", "group", "order", "earlier", "recall", "content_questions")
    reference = {("drawn_world", m): shuffled(0.5, i) for i, m in enumerate(metrics)}
    other = {("drawn_world", m): shuffled(0.5 + 0.1 * (m == "swap"), 50 + i) for i, m in enumerate(metrics)}
    found = [f for f in figures({REFERENCE: reference, "other": other}, REFERENCE) if f.arm == "other"]
    assert all(f.p_adjusted >= f.change.p for f in found)
    smallest = min(found, key=lambda f: f.change.p)
    assert smallest.p_adjusted == pytest.approx(min(1, 6 * smallest.change.p))


def test_a_single_level_has_an_interval_and_no_verdict():
    key = ("held_out_preference", "l1/accuracy_per_token")
    found = figures({REFERENCE: {key: answered(0.5)}, "more": {key: answered(0.9)}}, REFERENCE)
    assert found[1].change.low > 0 and found[1].verdict is None and found[1].p_adjusted is None


def test_one_video_gives_no_figure():
    alone = Answers(ITEMS, ("video",) * 160, {0: (1.0,) * 160})
    assert figures({REFERENCE: {KEY: alone}}, REFERENCE) == ()


@pytest.mark.parametrize(
    ("chosen_only", "first_words"),
    [(0.5, "Not seen: between chosen only"), (0.3, "Yes: chosen only is worse"), (0.9, "No: chosen only is better")],
)
def test_whether_the_rejected_side_helps_is_answered_by_the_arm_without_it(chosen_only, first_words):
    table = figures({REFERENCE: {KEY: answered(0.5)}, "chosen only": {KEY: answered(chosen_only)}}, REFERENCE)
    (said,) = answers(ARMS, table)
    assert said.question == REJECTED and said.short.startswith(first_words), said.short


def test_whether_the_order_helps_is_answered_by_the_other_orders_of_the_same_recipe():
    table = figures({REFERENCE: {KEY: answered(0.5)}, "dpo_sft, hard_to_easy": {KEY: answered(0.9)}}, REFERENCE)
    (said,) = answers(ARMS, table)
    assert said.question == ORDER
    assert said.short == "dpo_sft, hard_to_easy is better in group than dpo_sft, mixed."


def test_the_table_tells_arms_seeds_intervals_and_verdicts():
    table = figures({REFERENCE: {KEY: answered(0.5)}, "chosen only": {KEY: answered(0.9)}}, REFERENCE)
    lines = told(table, REFERENCE).splitlines()
    assert lines[0] == "| arm | seeds | group |"
    assert lines[2].startswith("| dpo_sft, mixed (reference) | 3 | 0.51 [")
    assert lines[3].startswith("| chosen only | 3 | 0.91 [") and lines[3].endswith("] + |")
    assert [row["verdict"] for row in rows(table)] == [None, "better"]
    assert rows(table)[0]["seed_values"] == "0.5000 0.5125 0.5250"
