"""LLaVA-OneVision, in any size, from a local folder.

The one thing to know: it is told no times; the order of its tokens is all it knows of the order of the pictures. One
token for the end of a video follows the pictures' tokens, so a video's features depend on `image_newline` too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tempo_core.video_llms.base import HFVideoLLM
from tempo_core.video_llms.family import FEATURES


class LlavaOnevision(HFVideoLLM):
    """`LlavaOnevisionForConditionalGeneration` with its own processor."""

    family = "llava_onevision"
    # The processor makes squares of 384 pixels; the short side of a 16:9 picture stays above that.
    long_side = 768
    tower_names = ("model.vision_tower", "model.multi_modal_projector", "model.image_newline")

    def _tensors_by_video(self, batch: Any, n_pictures: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        for pixels in batch[self.pixel_key]:
            yield {self.pixel_key: torch.as_tensor(pixels)[None]}

    def _n_features(self, tensors: dict[str, Tensor]) -> int:
        vision = self.bare_model.config.vision_config
        side = math.ceil(vision.image_size // vision.patch_size / 2)
        n_pictures = tensors[self.pixel_key].shape[1]
        return n_pictures * side**2 + 1 if n_pictures else 0

    def _see(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {FEATURES: self.core.get_video_features(tensors[self.pixel_key], return_dict=True).pooler_output[0]}

    def _seen(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        pooled = torch.cat([video[FEATURES] for video in videos])[None]
        return {"mm_encoder_outputs": {self.modality: BaseModelOutputWithPooling(pooler_output=pooled)}}

    def _pixels(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        if len({video[self.pixel_key].shape for video in videos}) == 1:
            return super()._pixels(videos)
        # Forward takes videos of equal length only: the others pass the tower one by one, with their gradients.
        return self._seen([self._see(video) for video in videos])


VIDEO_LLM = LlavaOnevision
