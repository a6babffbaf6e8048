"""What a reviewer sees of two answers, on cases judged by hand."""

import json
import random

import pytest

from tempo_core.diff import diff, sentences


def states(side):
    return [(s.n, s.to, s.state) for s in side]


def changed(sentence):
    return [text.strip() for flag, text in sentence.words if flag]


def test_equal_answers_have_nothing_to_show():
    found = diff("He sat. A dog ran off.", "He sat. A dog ran off.")
    assert states(found.chosen) == states(found.rejected) == [(1, 1, "same"), (2, 2, "same")]
    assert found.order_kept == 1.0
    assert not any(changed(s) for s in (*found.chosen, *found.rejected))


def test_the_sentence_that_went_to_the_front_has_moved_and_the_others_have_not():
    found = diff("A man cooks rice. A dog sleeps. Two girls dance.", "Two girls dance. A man cooks rice. A dog sleeps.")
    assert states(found.chosen) == [(1, 2, "same"), (2, 3, "same"), (3, 1, "moved")]
    assert states(found.rejected) == [(1, 3, "moved"), (2, 1, "same"), (3, 2, "same")]
    assert found.order_kept == pytest.approx(1 / 3)


def test_a_sentence_without_a_partner_is_missing_on_one_side_and_added_on_the_other():
    found = diff("A man cooks rice. Snow falls.", "A man cooks rice. Waves roll onto the beach.")
    assert states(found.chosen) == [(1, 1, "same"), (2, None, "missing")]
    assert states(found.rejected) == [(1, 1, "same"), (2, None, "added")]
    assert found.order_kept is None
    assert found.chosen[1].words == ((0, "Snow falls."),)


def test_inside_a_matched_sentence_the_changed_words_are_marked():
    found = diff("The man opens the wooden door slowly.", "The man closes the wooden door slowly!")
    assert changed(found.chosen[0]) == ["opens"]
    assert changed(found.rejected[0]) == ["closes"]
    assert found.chosen[0].words == ((0, "The man "), (1, "opens "), (0, "the wooden door slowly."))


def test_reversed_events_of_one_sentence_are_seen_as_moves():
    found = diff(
        "red circle rises, then blue ring falls, then white cross grows, then green square moves left.",
        "green square moves left, then white cross grows, then blue ring falls, then red circle rises.",
    )
    assert [s.to for s in found.chosen] == [4, 3, 2, 1]
    assert sorted(s.state for s in found.chosen) == ["moved", "moved", "moved", "same"]
    assert found.order_kept == 0.0
    assert not any(changed(s) for s in (*found.chosen, *found.rejected)), "the full stop and ', then' are no change"


def test_events_that_share_only_a_verb_are_not_partners():
    found = diff("red circle moves left, then blue ring falls.", "green cross moves left, then blue ring rises.")
    assert states(found.chosen) == [(1, None, "missing"), (2, 2, "same")]
    assert changed(found.chosen[1]) == ["falls"]


def test_dropped_events_are_missing():
    found = diff("red circle rises, then blue ring falls, then white cross grows.", "white cross grows.")
    assert states(found.chosen) == [(1, None, "missing"), (2, None, "missing"), (3, 1, "same")]
    assert states(found.rejected) == [(1, 3, "same")]


def test_the_same_sentence_twice_keeps_its_places():
    found = diff("He waves. A car stops. He waves.", "He waves. A car stops. He waves.")
    assert states(found.chosen) == [(1, 1, "same"), (2, 2, "same"), (3, 3, "same")]


def test_of_two_equally_like_sentences_the_nearer_one_is_the_partner():
    found = diff("The old man waves. Snow falls. The old man nods.", "Rain. Cars honk loudly. The old man laughs.")
    assert states(found.chosen) == [(1, None, "missing"), (2, None, "missing"), (3, 3, "same")]


def test_chinese_sentences_end_without_a_space():
    found = diff("男人开门。狗跑了！", "狗跑了！男人开门。")
    assert sentences("男人开门。狗跑了！") == ["男人开门。", "狗跑了！"]
    assert [s.to for s in found.chosen] == [2, 1]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n", [" \n"]),
        ("One sentence", ["One sentence"]),
        ('He says "Go." Then he goes.', ['He says "Go." ', "Then he goes."]),
        ("1. A man.\n2. A dog.", ["1. A man.\n", "2. A dog."]),
        ("- A man\n- A dog\n", ["- A man\n", "- A dog\n"]),
        ("It costs 3.5 euros. Fine...  Yes?! No", ["It costs 3.5 euros. ", "Fine...  ", "Yes?! ", "No"]),
        ("He sits, then stands. She sits.", ["He sits, then stands. ", "She sits."]),
        ("he sits, then stands.", ["he sits, then ", "stands."]),
    ],
)
def test_where_a_sentence_ends(text, pieces):
    assert sentences(text) == pieces


def test_the_pieces_joined_are_the_answer_unchanged():
    rng = random.Random(0)
    alphabet = [*"aB1.!? \n\"'”。，,-_•()é男🎉", ", then ", "dog ", "the man "]
    for _ in range(500):
        texts = ["".join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(2)]
        found = diff(*texts)
        for text, side in zip(texts, (found.chosen, found.rejected), strict=True):
            assert "".join(piece for s in side for _, piece in s.words) == text
            assert [s.n for s in side] == list(range(1, len(side) + 1))
        partners = {(s.n, s.to, s.state) for s in found.chosen if s.to}
        assert partners == {(s.to, s.n, s.state) for s in found.rejected if s.to}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        (". " * 10_000, "! " * 10_000),
        ("b c " * 5_000, "c b " * 5_000),
        ("b c " * 120, "c b " * 120),
        ("a b. " * 4_000, "b a. " * 4_000),
        ("".join(f"a {i}. " for i in range(3_000)), "".join(f"b {i}. " for i in range(3_000))),
        ("\n" * 20_000, " " * 20_000),
    ],
)
def test_no_text_holds_up_the_page(chosen, rejected):
    found = diff(chosen, rejected)
    assert "".join(piece for s in found.chosen for _, piece in s.words) == chosen


def test_the_result_is_json_as_the_page_gets_it():
    found = diff("A man cooks. Snow falls.", "A man cooks well.").as_json()
    assert json.loads(json.dumps(found)) == {
        "chosen": [
            {"n": 1, "to": 1, "state": "same", "words": [[0, "A man cooks. "]]},
            {"n": 2, "to": None, "state": "missing", "words": [[0, "Snow falls."]]},
        ],
        "rejected": [{"n": 1, "to": 1, "state": "same", "words": [[0, "A man cooks "], [1, "well"], [0, "."]]}],
        "order_kept": None,
    }
