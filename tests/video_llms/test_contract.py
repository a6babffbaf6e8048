"""What every family of Video LLMs must do. A new family is picked up from `FAMILIES`; it needs a small checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tempo_core.errors import ClipsRefused, OutsideVocabulary, VideoLost
from tempo_core.prompts import PROMPT_SETS
from tempo_core.types import Frames, Question, Sampling
from tempo_core.video_llms import FAMILIES, checkpoints, load, load_encoder
from tempo_core.video_llms.base import HFVideoLLM
from tempo_core.video_llms.families import ONE_VIDEO_A_QUESTION
from tests.checkpoints import frames

LAYOUTS = {"tiny": ("max_plus_one",), "qwen2_5_vl": ("hf", "max_plus_one")}
"""Where the text after a video stands, for the families that have a choice."""

SAMPLING = Sampling(temperature=1.0, max_new_tokens=16)


def texts(llm: HFVideoLLM) -> list[str]:
    return list(PROMPT_SETS[llm.prompt_set].describe[:3])


def pictures(llm: HFVideoLLM, n_pictures: int, seed: int) -> Frames:
    return frames(n_pictures, seed, size_px=min(llm.long_side or 56, 56))


def questions(llm: HFVideoLLM) -> list[Question]:
    """Videos of several lengths, and one question without a video."""
    first, second, third = texts(llm)
    return [
        Question(first, pictures(llm, 12, 0)),
        Question(second, pictures(llm, 4, 1)),
        Question(third),
        Question(third, pictures(llm, 32, 2)),
    ]


@pytest.fixture(
    scope="module",
    params=[(family, positions) for family in FAMILIES for positions in LAYOUTS.get(family, ("hf",))],
    ids=" ".join,
)
def llm(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> Iterator[HFVideoLLM]:
    family, positions = request.param
    loaded = load(folder_of(family), device="cpu", dtype="float32", positions=positions)
    assert isinstance(loaded, HFVideoLLM) and loaded.family == family
    yield loaded


def n_times(llm: HFVideoLLM, question: Question) -> int:
    """Different temporal positions of a question's video tokens; checks that they go forward."""
    encoded = llm.encode(question)
    temporal = llm.positions_of(encoded)[0][encoded.mm_token_type_ids == 2].tolist()
    assert encoded.n_video_tokens == len(temporal) > 0
    assert temporal == sorted(temporal)
    return len(set(temporal))


def steps(llm: HFVideoLLM, n_pictures: int) -> int:
    """Temporal positions that as many pictures must have: two to a step, or one for every token."""
    if llm.position_rows == 3:
        return n_pictures // 2
    return llm.encode(Question(texts(llm)[0], pictures(llm, n_pictures, 0))).n_video_tokens


def test_each_step_of_the_video_has_its_own_temporal_position(llm):
    assert n_times(llm, questions(llm)[0]) == steps(llm, 12)


def test_text_after_the_video_starts_where_the_layout_says(llm):
    encoded = llm.encode(questions(llm)[3])
    positions, end = llm.positions_of(encoded), llm.video_end(encoded)
    video = encoded.mm_token_type_ids == 2
    start = end
    while start > 0 and video[start - 1]:
        start -= 1
    after, largest = int(positions[0, end]), int(positions[:, video].max())
    if llm.position_rows == 1 or llm.positions == "max_plus_one":
        assert after == largest + 1
    else:
        grid = encoded.tensors["video_grid_thw"][0]
        first = int(positions[:, start:end].min())
        assert after == first + int(grid[1:].max()) // llm.model.config.vision_config.spatial_merge_size


def test_what_generation_drew_scores_the_same_when_it_is_read(llm):
    asked = questions(llm)
    drawn: list[list[int]] = []
    generate = llm.model.generate

    def recording(**inputs):
        ids = generate(**inputs)
        drawn.extend(ids[:, inputs["input_ids"].shape[1] :].tolist())
        return ids

    llm.model.generate = recording
    try:
        answers = [llm.answer([question], SAMPLING, seed=[i])[0] for i, question in enumerate(asked)]
    finally:
        llm.model.generate = generate
    ids = [row[: answer.n_tokens + (answer.finish == "stop")] for row, answer in zip(drawn, answers, strict=True)]
    for answer, scores in zip(answers, llm.log_probs_of_ids(asked, ids), strict=True):
        assert answer.log_prob == pytest.approx(float(scores.sum()), abs=1e-3)


def test_a_batch_changes_neither_answers_nor_scores(llm):
    asked, seeds = questions(llm), [5, 6, 7, 8]
    together = llm.answer(asked, SAMPLING, seeds)
    alone = [llm.answer([question], SAMPLING, [seed])[0] for question, seed in zip(asked, seeds, strict=True)]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    texts_to_score = [texts(llm)[i % 3] for i in range(4)]
    batch = llm.log_probs(asked, texts_to_score)
    for scores, question, text in zip(batch, asked, texts_to_score, strict=True):
        np.testing.assert_allclose(scores, llm.log_probs([question], [text])[0], atol=1e-4)
        assert len(scores) == len(llm.encode_answer(text))


def test_the_same_seed_draws_the_same_and_another_draws_other(llm):
    asked = questions(llm)
    hot = replace(SAMPLING, temperature=2.0)
    first = [answer.text for answer in llm.answer(asked, hot, seed=1)]
    assert first == [answer.text for answer in llm.answer(asked, hot, seed=1)]
    assert first != [answer.text for answer in llm.answer(asked, hot, seed=2)]


def test_without_temperature_there_is_nothing_to_draw(llm):
    greedy = replace(SAMPLING, temperature=0.0)
    asked = questions(llm)[:1]
    assert llm.answer(asked, greedy, seed=1) == llm.answer(asked, greedy, seed=2)


def test_other_pictures_and_another_order_of_pictures_change_the_score(llm):
    question = questions(llm)[0]
    assert question.frames is not None
    backwards = replace(question.frames, pixels=question.frames.pixels[::-1].copy())
    variants = [question, replace(question, frames=pictures(llm, 12, 99)), replace(question, frames=backwards)]
    same, other, reversed_ = (float(s.sum()) for s in llm.log_probs(variants, [texts(llm)[0]] * 3))
    assert abs(same - other) > 1e-3
    assert abs(same - reversed_) > 1e-3


def test_an_answer_ends_in_the_end_token_and_an_answer_cut_off_says_so(llm):
    assert llm.encode_answer(texts(llm)[0])[-1] == llm.end_id
    (answer,) = llm.answer(questions(llm)[:1], replace(SAMPLING, max_new_tokens=1, temperature=0.0), seed=0)
    assert answer.finish == ("stop" if answer.n_tokens == 0 else "length")


def test_control_tokens_in_text_are_refused(llm):
    token = llm.tokenizer.eos_token
    with pytest.raises(OutsideVocabulary, match=re.escape(token)):
        llm.encode_answer(f"{texts(llm)[0]} {token}")
    with pytest.raises(OutsideVocabulary):
        llm.encode(Question(f"{texts(llm)[0]} {llm.processor.video_token}"))


def test_without_weights_the_ids_are_the_same(llm):
    """Counting tokens must not need the memory of a model, nor come to another number."""
    light = load_encoder(llm.checkpoint.path)
    assert all(weight.is_meta for weight in light.model.parameters())
    assert (light.end_ids, light.long_side) == (llm.end_ids, llm.long_side)
    text = texts(llm)[0]
    assert light.encode_answer(text) == llm.encode_answer(text)
    for mine, theirs in zip(light.encode_many(questions(llm)), llm.encode_many(questions(llm)), strict=True):
        assert mine.input_ids.tolist() == theirs.input_ids.tolist()
        assert mine.n_video_tokens == theirs.n_video_tokens


def test_a_prompt_that_lost_its_video_is_an_error(llm):
    template = llm.processor.chat_template
    llm.processor.chat_template = re.sub(
        r"(?s)\{% if c\['type'\].*?\{% elif", "{% if false %}{% elif", template, count=1
    )
    try:
        with pytest.raises(VideoLost):
            llm.encode(questions(llm)[0])
    finally:
        llm.processor.chat_template = template
    assert llm.encode(questions(llm)[0]).n_video_tokens > 0


def test_adapters_go_to_the_language_model_only(llm):
    linear = [name for name, module in llm.model.named_modules() if type(module).__name__ == "Linear"]
    adapted = [name for name in linear if re.fullmatch(llm.lora_targets, name)]
    assert len(adapted) == 7 * llm.model.config.text_config.num_hidden_layers
    for tower in llm.tower_names:
        assert any(name.startswith(tower) for name, _ in llm.model.named_parameters()), tower
        assert not any(name.startswith(tower) for name in adapted), tower


def test_no_picture_rate_hides_the_order(llm):
    seen = pictures(llm, 12, 0)
    for duration_s in [60.0, 0.4, 0.0]:
        shown = llm.shown(seen.pixels, seen.numbers, duration_s)
        assert n_times(llm, Question(texts(llm)[0], shown)) == steps(llm, 12), duration_s


def test_an_answer_that_is_told_as_it_comes_is_the_answer_and_can_be_ended(llm):
    question, told = questions(llm)[1], []
    greedy = Sampling(temperature=0.0, repetition_penalty=1.0, max_new_tokens=8)
    answer = llm.tell(question, greedy, 0, lambda text, n: told.append((n, text)))
    assert answer == llm.answer([question], greedy, [0])[0]
    assert [n for n, _ in told] == list(range(1, answer.n_tokens + 1))
    assert told[-1] == (answer.n_tokens, answer.text)

    class HeardEnough(Exception):
        pass

    def end(text: str, n: int) -> None:
        if n == 2:
            raise HeardEnough

    with pytest.raises(HeardEnough):
        llm.tell(question, greedy, 0, end)


# -- several clips in one question ------------------------------------------------------------------------------------


def clips(llm: HFVideoLLM, *n_pictures: int) -> Question:
    of_clips = tuple(pictures(llm, n, seed) for seed, n in enumerate(n_pictures))
    return Question(PROMPT_SETS[llm.prompt_set].from_clips(texts(llm)[0]), clips=of_clips)


@pytest.fixture
def several(llm):
    """The family's model, for families that read several videos in one question."""
    if llm.family in ONE_VIDEO_A_QUESTION:
        pytest.skip(f"{llm.family} refuses clips, which another test holds")
    return llm


def runs(llm: HFVideoLLM, question: Question) -> list[int]:
    """How many video tokens stand in each unbroken run of them."""
    row = "".join("v" if kind == 2 else "." for kind in llm.encode(question).mm_token_type_ids.tolist())
    return [len(run) for run in row.split(".") if run]


def test_a_family_that_reads_one_video_a_question_refuses_clips(llm):
    if llm.family not in ONE_VIDEO_A_QUESTION:
        checkpoints.check_input(llm.checkpoint, "clips")
        return
    checkpoints.check_input(llm.checkpoint, "video")
    with pytest.raises(ClipsRefused, match="one video a question"):
        llm.answer([clips(llm, 2, 2)], SAMPLING, [1])
    with pytest.raises(ClipsRefused):
        checkpoints.check_input(llm.checkpoint, "clips")


def test_every_clip_has_the_tokens_that_it_has_alone(several):
    alone = [runs(several, Question(texts(several)[0], pictures(several, 2, seed))) for seed in range(3)]
    assert runs(several, clips(several, 2, 2, 2)) == [length for of_clip in alone for length in of_clip]
    assert several.encode(clips(several, 2, 2, 2)).n_video_tokens == sum(map(sum, alone))


def test_clips_follow_each_other_in_time(several):
    encoded = several.encode(clips(several, 2, 2, 2))
    positions, video = several.positions_of(encoded)[0], encoded.mm_token_type_ids == 2
    temporal = positions[video].tolist()
    assert temporal == sorted(temporal)
    assert len(set(temporal)) == (3 if several.position_rows == 3 else len(temporal))
    if several.positions == "max_plus_one" or several.position_rows == 1:
        assert int(positions[several.video_end(encoded) :].min()) > max(temporal)


def test_the_order_and_the_pictures_of_clips_change_the_score_and_a_batch_does_not(several):
    question = clips(several, 2, 2, 2)
    turned = replace(question, clips=question.clips[::-1])
    other = replace(question, clips=(*question.clips[:2], pictures(several, 2, 99)))
    asked = [question, turned, other, Question(texts(several)[1], pictures(several, 4, 7)), Question(texts(several)[2])]
    together = several.log_probs(asked, [texts(several)[0]] * 5)
    for scores, one in zip(together, asked, strict=True):
        np.testing.assert_allclose(scores, several.log_probs([one], [texts(several)[0]])[0], atol=1e-4)
    same, reversed_, replaced = (float(scores.sum()) for scores in together[:3])
    assert abs(same - reversed_) > 1e-3
    assert abs(same - replaced) > 1e-3
    answers = several.answer(asked, SAMPLING, list(range(5)))
    assert answers[0].text == several.answer([question], SAMPLING, [0])[0].text


def test_a_template_with_too_few_places_for_the_clips_is_an_error(several):
    template = several.processor.chat_template
    fewer = template.replace("{% for c in m['content'] %}", "{% for c in m['content'][-2:] %}")
    assert fewer != template
    several.processor.chat_template = fewer
    try:
        with pytest.raises(VideoLost, match="gives 1 places for a video, the question needs 3"):
            several.encode(clips(several, 2, 2, 2))
    finally:
        several.processor.chat_template = template


def test_clips_that_run_into_each_other_are_an_error(several):
    encoded = several.encode(clips(several, 2, 2))
    ids, video = encoded.input_ids, encoded.mm_token_type_ids == 2
    together = [*ids[~video].tolist(), *ids[video].tolist()]
    with pytest.raises(VideoLost, match="run into each other"):
        several._encoded(together, encoded.videos)
    with pytest.raises(VideoLost, match="video tokens and the pictures give"):
        several._encoded([*ids.tolist(), several.video_token_id], encoded.videos)
