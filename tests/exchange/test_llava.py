"""Conversations in LLaVA's form: what is read of them, and every way in which a line can be broken."""

import json

import pytest

from tempo_core.errors import TooFew
from tempo_core.exchange.llava import BadLine, Conversation, Turn, parse


def line(**changed) -> bytes:
    asked = [{"from": "human", "value": "<video>\nWhat happens?"}, {"from": "gpt", "value": "A dog runs."}]
    return json.dumps({"id": "a", "video": "a.mp4", "conversations": asked} | changed).encode()


def turns(*texts: str) -> list[dict]:
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


def test_a_line_is_a_question_about_a_video_with_its_answer():
    expected = Conversation(1, "a.mp4", (Turn("a#1.1", "What happens?", "A dog runs."),))
    assert parse([line()]) == (expected,)


def test_several_turns_are_several_examples_about_the_same_video():
    said = turns("<video>\nWhat happens?", "A dog runs.", "And then?", "It barks.")
    (found,) = parse([line(conversations=said)])
    assert found.turns == (Turn("a#1.1", "What happens?", "A dog runs."), Turn("a#1.2", "And then?", "It barks."))


def test_the_mark_of_the_video_may_stand_after_the_question_or_be_missing():
    asked = [line(conversations=turns(text, "It barks.")) for text in ("And?\n<video>", "<video> And?", "And?")]
    assert {talk.turns[0].question for talk in parse(asked)} == {"And?"}


def test_messages_with_roles_and_a_list_of_one_video_are_read_alike():
    said = [{"role": "user", "content": "<video>What happens?"}, {"role": "assistant", "content": "A dog runs."}]
    written = json.dumps({"id": "a", "messages": said, "videos": ["a.mp4"]}).encode()
    assert parse([written]) == parse([line()])


def test_empty_lines_are_passed_over_and_lines_with_one_id_stay_apart():
    found = parse([b"\xef\xbb\xbf" + line(), b"  \n", line(id=7), line(id=7)])
    assert [(talk.line, talk.turns[0].example) for talk in found] == [(1, "a#1.1"), (3, "7#3.1"), (4, "7#4.1")]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"{not json", "is no JSON"),
        (b"[1, 2]", "is no object"),
        (b'{"id": "\xff"}', "no UTF-8"),
        (b"[" * 100_000, "no JSON"),
        (line(video=""), "video is"),
        (line(video=["a.mp4", "b.mp4"]), "one video file"),
        (line(video=None), "video is null"),
        (line(image="a.jpg"), "about an image"),
        (line(id=True), "id is true"),
        (line(conversations=[]), "list of questions and answers"),
        (line(conversations="What?"), '"What?"'),
        (line(conversations=["What?"]), "text 1"),
        (line(conversations=turns("What?")), "add the last answer"),
        (line(conversations=turns("What?", "")), "empty"),
        (line(conversations=turns("<video>", "A dog.")), "empty"),
        (line(conversations=turns("<video><video>What?", "A dog.")), "2 <video>"),
        (line(conversations=turns("<video>What?", "A.", "<video>And?", "B.")), "text 3 has 1 <video>"),
        (line(conversations=turns("What?", "See <video>.")), "holds <video>"),
        (line(conversations=turns("What, <image>?", "A dog.")), "holds <image>"),
        (line(conversations=[{"from": "gpt", "value": "A dog."}] * 2), "human is due"),
        (line(conversations=[{"from": "human", "value": "What?"}] * 2), "gpt is due"),
        (line(conversations=[{"role": "system", "content": "Be kind."}]), '"system" are not trained'),
        (line(conversations=[{"from": ["human"], "value": "What?"}]), "human is due"),
        (line(conversations=[{"from": "human", "value": 3}, {"from": "gpt", "value": "A"}]), "text 1 is 3"),
        (line(conversations=turns("What?", "half \ud800")), "half a character"),
    ],
)
def test_a_broken_line_refuses_the_file_with_its_number_value_and_rule(broken, words):
    with pytest.raises(BadLine, match=r"^Line 2: ") as refusal:
        parse([line(), broken])
    assert words in str(refusal.value)
    assert "Nothing of the file was imported" in str(refusal.value)


def test_a_file_without_conversations_is_too_few():
    with pytest.raises(TooFew, match="no conversation"):
        parse([b"", b"\n"])
