"""The drawn world: true captions in any order, honest questions, and files that the ordinary scan understands."""

import random
from collections import Counter
from itertools import pairwise

import av
import numpy as np
import pytest

from tempo_core import scan, timeline, worlds
from tempo_core.errors import OutsideVocabulary
from tempo_core.prompts import PROMPT_SETS
from tempo_core.worlds import Event, WorldConfig, drawing, vocabulary

N_VIDEOS = 400


@pytest.fixture(scope="module")
def videos():
    return [worlds.spec(3, i) for i in range(N_VIDEOS)]


@pytest.fixture(scope="module")
def asked(videos):
    return [(video, question) for video in videos for question in worlds.questions(video, seed=1)]


def within_three_errors(hits: list[bool], chance: float) -> bool:
    return abs(np.mean(hits) - chance) <= 3 * np.sqrt(chance * (1 - chance) / len(hits))


# --- videos and captions


def test_a_video_is_its_seed_and_index_and_no_object_comes_twice(videos):
    assert worlds.spec(3, 5) == videos[5]
    assert worlds.spec(4, 5) != videos[5]
    for video in videos:
        assert 4 <= len(video.events) <= 16
        assert len({event.thing for event in video.events}) == len(video.events)


def test_a_hand_written_spec_stays_what_it_is():
    video = worlds.spec(0, 0, WorldConfig(min_shots=4, max_shots=4))
    assert worlds.caption(video) == (
        "purple ring moves left, then purple triangle rises, then green triangle appears, then purple circle vanishes."
    )


def test_every_event_is_drawn_about_equally_often(videos):
    counts = Counter(event.action for video in videos for event in video.events)
    assert set(counts) == set(vocabulary.ACTIONS)
    assert max(counts.values()) < 1.3 * min(counts.values())


def test_a_caption_tells_the_events_in_whatever_order_is_asked_and_can_be_read_back(videos):
    rng = random.Random(0)
    for video in videos[:50]:
        order = rng.sample(range(len(video.events)), len(video.events) - 1)
        text = worlds.caption(video, order)
        assert worlds.parse_events(text) == [video.events[i] for i in order]
        vocabulary.check(text)
    two = [Event("red circle", "rises"), Event("blue ring", "moves left")]
    assert worlds.caption_of(two) == "red circle rises, then blue ring moves left."


def test_agreement_counts_events_and_their_order():
    true = [Event("red circle", "rises"), Event("blue ring", "grows"), Event("white cross", "falls")]
    told = "blue ring grows, then red circle rises, then green square falls."
    agreement = worlds.agreement(true, told)
    assert (agreement.recall, agreement.precision, agreement.order) == (2 / 3, 2 / 3, 0.0)
    assert worlds.agreement(true, worlds.caption_of(true)).order == 1.0
    assert worlds.agreement(true, "").order is None


# --- pictures and files


def test_neighbouring_shots_have_backgrounds_that_nobody_confuses(videos):
    for video in videos:
        for before, after in pairwise(video.scenes):
            assert np.linalg.norm(np.subtract(before.background, after.background)) > 45


@pytest.mark.parametrize("action", vocabulary.ACTIONS)
def test_the_two_key_frames_tell_an_action_from_its_opposite(action):
    scene = drawing.Scene("red circle", action, 10, (20, 40, 80), 0, 0.0, 0.0, 0.0, 0.48, 0.9)
    x0, y0, radius0, alpha0 = drawing.pose(scene, 0.45)
    x1, y1, radius1, alpha1 = drawing.pose(scene, 0.65)
    moved = {
        "rises": y0 - y1, "falls": y1 - y0, "moves left": x0 - x1, "moves right": x1 - x0,
        "grows": radius1 - radius0, "shrinks": radius0 - radius1,
        "appears": alpha1 - alpha0, "vanishes": alpha0 - alpha1,
    }  # fmt: skip
    assert moved[action] > 0.1
    assert all(
        abs(value) < 1e-9 for other, value in moved.items() if other not in (action, vocabulary.OPPOSITE[action])
    )


def test_the_ordinary_scan_finds_one_clip_for_every_event(tmp_path):
    for index in range(4):
        video, path = worlds.spec(11, index), tmp_path / f"{index}.mp4"
        worlds.write(video, path)
        result = scan.scan(path, tmp_path / "cache")
        judged = timeline.judge(scan.load_measures(result.measures_path))
        assert judged.left_out_by is None
        assert tuple(shot.start for shot in judged.shots)[1:] == video.cuts
        assert len(judged.timeline) == len(video.events)
        assert worlds.read_spec(path) == video
        assert worlds.read_events(path) == video.events


def test_a_file_is_ordinary_h264_at_the_size_asked(tmp_path):
    path = tmp_path / "small.mp4"
    worlds.write(worlds.spec(0, 1), path, size_px=96)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, int(stream.average_rate)) == (
            "h264",
            96,
            96,
            10,
        )
    assert worlds.read_events(tmp_path / "other.mp4") is None


# --- questions


def test_places_of_the_right_option_are_even(asked):
    for kind in worlds.KINDS:
        places = Counter(q.options.index(q.answer) for _, q in asked if q.kind == kind)
        n = len(next(q.options for _, q in asked if q.kind == kind))
        for place in range(n):
            hits = [q.options.index(q.answer) == place for _, q in asked if q.kind == kind]
            assert within_three_errors(hits, 1 / n), (kind, places)


def test_every_answer_is_true(asked):
    for video, question in asked:
        events, told = video.events, worlds.parse_events(f"{question.text} {question.answer}")
        at = [events.index(event) for event in told]
        if question.kind == "content":
            assert any(str(e) == f"{e.thing} {question.answer[:-1]}" and e.thing in question.text for e in events)
        elif question.kind in ("after", "before"):
            assert at[1] - at[0] == (1 if question.kind == "after" else -1)
        elif question.kind == "earlier":
            assert at[2] == min(at[:2])
        else:
            assert at == [0 if question.kind == "first" else len(events) - 1]


def test_every_question_and_answer_is_in_the_embedded_vocabulary(asked):
    for _, question in asked:
        for text in (question.text, *question.options):
            vocabulary.check(text)


@pytest.mark.parametrize("rule", ["shortest", "longest", "first in the alphabet", "commonest action"])
def test_who_reads_only_the_text_is_at_chance(asked, rule):
    actions = Counter(q.answer.rstrip(".").split(" ", 2)[-1] for _, q in asked)
    choose = {
        "shortest": lambda q: min(q.options, key=len),
        "longest": lambda q: max(q.options, key=len),
        "first in the alphabet": lambda q: min(q.options),
        "commonest action": lambda q: max(q.options, key=lambda o: actions[o.rstrip(".").split(" ", 2)[-1]]),
    }[rule]
    for kind in worlds.KINDS:
        hits = [choose(q) == q.answer for _, q in asked if q.kind == kind]
        assert within_three_errors(hits, worlds.CHANCE[kind]), (kind, np.mean(hits))


@pytest.mark.parametrize("seen", ["one frame", "shuffled frames"])
def test_who_sees_one_frame_or_shuffled_frames_is_at_chance_about_time(asked, seen):
    """It knows the events of one shot, or of all in a random order, and answers as well as that allows."""
    rng = random.Random(0)
    for kind in worlds.TEMPORAL:
        hits = []
        for video, question in asked:
            if question.kind != kind:
                continue
            known = rng.sample(video.events, 1 if seen == "one frame" else len(video.events))
            named = worlds.parse_events(question.text)
            options = [worlds.parse_events(option)[0] for option in question.options]
            hits.append(options[_guess(kind, options, known, named, rng)] == worlds.parse_events(question.answer)[0])
        assert within_three_errors(hits, worlds.CHANCE[kind]), (kind, np.mean(hits))


def _guess(kind, options, known, named, rng) -> int:
    """The best option if `known` were the true order; any of those it knows, else any at all."""
    at = [known.index(option) if option in known else None for option in options]
    among = [i for i, place in enumerate(at) if place is not None] or list(range(len(options)))
    if None in at:
        return rng.choice(among)
    if kind in ("after", "before") and named[0] in known:
        step = 1 if kind == "after" else -1
        return min(among, key=lambda i: abs(at[i] - known.index(named[0]) - step))
    return (max if kind == "last" else min)(among, key=lambda i: at[i])


def test_an_sft_set_is_half_captions_and_half_questions(videos):
    examples = [example for video in videos for example in worlds.sft_examples(video, seed=0, n=4)]
    captions = [answer for question, answer in examples if question in vocabulary.DESCRIBE]
    content = [question for question, _ in examples if question.startswith("What does the")]
    assert (len(examples), len(captions), len(content)) == (4 * N_VIDEOS, 2 * N_VIDEOS, N_VIDEOS)
    assert set(captions) <= {worlds.caption(video) for video in videos}
    assert {question for question, _ in examples} >= set(vocabulary.DESCRIBE)
    assert worlds.sft_examples(videos[0], 0, 7) == worlds.sft_examples(videos[0], 0, 7)


# --- vocabulary


def test_words_that_the_embedded_model_does_not_know_are_named():
    with pytest.raises(OutsideVocabulary, match="'elephant'"):
        vocabulary.check("What does the elephant do?")
    with pytest.raises(OutsideVocabulary, match="';'"):
        vocabulary.check("red circle rises;")
    with pytest.raises(OutsideVocabulary, match="pad"):
        vocabulary.check("<|pad|>")


def test_the_embedded_prompts_are_in_the_vocabulary_and_are_those_it_was_taught():
    prompts = PROMPT_SETS["embedded"]
    captions = ["red circle rises.", "blue ring moves left."]
    assert prompts.describe == vocabulary.DESCRIBE
    assert prompts.from_captions(captions) == vocabulary.from_captions(captions)
    vocabulary.check(prompts.from_captions(captions * 8))


def test_the_numbering_of_the_words_never_changes():
    """The shipped weights depend on it: append words, never reorder them."""
    assert len(vocabulary.WORDS) == len(set(vocabulary.WORDS)) == 130
    assert [vocabulary.WORDS.index(word) for word in ("<|pad|>", "red circle", "white cross", "rises", "1:")] == [
        0, 9, 38, 39, 47,
    ]  # fmt: skip
