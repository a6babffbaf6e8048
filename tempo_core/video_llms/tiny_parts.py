"""The parts of the embedded model: a Qwen2.5-VL of 1.7 million parameters, its tokenizer and its processor.

One clip is one visual token: two pictures of 48 px, patches of 12 px, all sixteen merged into one.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from tempo_core.worlds.vocabulary import PATTERN, SPECIAL, WORDS

PICTURE_PX = 48
PATCH_PX = 12
HIDDEN = 128
HEADS = 4
VISION_HIDDEN = 48
PIXEL_MEAN, PIXEL_STD = 0.35, 0.28
PAD, END, USER, ASSISTANT, VISION_START, VISION_END, VIDEO, IMAGE, UNKNOWN = range(len(SPECIAL))

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'video' or 'video' in c %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def config() -> Qwen2_5_VLConfig:
    text = {
        "vocab_size": len(WORDS) + (-len(WORDS)) % 8,
        "hidden_size": HIDDEN,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 1024,
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


def build(seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """The untrained model."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config())
    model.generation_config.bos_token_id = None
    model.generation_config.eos_token_id = END
    model.generation_config.pad_token_id = PAD
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<|unk|>"))
    # The last branch keeps what no word covers, so that it becomes <|unk|> and is not silently dropped.
    words.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN + r"|\S"), behavior="removed", invert=True)
    words.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # joins with spaces, none before "." and ","
    made = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|unk|>",
        additional_special_tokens=list(SPECIAL[2:8]),
        model_max_length=1024,
        padding_side="left",
    )
    made.image_token, made.video_token = "<|image_pad|>", "<|video_pad|>"
    return made


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
