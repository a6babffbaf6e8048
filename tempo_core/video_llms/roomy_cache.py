"""A key-value cache with room to grow: a new token is written in place and not appended by copying all before it.

The one thing to know: the values and their order are those of transformers' own cache, so answers do not change. For
a tiny model with many rows the copying costs as much as the attention itself.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PretrainedConfig
from transformers.cache_utils import DynamicCache, DynamicLayer

ROOM = 32
"""Tokens of room made at a time, our choice: a list of captions has to be moved once or twice."""


def roomy(config: PretrainedConfig) -> DynamicCache:
    """The cache that `generate` would make for this text model; layers with a window or a state keep their own."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values are views of the filled part of larger tensors, (B, heads, T + room, D). Not for beams."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._keys, self._values = key_states[..., :0, :], value_states[..., :0, :]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if after > self._keys.shape[-2]:
            self._keys = _moved(self._keys[..., :before, :], key_states, after + ROOM)
            self._values = _moved(self._values[..., :before, :], value_states, after + ROOM)
        self._keys[..., before:after, :] = key_states
        self._values[..., before:after, :] = value_states
        self.keys, self.values = self._keys[..., :after, :], self._values[..., :after, :]
        return self.keys, self.values


def _moved(old: Tensor, like: Tensor, size: int) -> Tensor:
    new = like.new_empty((*like.shape[:-2], size, like.shape[-1]))
    new[..., : old.shape[-2], :] = old
    return new
