"""What every family of Video LLMs must do. A new family is picked up from `FAMILIES`; it needs a small checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tempo_core.errors import OutsideVocabulary, VideoLost
from tempo_core.prompts import PROMPT_SETS
from tempo_core.types import Frames, Question, Sampling
from tempo_core.video_llms import FAMILIES, load
from tempo_core.video_llms.base import HFVideoLLM
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
