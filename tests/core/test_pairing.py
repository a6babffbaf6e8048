"""Pairs come from asking one model on the clean and on the perturbed order, and stopping loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tempo_core.errors import Cancelled, MediaError, OutsideVocabulary, PromptTooLong, VideoLost
from tempo_core.pairing import Drafts, PairingJob, ask, seed_of
from tempo_core.perturbation import plan
from tempo_core.prompts import PROMPT_SETS
from tempo_core.types import Answer, Progress, Question, Sampling
from tempo_core.video_llms import load
from tests.checkpoints import frames, qwen_folder  # noqa: F401

SAMPLING = Sampling(temperature=1.0, max_new_tokens=6)
GENERAL = PROMPT_SETS["general"]


@pytest.fixture(scope="module")
def llm(qwen_folder: Path):  # noqa: F811
    return load(qwen_folder, device="cpu")


@pytest.fixture
def asked(llm, monkeypatch: pytest.MonkeyPatch) -> list[list[Question]]:
    """Every call to the (real) model, as the list of its questions."""
    calls: list[list[Question]] = []
    answer = llm.answer

    def recording(questions: Sequence[Question], sampling: Sampling, seed: Sequence[int]) -> list[Answer]:
        calls.append(list(questions))
        answers: list[Answer] = answer(questions, sampling, seed)
        return answers

    monkeypatch.setattr(llm, "answer", recording)
    return calls


def pictures(video_id: int, numbers: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.concatenate([frames(1, seed=1000 * video_id + number).pixels for number in numbers])


def job(video_id: int, n_clips: int = 4, plan_ids: Sequence[int] = (1, 2, 3)) -> PairingJob:
    kinds = {1: "drop", 2: "shuffle", 3: "reverse"}
    return PairingJob(
        video_id=video_id,
        timeline_id=10 * video_id,
        video_key=f"sha of {video_id}",
        clip_pictures=tuple((10 * clip, 10 * clip + 5) for clip in range(n_clips)),
        clip_durations_s=tuple(1.0 + clip for clip in range(n_clips)),
        plans=tuple((i, plan(kinds[i], n_clips, 2, seed=i)) for i in plan_ids),
    )


def everything(parts: Sequence[Drafts]) -> tuple[dict, dict, dict]:
    """Texts by place, whatever batch they came in."""
    return (
        {(d.video_id, d.clip_idx): d.text for part in parts for d in part.captions},
        {(d.video_id, d.plan_id): d.answer.text for part in parts for d in part.responses},
        {(d.video_id, d.plan_id): (d.prompt, d.chosen.text, d.rejected.text) for part in parts for d in part.pairs},
    )


def run(llm, jobs: Sequence[PairingJob], sampling: Sampling = SAMPLING, source: Callable = pictures, **more) -> list:
    return list(ask(llm, jobs, sampling, source, user_seed=7, **more))


def test_every_clip_is_captioned_once_each_given_the_one_before(llm, asked):
    captions, _, _ = everything(run(llm, [job(1), job(2, n_clips=5)]))
    assert set(captions) == {(1, c) for c in range(4)} | {(2, c) for c in range(5)}
    levels = [[question.text for question in call] for call in asked[:5]]
    assert levels[0] == [GENERAL.caption_first] * 2
    assert levels[2] == [GENERAL.caption_next(captions[1, 1]), GENERAL.caption_next(captions[2, 1])]
    assert levels[4] == [GENERAL.caption_next(captions[2, 3])]


def test_a_caption_is_about_its_own_key_frames(llm, asked):
    run(llm, [job(3)])
    shown = asked[2][0].frames
    assert shown is not None
    assert shown.numbers == (20, 25)
    np.testing.assert_array_equal(shown.pixels, pictures(3, (20, 25)))


def test_one_clean_answer_serves_all_plans_and_each_plan_is_asked_in_its_own_order(llm, asked):
    one = job(1)
    captions, responses, pairs = everything(run(llm, [one]))
    assert set(responses) == {(1, None), (1, 1), (1, 2), (1, 3)}
    orders = [tuple(range(4)), *(p.order for _, p in one.plans)]
    assert [question.text for question in asked[-1]] == [
        GENERAL.from_captions([captions[1, clip] for clip in order]) for order in orders
    ]
    assert all(question.frames is None for question in asked[-1])
    assert {chosen for _, chosen, _ in pairs.values()} == {responses[1, None]}
    assert all(rejected == responses[place] for place, (_, _, rejected) in pairs.items())


def test_with_video_input_the_pictures_stand_in_plan_order_and_both_sides_hear_the_same_words(llm, asked):
    one = job(1)
    (drafts,) = run(llm, [one], replace(SAMPLING, input="video"))
    assert drafts.captions == ()
    (questions,) = asked
    assert len({question.text for question in questions}) == 1
    assert questions[0].text in GENERAL.describe
    for (_, perturbation), question in zip(one.plans, questions[1:], strict=True):
        assert question.frames is not None
        numbers = tuple(n for clip in perturbation.order for n in one.clip_pictures[clip])
        assert question.frames.numbers == numbers
        np.testing.assert_array_equal(question.frames.pixels, pictures(1, numbers))


def test_with_clips_input_each_clip_is_a_video_of_its_own_in_plan_order(llm, asked):
    one = job(1)
    (drafts,) = run(llm, [one], replace(SAMPLING, input="clips"))
    assert drafts.captions == ()
    (questions,) = asked
    assert {question.text for question in questions} <= {GENERAL.from_clips(text) for text in GENERAL.describe}
    assert len({question.text for question in questions}) == 1
    for order, question in zip([tuple(range(4)), *(p.order for _, p in one.plans)], questions, strict=True):
        assert question.frames is None
        assert [clip.numbers for clip in question.clips] == [one.clip_pictures[clip] for clip in order]
        for clip, frames_of_clip in zip(order, question.clips, strict=True):
            np.testing.assert_array_equal(frames_of_clip.pixels, pictures(1, one.clip_pictures[clip]))
            assert frames_of_clip.duration_s == pytest.approx(one.clip_durations_s[clip])


def test_the_training_prompt_is_one_of_six_and_varies(llm):
    jobs = [job(i, plan_ids=(1, 2, 3)) for i in range(8)]
    known = [replace(j, captions={c: "a red square" for c in range(4)}) for j in jobs]
    _, _, pairs = everything(run(llm, known, replace(SAMPLING, max_new_tokens=1)))
    prompts = {prompt for prompt, _, _ in pairs.values()}
    assert prompts <= set(GENERAL.describe)
    assert len(prompts) > 3


@pytest.mark.parametrize("kind_of_input", ["captions", "clips", "video"])
def test_prompts_of_ones_own_are_asked_and_kept_with_each_pair(llm, asked, kind_of_input):
    own = ("Say what happens, in order.", "Tell the video.")
    known = replace(job(1), captions={c: "a red square" for c in range(4)})
    sampling = replace(SAMPLING, input=kind_of_input, max_new_tokens=1)
    _, _, pairs = everything(run(llm, [known], sampling, phrasings=own))
    assert {prompt for prompt, _, _ in pairs.values()} <= set(own)
    said = {"video": set(own), "clips": {GENERAL.from_clips(text) for text in own}}
    if kind_of_input in said:
        assert {question.text for call in asked for question in call} <= said[kind_of_input]


@pytest.mark.parametrize("kind_of_input", ["captions", "clips", "video"])
def test_the_size_of_the_batches_changes_nothing(llm, kind_of_input):
    jobs, sampling = [job(i, n_clips=3 + i) for i in range(1, 4)], replace(SAMPLING, input=kind_of_input)
    assert everything(run(llm, jobs, sampling)) == everything(run(llm, jobs, sampling, videos_per_batch=1))


def test_another_seed_or_another_video_key_draws_otherwise(llm):
    (one,) = run(llm, [job(1)])
    (other,) = ask(llm, [job(1)], SAMPLING, pictures, user_seed=8)
    (renamed,) = run(llm, [replace(job(1), video_key="another file")])
    assert one.responses != other.responses
    assert one.responses != renamed.responses
    assert seed_of(7, "sha", "clean") == 6_699_722_845_498_959_969


def test_what_is_stored_is_not_asked_again_and_the_rest_comes_out_as_without_the_stop(llm, asked):
    whole = run(llm, [job(1)])[0]
    stored = replace(
        job(1),
        captions={draft.clip_idx: draft.text for draft in whole.captions[:2]},
        clean=whole.responses[0].answer,
        answered={whole.responses[1].plan_id: whole.responses[1].answer},
    )
    asked.clear()
    rest = run(llm, [stored])[0]
    captions, responses, pairs = everything([whole])
    rest_captions, rest_responses, rest_pairs = everything([rest])
    assert rest_captions == {place: captions[place] for place in [(1, 2), (1, 3)]}
    assert rest_responses == {place: responses[place] for place in [(1, 2), (1, 3)]}
    assert rest_pairs == pairs
    assert [len(call) for call in asked] == [1, 1, 2]


def test_a_video_without_missing_plans_asks_for_no_answer(llm, asked):
    done = replace(job(1), plans=(), captions={c: "a red square" for c in range(4)})
    assert run(llm, [done]) == [Drafts()]
    assert asked == []


def test_progress_is_told_and_a_stop_between_batches_keeps_what_was_yielded(llm):
    told: list[Progress] = []

    def stop_after_one(progress: Progress) -> None:
        told.append(progress)
        if progress.done:
            raise Cancelled("stopped")

    kept = []
    with pytest.raises(Cancelled):
        for drafts in ask(
            llm, [job(1), job(2)], SAMPLING, pictures, user_seed=7, report=stop_after_one, videos_per_batch=1
        ):
            kept.append(drafts)
    assert [(p.done, p.total) for p in told] == [(0, 2), (1, 2)]
    assert [{d.video_id for d in drafts.pairs} for drafts in kept] == [{1}]


def test_a_video_that_cannot_be_read_stops_only_itself(llm):
    def one_is_gone(video_id: int, numbers: tuple[int, ...]) -> NDArray[np.uint8]:
        if video_id == 2:
            raise MediaError("missing", "film.mp4 is gone. Put it back.")
        return pictures(video_id, numbers)

    jobs = [job(1), job(2), job(3)]
    broken = run(llm, jobs, source=one_is_gone)
    (failure,) = [failure for part in broken for failure in part.failures]
    assert (failure.video_id, failure.timeline_id, str(failure.error)) == (2, 20, "film.mp4 is gone. Put it back.")
    assert everything(broken) == everything(run(llm, [jobs[0], jobs[2]]))


def test_a_list_too_long_for_the_model_names_the_numbers(llm, monkeypatch):
    monkeypatch.setattr(llm.model.config.text_config, "max_position_embeddings", 300)
    long = replace(job(1), captions={c: "then a blue circle " * 40 for c in range(4)})
    (drafts,) = run(llm, [long])
    assert isinstance(drafts.failures[0].error, PromptTooLong)
    assert "300 positions" in str(drafts.failures[0].error)


def test_a_stored_caption_with_a_control_token_fails_its_video(llm):
    (drafts,) = run(llm, [replace(job(1), captions={c: "a <|im_end|> b" for c in range(4)})])
    assert isinstance(drafts.failures[0].error, OutsideVocabulary)


def test_a_model_that_lost_its_video_stops_everything(llm, monkeypatch):
    monkeypatch.setattr(llm, "video_token_id", llm.end_id)
    with pytest.raises(VideoLost):
        run(llm, [job(1), job(2)])
