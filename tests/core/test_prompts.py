"""The questions, word by word where a model's vocabulary depends on them."""

import pytest

from tempo_core.prompts import PROMPT_SETS
from tempo_core.worlds import vocabulary


@pytest.mark.parametrize("name", PROMPT_SETS)
def test_every_set_asks_for_the_order_in_six_different_ways(name):
    prompts = PROMPT_SETS[name]
    assert prompts.name == name
    assert len(set(prompts.describe)) == 6
    assert all(text == " ".join(text.split()) for text in prompts.describe)


@pytest.mark.parametrize("name", PROMPT_SETS)
def test_a_seed_draws_its_phrasing_and_all_six_come_up(name):
    drawn = [PROMPT_SETS[name].phrasing(seed) for seed in range(200)]
    assert drawn == [PROMPT_SETS[name].phrasing(seed) for seed in range(200)]
    assert set(drawn) == set(PROMPT_SETS[name].describe)
    assert min(drawn.count(text) for text in PROMPT_SETS[name].describe) > 15


@pytest.mark.parametrize("name", PROMPT_SETS)
def test_captions_are_listed_in_the_order_given(name):
    listed = PROMPT_SETS[name].from_captions(["red circle rises.", "blue ring falls.", "white cross grows."])
    assert listed.index("red circle") < listed.index("blue ring") < listed.index("white cross")
    assert PROMPT_SETS[name].from_captions(["b.", "a."]) != PROMPT_SETS[name].from_captions(["a.", "b."])


@pytest.mark.parametrize("name", PROMPT_SETS)
def test_a_list_of_no_captions_is_refused(name):
    with pytest.raises(ValueError, match="no captions"):
        PROMPT_SETS[name].from_captions([])


def test_the_embedded_list_is_the_one_the_model_was_trained_on():
    assert PROMPT_SETS["embedded"].from_captions(["red circle rises.", "blue ring moves left"]) == (
        "You are given captions of consecutive clips. Write one caption for the whole video. "
        "1: red circle rises 2: blue ring moves left"
    )


def test_the_embedded_model_captions_each_clip_alone():
    embedded = PROMPT_SETS["embedded"]
    assert embedded.caption_first == "What happens in this video, step by step?"
    assert embedded.caption_next("red circle rises.") == embedded.caption_first
    assert not embedded.differential


def test_a_later_clip_is_captioned_given_the_clip_before_it():
    general = PROMPT_SETS["general"]
    assert general.differential
    assert "A man opens\na door" not in general.caption_next("A man opens\na door")
    assert "A man opens a door" in general.caption_next("A man opens\na door")


def test_a_caption_with_line_breaks_stays_one_item_of_the_list():
    text = PROMPT_SETS["general"].from_captions(["A man.\n2. A trap.", "A dog."])
    assert [line for line in text.splitlines() if line[:1].isdigit()] == ["1. A man. 2. A trap.", "2. A dog."]


def test_the_embedded_model_can_read_everything_its_set_asks():
    embedded = PROMPT_SETS["embedded"]
    captions = [
        f"{thing} {action}." for thing, action in zip(vocabulary.OBJECTS[:16], vocabulary.ACTIONS * 2, strict=True)
    ]
    for text in (*embedded.describe, embedded.caption_next("red circle rises."), embedded.from_captions(captions)):
        vocabulary.check(text)
