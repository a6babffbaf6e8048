"""Which pairs of answers are useless, and by which rule: each on both sides of its threshold."""

import random

import pytest

from tempo_core.filters import FILTERS, edit_distance, passed, run, words
from tempo_core.types import Answer

CHOSEN = "A man opens the door, walks into the kitchen and puts a red cup on the table."
REJECTED = "A red cup stands on the table. Then a man walks out of the kitchen and opens the door."
KINDS = ("drop", "shuffle", "reverse")


def answer(text, finish="stop"):
    return Answer(text, n_tokens=len(text.split()), finish=finish)


def verdict(name, chosen, rejected, kind="reverse"):
    chosen, rejected = (a if isinstance(a, Answer) else answer(a) for a in (chosen, rejected))
    return next(v for v in run(chosen, rejected, kind) if v.name == name)


@pytest.mark.parametrize("kind", ["shuffle", "reverse"])
def test_a_good_pair_passes_every_rule_that_applies(kind):
    verdicts = run(answer(CHOSEN), answer(REJECTED), kind)
    assert [v.name for v in verdicts if not v.passed] == []
    assert passed(verdicts)
    assert {v.name for v in verdicts} == set(FILTERS) - {"drop_longer"}


def test_every_verdict_carries_a_value_and_a_sentence_for_people():
    for kind in KINDS:
        for v in run(answer(CHOSEN), answer(REJECTED), kind):
            assert v.value is not None and v.rule.endswith(".") and len(v.rule) > 30


def test_drop_needs_the_longer_answer_to_be_chosen():
    assert verdict("drop_longer", "abcd", "abc", "drop").passed
    same = verdict("drop_longer", "abc", "xyz", "drop")
    assert (same.passed, same.value) == (False, 0.0)
    assert "length_ratio" not in {v.name for v in run(answer(CHOSEN), answer(REJECTED), "drop")}


@pytest.mark.parametrize(
    ("chosen", "rejected", "fine"), [(30, 20, True), (20, 30, True), (31, 20, False), (20, 31, False)]
)
def test_the_lengths_of_reordered_answers_differ_by_half_at_most(chosen, rejected, fine):
    found = verdict("length_ratio", "a" * chosen, "b" * rejected)
    assert found.passed is fine
    assert found.value == max(chosen, rejected) / min(chosen, rejected)


def test_a_chosen_answer_inside_the_rejected_one_is_refused_but_not_the_other_way_round():
    assert not verdict("not_contained", "A dog runs.", "First. A dog runs. Then more.").passed
    assert verdict("not_contained", "First. A dog runs. Then more.", "A dog runs.").passed


def test_one_word_in_twenty_is_the_least_difference():
    twenty = [f"word{i}" for i in range(20)]
    other = ["other", *twenty[1:]]
    found = verdict("nearly_identical", " ".join(twenty), " ".join(other))
    assert (found.passed, found.value) == (True, 0.05)
    longer = verdict("nearly_identical", " ".join([*twenty, "end"]), " ".join([*other, "end"]))
    assert (longer.passed, longer.value) == (False, 1 / 21)


@pytest.mark.parametrize(
    "same",
    [("A dog runs.", "A dog runs."), ("A dog runs.", "a DOG, runs!"), ("it\u2019s red", "it's red"), ("!!", "!!")],
)
def test_letter_case_and_punctuation_make_no_difference(same):
    assert verdict("nearly_identical", *same).value == 0.0


def test_chinese_is_compared_character_by_character():
    assert words("红色的圆, ok") == ["红", "色", "的", "圆", "ok"]
    assert verdict("nearly_identical", "红圆上升", "蓝圆上升").value == 0.25


def test_a_loop_is_a_fourth_of_words_more_than_four_times():
    assert verdict("repetition", "the man walks away " * 4, REJECTED).passed
    found = verdict("repetition", CHOSEN, "the man walks away " * 5)
    assert (found.passed, found.value) == (False, 5.0)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't view the video.",
        "I\u2019m unable to watch videos directly.",
        "As an AI language model, I have no eyes.",
        "Please upload the video so that I can describe it.",
        "I don't have access to the video you mention.",
        "There is a problem: no video was provided.",
        "抱歉,我无法查看这个视频。",
    ],
)
def test_an_answer_that_says_it_saw_nothing_is_a_refusal(text):
    assert not verdict("refusal", CHOSEN, text).passed
    assert verdict("refusal", text, text).value == 2.0


@pytest.mark.parametrize(
    "text",
    [
        "The man is unable to open the door and asks for help.",
        "A sign says sorry, we are closed. A woman cannot see over the crowd.",
        "She shares a video with her friend, who is sorry to miss the party.",
        "An AI robot walks by; no car was parked there.",
    ],
)
def test_a_scene_in_which_somebody_fails_is_no_refusal(text):
    assert verdict("refusal", text, CHOSEN).passed


def test_answers_cut_off_at_the_token_limit_are_counted():
    assert verdict("cut_off", answer(CHOSEN), answer(REJECTED)).passed
    assert verdict("cut_off", answer(CHOSEN, "length"), answer(REJECTED, "length")).value == 2.0
    assert not verdict("cut_off", answer(CHOSEN), answer(REJECTED, "length")).passed


@pytest.mark.parametrize("pair", [("", REJECTED), (CHOSEN, " \n"), ("", "")])
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_answer_fails_and_breaks_no_other_rule(pair, kind):
    verdicts = run(answer(pair[0]), answer(pair[1]), kind)
    assert not passed(verdicts)
    assert not next(v for v in verdicts if v.name == "empty").passed


def test_the_bit_parallel_distance_is_the_textbook_one():
    rng = random.Random(0)
    for _ in range(500):
        a, b = (["ab"[rng.random() < 0.5] + str(rng.randrange(3)) for _ in range(rng.randrange(90))] for _ in "12")
        assert edit_distance(a, b) == textbook_distance(a, b)
    assert edit_distance("kitten", "sitting") == 3


def textbook_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
