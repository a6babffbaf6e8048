"""Encoded prompts and videos, made once and kept in memory within a budget.

The one thing to know: while the vision tower is frozen a video is kept as the tower's **features**, computed once, and
training never runs the tower; while it is trained, its pixels are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempo_core.errors import VideoLost
from tempo_core.types import Frames, Question, Video
from tempo_core.video_llms.base import Encoded, HFVideoLLM

Pictures = Callable[[Video, str, Sequence[int]], NDArray[np.uint8]]
"""(video, times_sha256, frame numbers) -> RGB (T, H, W, 3)."""

BUDGET_BYTES = 4_000_000_000
"""Our choice: 50 videos of 8,000 tokens as features of a 7B model; a small world fits whole."""

FEATURES = "video_features"
WITH_FEATURES = frozenset({"qwen2_5_vl"})
"""Model types whose forward takes finished features for pixels."""

VideoKey = tuple[str, str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One encoded prompt: `input_ids` and `types` (L,), `positions` (3, L), and its video's tensors."""

    input_ids: Tensor
    types: Tensor
    positions: Tensor
    tensors: dict[str, Tensor]
    """video_grid_thw (1, 3), second_per_grid_ts (1,) and either video_features (N, D) or pixel_values_videos."""


class VideoStore:
    """Prompts by (video, text); the least recently used videos leave when the budget is spent."""

    def __init__(self, llm: HFVideoLLM, pictures: Pictures, *, frozen_tower: bool) -> None:
        self._llm = llm
        self._pictures = pictures
        self._as_features = frozen_tower and llm.checkpoint.model_type in WITH_FEATURES
        self._texts: dict[tuple[VideoKey, str], tuple[Tensor, Tensor, Tensor]] = {}
        self._videos: OrderedDict[VideoKey, dict[str, Tensor]] = OrderedDict()
        self._n_bytes = 0

    def prompt(self, video: Video, times_sha256: str, numbers: tuple[int, ...], text: str) -> Prompt:
        key = (video.sha256, times_sha256, numbers)
        if (key, text) not in self._texts or key not in self._videos:
            self._encode(key, video, text)
        self._videos.move_to_end(key)
        return Prompt(*self._texts[key, text], tensors=self._videos[key])

    def _encode(self, key: VideoKey, video: Video, text: str) -> None:
        encoded = self._llm.encode(Question(text, self._frames(key, video)))
        if not encoded.n_video_tokens:
            raise VideoLost(f"The prompt about {video.path} holds no video token. Use the model's own processor.")
        self._texts[key, text] = (encoded.input_ids, encoded.mm_token_type_ids, self._llm.positions_of(encoded))
        if key not in self._videos:
            self._keep(key, self._tensors(encoded))

    def _frames(self, key: VideoKey, video: Video) -> Frames:
        _, times_sha256, numbers = key
        pixels = self._pictures(video, times_sha256, numbers)
        return self._llm.shown(pixels, numbers, video.duration_s)

    def _tensors(self, encoded: Encoded) -> dict[str, Tensor]:
        tensors = dict(encoded.tensors)
        if self._as_features:
            tensors[FEATURES] = self._features(tensors.pop("pixel_values_videos"), tensors["video_grid_thw"])
        return tensors

    @torch.no_grad()
    def _features(self, pixels: Tensor, grid_thw: Tensor) -> Tensor:
        model, device = self._llm.bare_model, self._llm.device
        out = model.get_video_features(pixels.to(device), grid_thw.to(device), return_dict=True)
        return torch.cat(out.pooler_output).cpu()

    def _keep(self, key: VideoKey, tensors: dict[str, Tensor]) -> None:
        self._videos[key] = tensors
        self._n_bytes += _n_bytes(tensors)
        while self._n_bytes > BUDGET_BYTES and len(self._videos) > 1:
            _, gone = self._videos.popitem(last=False)
            self._n_bytes -= _n_bytes(gone)


def _n_bytes(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
