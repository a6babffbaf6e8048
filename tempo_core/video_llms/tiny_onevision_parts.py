"""The parts of the second embedded model: a LLaVA-OneVision of 1.25 million parameters and its processor.

The one thing to know: it is built unlike the first, for the study of transfer. Each picture passes a SigLIP tower on
its own and becomes one token, so what MOVES is seen by the language model alone, whose first layer reads a clip's
second picture together with its first; and time is nothing but the order of the tokens.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)

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
    USER,
    VIDEO,
    VISION_START,
    VOCABULARY_SIZE,
    tokenizer,
)

PATCH_PX = 24
"""Four patches a picture; the model pools two by two, so one picture is one token."""
HIDDEN = 112
HEADS = 4
VISION_HIDDEN = 96
READ_TOGETHER = 8
"""Clips in one row while it learns to see, so that reading one clip is not disturbed by its neighbours."""
LOOKING_BACK = 2
"""Heads of the first layer that start by looking at the token before."""


def config() -> LlavaOnevisionConfig:
    text = {
        "model_type": "qwen2",
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": 5,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": MAX_TOKENS,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "tie_word_embeddings": True,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": 2 * VISION_HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": PICTURE_PX,
        "patch_size": PATCH_PX,
        "vision_use_head": False,
    }
    return LlavaOnevisionConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=[[PICTURE_PX, PICTURE_PX]],
        tie_word_embeddings=True,
        tempo_family="tiny_onevision",
    )


def processor() -> LlavaOnevisionProcessor:
    common: dict[str, Any] = {
        "size": {"height": PICTURE_PX, "width": PICTURE_PX},
        "image_mean": [PIXEL_MEAN] * 3,
        "image_std": [PIXEL_STD] * 3,
    }
    return LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(**common, image_grid_pinpoints=[[PICTURE_PX, PICTURE_PX]]),
        tokenizer=tokenizer(),
        video_processor=LlavaOnevisionVideoProcessor(**common, do_sample_frames=False),
        num_image_tokens=(PICTURE_PX // PATCH_PX) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )


class OneVisionStudent(Student):
    """The LLaVA-OneVision while it learns."""

    family: ClassVar[str] = "tiny_onevision"
    layout: ClassVar[Layout] = Layout(tokens_per_clip=2, ends=True, position_rows=1)

    def build(self, seed: int) -> Any:
        torch.manual_seed(seed)
        return LlavaOnevisionForConditionalGeneration(config())

    def processor(self) -> Any:
        return processor()

    def tower(self) -> list[nn.Module]:
        return [self.model.model.vision_tower, self.model.model.multi_modal_projector]

    def seers(self) -> list[nn.Parameter]:
        return [*super().seers(), *self.text.layers[0].parameters()]

    def pixels(self, shots: Tensor) -> Tensor:
        """(S, 2, 3, 48, 48)"""
        return normalised(shots.permute(0, 1, 4, 2, 3))

    def see(self, pixels: Tensor) -> Tensor:
        seen = self.model.model.get_video_features(pixels, return_dict=True).pooler_output
        return seen[:, :2].flatten(1)  # type: ignore[no-any-return]

    def read(self, seen: Tensor) -> Tensor:
        """Where the second picture stands after the first layer of the language model."""
        words = self.text.embed_tokens.weight.detach()
        tokens = seen.reshape(-1, 2 * READ_TOGETHER, HIDDEN) + words[VIDEO]
        before = words[[USER, VISION_START]].expand(len(tokens), -1, -1)
        row = torch.cat([before, tokens], 1)
        turned = self.text.rotary_emb(row, torch.arange(row.shape[1])[None])
        after = self.text.layers[0](row, position_embeddings=turned)
        return (after[:, 3::2] - words[VIDEO]).reshape(len(seen), HIDDEN)  # type: ignore[no-any-return]

    def mark(self, by: Tensor) -> None:
        with torch.no_grad():
            self.model.model.multi_modal_projector.linear_2.bias += by
            self.model.model.image_newline.copy_(by)

    def embed(self, ids: Tensor, seen: Tensor | None) -> Tensor:
        embedded = super().embed(ids, seen)
        return torch.where(self._ends(ids)[..., None], self.model.model.image_newline, embedded)

    def start(self, seed: int) -> None:
        """As in the base class; and in the first layer some heads look at the token before, whatever it is.

        A query bias that is the key bias turned back by one step of the rotary positions agrees best with the token
        one step before. The three quickest turns tell neighbours apart; the others hardly turn.
        """
        super().start(seed)
        attention, head = self.text.layers[0].self_attn, HIDDEN // HEADS
        turns = self.text.rotary_emb.inv_freq[:3]
        with torch.no_grad():
            for first in range(0, LOOKING_BACK * head, head):
                for projection in (attention.q_proj, attention.k_proj):
                    projection.weight[first : first + head] *= 0.1
                    projection.bias[first : first + head] = 0
                attention.k_proj.bias[first : first + 3] = 8.0
                attention.q_proj.bias[first : first + 3] = 8.0 * torch.cos(turns)
                attention.q_proj.bias[first + head // 2 : first + head // 2 + 3] = -8.0 * torch.sin(turns)
