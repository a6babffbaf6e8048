"""Families whose language model gives time, height and width positions of their own (mRoPE): the Qwen-VLs.

The one thing to know: positions come from the model's own `get_rope_index`, once per prompt and not in every forward,
and where the text after a video starts is a setting (`positions.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tempo_core.video_llms.base import HFVideoLLM
from tempo_core.video_llms.checkpoints import Checkpoint
from tempo_core.video_llms.encoding import Encoded
from tempo_core.video_llms.family import FEATURES
from tempo_core.video_llms.positions import max_plus_one


class MRopeVideoLLM(HFVideoLLM):
    """A vision tower over patches in a grid of (time, height, width), merged before the language model reads them."""

    tower_names = ("model.visual",)
    position_rows = 3
    forward_types = True
    grid_keys: ClassVar[tuple[str, ...]] = ("video_grid_thw",)
    # The default of `cap_pixels_per_frame` changes between versions of transformers, and the tokens with it.
    video_options: ClassVar[dict[str, Any]] = {"do_sample_frames": False, "cap_pixels_per_frame": True}

    def __init__(self, checkpoint: Checkpoint, model: Any, processor: Any, positions: str) -> None:
        super().__init__(checkpoint, model, processor, positions)
        if positions == "max_plus_one":
            # On the instance: the library's class stays as it is for everybody else in this process.
            self.core.get_rope_index = max_plus_one(self.core.get_rope_index)

    def positions_of(self, encoded: Encoded) -> Tensor:
        """Positions of one prompt, shape (3, L): time, height, width."""
        if not encoded.tensors:
            return super().positions_of(encoded)
        ids, types = encoded.input_ids[None], encoded.mm_token_type_ids[None]
        grids = {key: torch.cat([video[key] for video in encoded.videos]) for key in self.grid_keys}
        positions: Tensor = self.core.get_rope_index(ids, types, attention_mask=torch.ones_like(ids), **grids)[0][:, 0]
        return positions

    def _tensors_by_video(self, batch: Any, n_pictures: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        grids = {key: torch.as_tensor(batch[key]) for key in self.grid_keys}
        grids = {key: grid.float() if grid.is_floating_point() else grid for key, grid in grids.items()}
        n_patches = grids["video_grid_thw"].prod(dim=1).tolist()
        for i, pixels in enumerate(torch.split(torch.as_tensor(batch[self.pixel_key]), n_patches)):
            yield {self.pixel_key: pixels, **{key: grid[i : i + 1] for key, grid in grids.items()}}

    def _n_features(self, tensors: dict[str, Tensor]) -> int:
        merge = int(self.bare_model.config.vision_config.spatial_merge_size)
        return int(tensors["video_grid_thw"].prod()) // merge**2

    def _see(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        output = self.core.get_video_features(tensors[self.pixel_key], tensors["video_grid_thw"], return_dict=True)
        return {FEATURES: torch.cat(output.pooler_output)}

    def _seen(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        pooled = tuple(video[FEATURES] for video in videos)
        return {"mm_encoder_outputs": {self.modality: BaseModelOutputWithPooling(pooler_output=pooled)}}
