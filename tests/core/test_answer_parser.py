"""From what a model said to the option it chose: every style of the design's list, and what must stay unread."""

from __future__ import annotations

import pytest

from tempo_core.benchmarks.answers import choice, yes_no
from tests.answer_styles import CAPTIONS, STYLES, said

LETTERS = ("A", "B", "C")
OPTIONS = ("dunking a basketball", "dribbling a basketball", "passing a basketball")


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_read_for_every_option(style):
    for i in range(3):
        assert choice(said(STYLES[style], i, LETTERS, OPTIONS), LETTERS, OPTIONS).choice == i, i


@pytest.mark.parametrize("style", CAPTIONS)
@pytest.mark.parametrize(("word", "labels"), [("Option", "12"), ("Sentence", "AB"), ("Caption", "AB")])
def test_captions_are_read_by_their_own_labels(style, word, labels):
    captions = ("A man is dunking a basketball.", "A man is passing a basketball.")
    for i in range(2):
        text = said(style, i, labels, captions, word)
        assert choice(text, tuple(labels), captions).choice == i, text


@pytest.mark.parametrize(
    "text",
    ["", "   ", "I can't view videos.", "A man jumps.", "B or C", "Both A and B", "The answer is not A", "None of them",
     "(A) or (B)", "A, B", "Option A or option B", "I don't think the answer is B.", "The answer is A man jumps.",
     "A. passing a basketball", "It is A or maybe dribbling a basketball or passing a basketball", "I see a man.",
     "<think>A, because he jumps", "dunking a basketball and passing a basketball", "He is not dunking a basketball",
     "The answer is A. The answer is B."],
)  # fmt: skip
def test_what_is_no_clear_answer_stays_unparsed(text):
    assert choice(text, LETTERS, OPTIONS).choice is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [("dunking a basketball", "text"), ("A. dunking a basketball", "label and text"), ("[A]", "label"),
     ("A. That is what he does.", "label first"), ("The answer is A", "told"),
     ("He is dunking a basketball here", "one option")],
)  # fmt: skip
def test_an_answer_says_which_rule_read_it(text, rule):
    assert (choice(text, LETTERS, OPTIONS).choice, choice(text, LETTERS, OPTIONS).rule) == (0, rule)


def test_a_capital_letter_before_words_is_a_label_except_where_it_is_a_word():
    assert choice("B because he bounces it", LETTERS, OPTIONS).choice == 1
    assert choice("B because C is wrong", LETTERS, OPTIONS).choice is None
    nine = tuple("ABCDEFGHI")
    texts = tuple(f"it is the number {n}" for n in "abcdefghi")
    assert choice("I am sure of it", nine, texts).choice is None
    assert choice("A big thing", nine, texts).choice is None


def test_an_option_inside_another_does_not_win_over_it():
    options = ("Left", "Left, then right", "Right")
    assert choice("It moves left, then right, I think", LETTERS, options).choice == 1
    assert choice("left", LETTERS, options).choice == 0
    assert choice("It moves upright", LETTERS, options).choice is None


def test_an_option_that_begins_with_an_article_is_read_as_text():
    options = ("B man runs", "A man jumps", "A man sits")
    assert choice("A man jumps.", LETTERS, options).choice == 1
    assert choice("The answer is A man jumps.", LETTERS, options).choice == 1


def test_numbers_as_options_are_not_taken_for_labels_of_other_numbers():
    assert choice("3", LETTERS, ("2", "3", "5")).choice == 1
    assert choice("The ball was thrown 5 times.", LETTERS, ("2", "3", "5")).choice == 2
    assert choice("2.5 seconds", ("1", "2"), ("One caption.", "Another caption.")).choice is None


def test_repeated_options_are_read_as_the_first_of_them():
    assert choice("open the box", LETTERS, ("open the box", "close it", "open the box")).choice == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Yes", 0), ("yes.", 0), ("**No**", 1), ("No, he does not.", 1), ("Yes, and no.", 0), ("Answer: no", 1),
     ("<think>no</think> Yes", 0), ("Not sure", None), ("Nothing", None), ("Yes or no", None), ("", None),
     ("Yesterday", None), ("I cannot tell", None)],
)  # fmt: skip
def test_yes_and_no_are_whole_first_words(text, expected):
    assert yes_no(text).choice == expected
