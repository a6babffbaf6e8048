"""Two checkpoints beside each other, from their stored answers to a sentence."""

import pytest

from tempo_core.comparisons import NotPaired, compare, compare_tasks, corrected, points, sentence, tasks_of, wholes
from tempo_core.types import ItemScore


def answers(values, per_group: int = 1):
    return [ItemScore(f"q{i:03}", f"v{i // per_group}", value, "text") for i, value in enumerate(values)]


def test_fixed_and_broken_answers_are_counted_and_tested_by_mcnemar():
    found = compare(answers([0] * 30 + [1] * 15 + [1] * 55), answers([1] * 30 + [0] * 15 + [1] * 55))
    assert (found.n, found.n_groups, found.n_fixed, found.n_broken) == (100, 100, 30, 15)
    assert found.difference == pytest.approx(0.15) and found.mcnemar == pytest.approx(0.035698, abs=5e-7)
    assert found.half_width == pytest.approx(1.96 * (0.45 / 100) ** 0.5)


def test_the_order_of_the_items_does_not_matter_and_the_items_do():
    first, second = answers([0, 1, 1, 0]), answers([1, 1, 0, 1])
    assert compare(first, second) == compare(first[::-1], second[2:] + second[:2])
    with pytest.raises(NotPaired, match="4 and 3 questions, 3 of them the same"):
        compare(first, second[:3])


def test_an_unparsed_answer_is_wrong():
    found = compare(answers([1, 1, None, 0]), answers([1, None, 1, 0]))
    assert (found.n_fixed, found.n_broken, found.difference) == (1, 1, 0)


def test_partly_right_answers_have_no_mcnemar():
    found = compare(answers([0.5, 0.25, 1]), answers([0.75, 0.25, 0.5]))
    assert found.mcnemar is None and (found.n_fixed, found.n_broken) == (1, 1)


def test_the_mean_of_tasks_is_compared_by_its_tasks():
    before = {"order": answers([0] * 10), "speed": answers([1] * 90)}
    after = {"order": answers([1] * 10), "speed": answers([1] * 90)}
    assert compare_tasks(before, after).difference == 0.5
    with pytest.raises(NotPaired, match="same tasks"):
        compare_tasks(before, {"order": after["order"]})


def test_the_verdict_is_said_in_words():
    gained = compare(answers([0] * 20 + [1] * 80), answers([1] * 100))
    assert sentence(gained, "base", "run 1").startswith("run 1 is better than base: +20.0 points [+")
    assert "is worse than" in sentence(compare(answers([1] * 100), answers([0] * 20 + [1] * 80)), "base", "run 1")
    nothing = compare(answers([0, 1] * 50), answers([1, 0] * 50))
    told = sentence(nothing, "base", "run 1")
    assert told.startswith("One cannot tell whether run 1 differs from base: 0.0 points [")
    assert "100 answers changed; with so many, about 19.6 points is the least" in told
    same = compare(answers([0, 1] * 50), answers([0, 1] * 50))
    assert sentence(same, "base", "run 1").endswith("100 videos. No answer changed.")


def test_a_figure_that_is_no_share_is_told_in_its_own_unit():
    longer = compare(answers([1.0] * 40), answers([2.0, 3.0] * 20))
    assert sentence(longer, "base", "run 1", share=False).startswith("run 1 is higher than base: +1.5 [+1.")


def test_two_videos_are_too_few_for_a_verdict():
    told = sentence(compare(answers([0] * 8, per_group=4), answers([1] * 8, per_group=4)), "base", "run 1")
    assert told.startswith("Too few videos to tell run 1 from base: +100.0 points [")
    assert told.endswith("on 8 questions about 2 videos; a verdict needs 6 or more.")


def test_among_many_benchmarks_a_small_gain_is_no_longer_told():
    small = compare(answers([0] * 8 + [1] * 92), answers([1] * 7 + [0] * 1 + [0] * 1 + [1] * 91))
    one, *_ = corrected([small])
    assert one.verdict == "better" and one.stands
    many = corrected([small, *[compare(answers([0, 1] * 50), answers([1, 0] * 50))] * 30])
    assert not many[0].stands
    assert "not when it is counted how many figures were compared" in sentence(many[0], "base", "run 1")


def test_nothing_is_said_without_a_sign():
    assert [points(x) for x in (0.0421, -0.01, 0.0, -0.0001)] == ["+4.2", "-1.0", "0.0", "0.0"]


def test_the_whole_gets_a_verdict_and_its_tasks_do_not():
    mlvu = ("accuracy", "mean_of_tasks", "count", "order")
    assert wholes("mlvu", mlvu) == ("accuracy", "mean_of_tasks")
    assert tasks_of("mlvu", "mean_of_tasks", mlvu) == ("count", "order")
    tempcompass = ("multi_choice", "multi_choice/mean_of_tasks", "multi_choice/order", "yes_no", "yes_no/order")
    assert wholes("tempcompass", tempcompass) == ("multi_choice", "multi_choice/mean_of_tasks", "yes_no")
    assert tasks_of("tempcompass", "multi_choice/mean_of_tasks", tempcompass) == ("multi_choice/order",)
    preference = ("accuracy", "accuracy_per_token", "l1/accuracy_per_token")
    assert wholes("held_out_preference", preference) == ("accuracy", "accuracy_per_token")
