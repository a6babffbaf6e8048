"""InternVL (2.5, 3, 3.5 in their transformers versions), in any size, from a local folder.

The one thing to know: it knows no videos, only pictures in a row ("Frame1: ..."), so a video's tokens and features go
by the name "image" in its configuration and its forward. It is told no times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tempo_core.errors import ClipsRefused
from tempo_core.types import Question
from tempo_core.video_llms.base import HFVideoLLM
from tempo_core.video_llms.encoding import Encoded
from tempo_core.video_llms.family import FEATURES


class InternVL(HFVideoLLM):
    """`InternVLForConditionalGeneration` with its own processor."""

    family = "internvl"
    # The processor makes squares of 448 pixels; the short side of a 16:9 picture stays above that.
    long_side = 896
    tower_names = ("model.vision_tower", "model.multi_modal_projector")
    pixel_key: ClassVar[str] = "pixel_values"
    modality: ClassVar[str] = "image"
    video_options: ClassVar[dict[str, Any]] = {"do_sample_frames": False, "return_tensors": "pt"}

    def encode_many(self, questions: Sequence[Question]) -> list[Encoded]:
        """As in the base class, one by one: the processor takes videos of equal length only.

        Raises:
            ClipsRefused: Clips with different numbers of pictures in one question.
        """
        for question in questions:
            lengths = sorted({len(clip.pixels) for clip in question.clips})
            if len(lengths) > 1:
                raise ClipsRefused(
                    f"InternVL takes clips of equally many pictures only, these have {lengths[0]} to {lengths[-1]}. "
                    "Ask it about this video on captions or on the video instead."
                )
        return [encoded for question in questions for encoded in HFVideoLLM.encode_many(self, [question])]

    def _tensors_by_video(self, batch: Any, n_pictures: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        for pixels in torch.split(batch[self.pixel_key], list(n_pictures)):
            yield {self.pixel_key: pixels}

    def _n_features(self, tensors: dict[str, Tensor]) -> int:
        config = self.bare_model.config
        height, width = (
            int(side // patch * config.downsample_ratio)
            for side, patch in zip(config.vision_config.image_size, config.vision_config.patch_size, strict=True)
        )
        return len(tensors[self.pixel_key]) * height * width

    def _see(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            FEATURES: self.core.get_image_features(tensors[self.pixel_key], return_dict=True).pooler_output.flatten(
                0, 1
            )
        }

    def _seen(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        pooled = torch.cat([video[FEATURES] for video in videos])[None]
        return {"mm_encoder_outputs": {self.modality: BaseModelOutputWithPooling(pooler_output=pooled)}}


VIDEO_LLM = InternVL
