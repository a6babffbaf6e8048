"""The parts of the embedded model: a Qwen2.5-VL of 1.7 million parameters and its processor.

One clip is one visual token: two pictures of 48 px, patches of 12 px, all sixteen merged into one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from tempo_core.video_llms.tiny_students import Layout, Student, normalised
from tempo_core.video_llms.tiny_words import (
    CHAT_TEMPLATE,
    END,
    IMAGE,
    MAX_TOKENS,
    PAD,
    PICTURE_PX,
    PIXEL_MEAN,
    PIXEL_STD,
    VIDEO,
    VISION_END,
    VISION_START,
    VOCABULARY_SIZE,
    tokenizer,
)

PATCH_PX = 12
HIDDEN = 128
HEADS = 4
VISION_HIDDEN = 48


def config() -> Qwen2_5_VLConfig:
    text = {
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": HIDDEN,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": MAX_TOKENS,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 2,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": 3 * VISION_HIDDEN,
        "num_heads": 4,
        "patch_size": PATCH_PX,
        "spatial_merge_size": PICTURE_PX // PATCH_PX,
        "temporal_patch_size": 2,
        "tokens_per_second": 1,
        "window_size": PICTURE_PX,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [0, 1],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
        tempo_family="tiny",
    )


def processor() -> Qwen2_5_VLProcessor:
    pixels = PICTURE_PX * PICTURE_PX
    common: dict[str, Any] = {
        "patch_size": PATCH_PX,
        "merge_size": PICTURE_PX // PATCH_PX,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": pixels, "longest_edge": pixels},
        "image_mean": [PIXEL_MEAN] * 3,
        "image_std": [PIXEL_STD] * 3,
    }
    videos = Qwen2VLVideoProcessor(**common, do_sample_frames=False, cap_pixels_per_frame=False)
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**common),
        tokenizer=tokenizer(),
        video_processor=videos,
        chat_template=CHAT_TEMPLATE,
    )


class QwenStudent(Student):
    """The Qwen2.5-VL while it learns."""

    family: ClassVar[str] = "tiny"
    layout: ClassVar[Layout] = Layout()

    def build(self, seed: int) -> Any:
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(config())

    def processor(self) -> Any:
        return processor()

    def tower(self) -> list[nn.Module]:
        return [self.model.model.visual]

    def pixels(self, shots: Tensor) -> Tensor:
        """(S * 16, 864), as the processor lays them out: patch by patch, each colour, time, row, column."""
        g, p = PICTURE_PX // PATCH_PX, PATCH_PX
        x = shots.permute(0, 1, 4, 2, 3).reshape(-1, 2, 3, g, p, g, p).permute(0, 3, 5, 2, 1, 4, 6)
        return normalised(x.reshape(-1, 3 * 2 * p * p))

    def see(self, pixels: Tensor) -> Tensor:
        return self.model.model.visual(pixels, grid_thw=torch.tensor([[len(pixels) // 16, 4, 4]])).pooler_output  # type: ignore[no-any-return]

    def mark(self, by: Tensor) -> None:
        with torch.no_grad():
            self.model.model.visual.merger.mlp[-1].bias += by


def quick_vision_attention(
    self: Any, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: Any = None, **_: Any
) -> Tensor:
    """Equal to the original for clips of equal size, without its loop over clips; for the making script only."""
    n, length = len(hidden_states), int(cu_seqlens[1] - cu_seqlens[0])
    q, k, v = self.qkv(hidden_states).reshape(n, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
    q, k = qwen.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.reshape(n // length, length, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1)
    return self.proj(mixed)  # type: ignore[no-any-return]
