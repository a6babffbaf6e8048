"""Qwen3-VL, in any size, from a local folder.

The one thing to know: two pictures make one step, and every step is its own run of video tokens with its time written
before it ("<1.5 seconds>"), so the prompt up to the last video token depends on the pictures' rate. The tower's middle
layers ("deepstack") are added in the language model's first layers and belong to a video's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from tempo_core.video_llms.family import FEATURES
from tempo_core.video_llms.mrope import MRopeVideoLLM

DEEPSTACK = "deepstack"
STEPS_PER_S = 10.0
"""Times are written with one decimal, so quicker steps would be given the same time."""


class Qwen3VL(MRopeVideoLLM):
    """`Qwen3VLForConditionalGeneration` with its own processor."""

    family = "qwen3_vl"
    # As for Qwen2.5-VL; its patches are larger, so a picture costs about three quarters of the tokens.
    long_side = 448

    def fps_of(self, n_pictures: int, duration_s: float) -> float:
        most = STEPS_PER_S * float(self.bare_model.config.vision_config.temporal_patch_size)
        return min(super().fps_of(n_pictures, duration_s), most)

    def _see(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        output = self.core.get_video_features(tensors[self.pixel_key], tensors["video_grid_thw"], return_dict=True)
        levels = {f"{DEEPSTACK}.{i}": torch.cat(level) for i, level in enumerate(output.deepstack_features)}
        return {FEATURES: torch.cat(output.pooler_output), **levels}

    def _seen(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        n_levels = len(self.bare_model.config.vision_config.deepstack_visual_indexes)
        output = BaseModelOutputWithDeepstackFeatures(
            pooler_output=tuple(video[FEATURES] for video in videos),
            deepstack_features=[tuple(video[f"{DEEPSTACK}.{i}"] for video in videos) for i in range(n_levels)],
        )
        return {"mm_encoder_outputs": {self.modality: output}}


VIDEO_LLM = Qwen3VL
