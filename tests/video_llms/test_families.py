"""What every family offers to the training engine: a video's features apart from the text, its place and positions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tempo_core.errors import VideoLost
from tempo_core.prompts import PROMPT_SETS
from tempo_core.training import backbone
from tempo_core.types import Frames, Question, Sampling
from tempo_core.video_llms import FAMILIES, checkpoints, load
from tempo_core.video_llms.base import HFVideoLLM
from tempo_core.video_llms.encoding import Encoded
from tests.checkpoints import BUILD, frames

SAMPLING = Sampling(temperature=1.0, max_new_tokens=3)


@pytest.fixture(scope="module", params=FAMILIES)
def llm(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> Iterator[HFVideoLLM]:
    loaded = load(folder_of(request.param), device="cpu", dtype="float32")
    assert isinstance(loaded, HFVideoLLM)
    yield loaded


def text(llm: HFVideoLLM, which: int = 0) -> str:
    return PROMPT_SETS[llm.prompt_set].describe[which]


def encoded(llm: HFVideoLLM, n_pictures: int, seed: int, which: int = 0, height: int = 56, width: int = 56) -> Encoded:
    pixels = np.random.default_rng(seed).integers(0, 255, (n_pictures, height, width, 3), np.uint8)
    return llm.encode(Question(text(llm, which), llm.shown(pixels, tuple(range(n_pictures)), n_pictures / 2)))


def hidden(llm: HFVideoLLM, prompt: Encoded, videos: dict[str, Any], positions: bool = True) -> Tensor:
    """The language model's last hidden states (L, D) on one prompt."""
    inputs: dict[str, Any] = {"input_ids": prompt.input_ids[None]}
    if positions:
        at = llm.positions_of(prompt)
        inputs["position_ids"] = at[:, None] if llm.position_rows == 3 else at
    if llm.forward_types:
        inputs["mm_token_type_ids"] = prompt.mm_token_type_ids[None]
    out: Tensor = llm.core(**inputs, **videos).last_hidden_state[0]
    return out


def parameters(llm: HFVideoLLM, *, in_tower: bool) -> dict[str, torch.nn.Parameter]:
    return {n: p for n, p in llm.model.named_parameters() if any(n.startswith(t) for t in llm.tower_names) == in_tower}


def test_every_family_has_a_small_checkpoint_and_is_found_by_its_folder(folder_of):
    assert set(BUILD) == set(FAMILIES)
    for family in FAMILIES:
        assert checkpoints.inspect(folder_of(family)).family == family


@torch.no_grad()
def test_features_give_exactly_what_the_pixels_give(llm):
    for n_pictures in (4, 8):
        prompt = encoded(llm, n_pictures, seed=n_pictures)
        features = llm.features(prompt)
        assert all(len(rows) == prompt.n_video_tokens for rows in features.values())
        from_pixels = hidden(llm, prompt, llm.video_inputs([prompt.tensors]))
        assert torch.equal(hidden(llm, prompt, llm.video_inputs([features])), from_pixels)
        assert (from_pixels - hidden(llm, prompt, llm.video_inputs([swapped(features)]))).abs().max() > 1e-2


def swapped(features: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: rows.flip(0) for name, rows in features.items()}


@torch.no_grad()
def test_several_videos_of_unequal_length_stand_in_the_order_given(llm):
    prompts = [encoded(llm, 4, seed=1), encoded(llm, 8, seed=2), encoded(llm, 4, seed=3)]
    features = [llm.features(prompt) for prompt in prompts]
    batch = llm.collate(prompts, [()] * 3, side="right")
    text_only = {key: batch[key] for key in ("input_ids", "attention_mask", "mm_token_type_ids") if key in batch}
    grids = [{key: p.tensors[key] for key in llm.grid_keys} for p in prompts]

    def run(order: list[int]) -> Tensor:
        videos = [{**features[i], **grids[i]} for i in order]
        out: Tensor = llm.core(**text_only, **llm.video_inputs(videos)).last_hidden_state
        return out * text_only["attention_mask"][:, :, None]

    stock = llm.core(**batch).last_hidden_state * text_only["attention_mask"][:, :, None]
    torch.testing.assert_close(run([0, 1, 2]), stock, atol=1e-5, rtol=0)
    assert (run([2, 1, 0]) - stock).abs().max() > 1e-2


@torch.no_grad()
def test_the_positions_given_are_those_that_forward_would_take(llm):
    prompt = encoded(llm, 8, seed=0)
    positions = llm.positions_of(prompt)
    assert positions.shape == (llm.position_rows, len(prompt.input_ids))
    stock = hidden(llm, prompt, llm.video_inputs([prompt.tensors]), positions=False)
    assert torch.equal(hidden(llm, prompt, llm.video_inputs([prompt.tensors])), stock)


def test_forward_takes_what_the_family_says(llm):
    taken = inspect.signature(llm.core.forward).parameters
    assert ("mm_token_type_ids" in taken) == llm.forward_types
    assert {"mm_encoder_outputs", llm.pixel_key, "position_ids"} <= set(taken)


def test_a_prompt_is_a_head_that_the_text_and_a_tail_that_the_video_does_not_touch(llm):
    first, second = encoded(llm, 8, seed=0), encoded(llm, 8, seed=0, which=1)
    end = llm.video_end(first)
    assert end == llm.video_end(second)
    assert torch.equal(first.input_ids[:end], second.input_ids[:end])
    assert first.mm_token_type_ids[end - 1] == 2
    assert not first.mm_token_type_ids[end:].any()
    for other in (encoded(llm, 2, seed=5), encoded(llm, 8, seed=6, height=112, width=56)):
        assert torch.equal(other.input_ids[llm.video_end(other) :], first.input_ids[end:])
    assert not torch.equal(first.input_ids[end:], second.input_ids[end:])


def test_a_prompt_without_a_video_has_no_end_of_it_and_no_features(llm):
    prompt = llm.encode(Question(text(llm)))
    assert llm.video_end(prompt) == 0
    assert llm.video_inputs([]) == {}
    with pytest.raises(VideoLost):
        llm.features(prompt)


@torch.no_grad()
def test_features_depend_on_the_tower_and_on_nothing_else(llm):
    prompt = encoded(llm, 4, seed=0)
    before = llm.features(prompt)
    with moved(parameters(llm, in_tower=False).values()):
        assert all(torch.equal(before[name], rows) for name, rows in llm.features(prompt).items())
    for tower in llm.tower_names:
        first = next(p for name, p in parameters(llm, in_tower=True).items() if name.startswith(tower))
        with moved([first]):
            assert not torch.equal(before["features"], llm.features(prompt)["features"]), tower


@contextmanager
def moved(some: Iterable[torch.nn.Parameter]) -> Iterator[None]:
    """Parameters moved by 1 while the block runs."""
    kept = [(parameter, parameter.detach().clone()) for parameter in some]
    for parameter, _ in kept:
        parameter.add_(1)
    yield
    for parameter, value in kept:
        parameter.copy_(value)


def test_a_frozen_tower_gives_no_gradient_and_a_trained_one_gets_it_from_videos_of_any_length(llm):
    prompts = [encoded(llm, 4, seed=1), encoded(llm, 8, seed=2)]
    assert not any(rows.requires_grad for rows in llm.features(prompts[0]).values())
    row = Encoded(torch.cat([p.input_ids for p in prompts]), torch.cat([p.mm_token_type_ids for p in prompts]), {}, 0)
    llm.model.zero_grad()
    hidden(llm, row, llm.video_inputs([p.tensors for p in prompts])).square().sum().backward()
    for tower in llm.tower_names:
        grads = [p.grad for n, p in parameters(llm, in_tower=True).items() if n.startswith(tower)]
        assert any(grad is not None and grad.abs().max() > 0 for grad in grads), tower
    llm.model.zero_grad()


def test_the_processor_is_always_told_the_times_of_the_pictures(llm, monkeypatch):
    told: list[Any] = []
    kind = type(llm.processor.video_processor)
    original = kind.__call__

    def listening(self: Any, videos: Any, **kwargs: Any) -> Any:
        told.extend(kwargs["video_metadata"])
        return original(self, videos, **kwargs)

    monkeypatch.setattr(kind, "__call__", listening)
    shown = Frames(frames(4, size_px=48).pixels, (3, 9, 15, 21), 1.5)
    llm.encode_many([Question(text(llm), shown), Question(text(llm)), Question(text(llm, 1), shown)])
    assert [(m.fps, list(m.frames_indices), m.total_num_frames) for m in told] == [(1.5, [0, 1, 2, 3], 4)] * 2


def test_a_question_without_a_video_is_answered_alike_before_and_after_one_with(llm, folder_of):
    fresh = load(folder_of(llm.family), device="cpu", dtype="float32")
    asked = [Question(text(llm)), Question(text(llm, 1))]
    llm.answer([Question(text(llm), frames(8, size_px=48))], SAMPLING, seed=[1])
    assert llm.answer(asked, SAMPLING, seed=[2, 3]) == fresh.answer(asked, SAMPLING, seed=[2, 3])


@torch.no_grad()
def test_loaded_for_trees_only_the_language_model_has_the_tree_attention(llm, folder_of):
    trees = load(folder_of(llm.family), device="cpu", dtype="float32", attention="tree")
    assert isinstance(trees, HFVideoLLM)
    assert trees.model.config.get_text_config()._attn_implementation == backbone.NAME
    assert trees.model.config.vision_config._attn_implementation == "sdpa"
    prompt = encoded(llm, 4, seed=0)
    for (name, rows), other in zip(llm.features(prompt).items(), trees.features(prompt).values(), strict=True):
        assert torch.equal(rows, other), name
    inputs = llm.video_inputs([prompt.tensors])
    torch.testing.assert_close(hidden(trees, prompt, inputs), hidden(llm, prompt, inputs), atol=1e-5, rtol=0)


def test_an_unknown_attention_is_refused(folder_of):
    with pytest.raises(ValueError, match=r"'flash'.*'stock', 'tree'"):
        load(folder_of("qwen2_5_vl"), attention="flash")
