"""Qwen2.5-VL, in any size, from a local folder.

The one thing to know: its language model counts time in steps of half a second and two pictures make one step, so
more than four pictures a second would share temporal positions; `fps_of` never tells it more.
"""

from __future__ import annotations

from typing import ClassVar

from tempo_core.video_llms.mrope import MRopeVideoLLM


class QwenVL(MRopeVideoLLM):
    """`Qwen2_5_VLForConditionalGeneration` with its own processor."""

    family = "qwen2_5_vl"
    grid_keys: ClassVar[tuple[str, ...]] = ("video_grid_thw", "second_per_grid_ts")
    # Our choice: 64 key frames of a 16:9 video then cost about 4,600 of the 16,384 tokens that a pair may have.
    long_side = 448

    def fps_of(self, n_pictures: int, duration_s: float) -> float:
        vision = self.bare_model.config.vision_config
        most = float(vision.tokens_per_second * vision.temporal_patch_size)
        return min(super().fps_of(n_pictures, duration_s), most)


VIDEO_LLM = QwenVL
