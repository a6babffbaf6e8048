"""The cache with room holds what transformers' own cache holds, to the last bit."""

from __future__ import annotations

import torch
from transformers import Qwen2Config
from transformers.cache_utils import DynamicCache, DynamicSlidingWindowLayer

from tempo_core.video_llms.roomy_cache import ROOM, RoomyLayer, roomy

FULL = Qwen2Config(num_hidden_layers=2, layer_types=["full_attention", "full_attention"])


def test_every_step_returns_what_the_cache_of_transformers_returns():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = roomy(FULL), DynamicCache(config=FULL)
    for n_tokens in [7, *[1] * (2 * ROOM + 3)]:
        new = torch.randn(2, 3, 4, n_tokens, 8, generator=generator)
        for layer in range(2):
            got, expected = ours.update(*(new + layer)[:2].unbind(), layer), theirs.update(*(new + layer)[:2], layer)
            assert torch.equal(got[0], expected[0]) and torch.equal(got[1], expected[1])
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_a_token_is_written_in_place_while_there_is_room():
    cache = roomy(FULL)
    first, _ = cache.update(torch.zeros(1, 1, 5, 4), torch.zeros(1, 1, 5, 4), 0)
    for _ in range(ROOM):
        later, _ = cache.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0)
        assert later.data_ptr() == first.data_ptr()
    moved, _ = cache.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0)
    assert moved.data_ptr() != first.data_ptr()


def test_layers_with_a_window_keep_their_own_cache():
    mixed = Qwen2Config(
        num_hidden_layers=2,
        use_sliding_window=True,
        sliding_window=4,
        layer_types=["full_attention", "sliding_attention"],
    )
    full, window = roomy(mixed).layers
    assert isinstance(full, RoomyLayer)
    assert type(window) is DynamicSlidingWindowLayer
