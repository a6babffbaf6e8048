"""Very small random Qwen2.5-VL checkpoints with the real architecture, tokenizer class and processor, made offline.

The one thing to know: weights as a new model draws them (std 0.02) hardly look at pictures, positions or masks, and
wrong code passes every comparison. `sharpen` scales them until the answer depends on all three.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from tempo_core.types import Frames
from tempo_core.video_llms import tiny_parts

CORPUS = [
    "describe the video in detail. the video starts with a red square moving left, then a blue circle appears.",
    "first second third then finally before after while next the scene changes and a man opens the door.",
    "What happens first? Answer with one letter. A B C D. You are a helpful assistant. clip caption order",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SPECIAL += ["<|video_pad|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SCALES = {"q_proj": 8, "k_proj": 8, "qkv": 8, "v_proj": 5, "o_proj": 5, "embed_tokens": 5, "lm_head": 5, "merger": 5}


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen2.5-VL, sharpened. Read it, never write to it."""
    return build_qwen(tmp_path_factory.mktemp("models") / "tiny-qwen")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's architecture and processor, untrained and sharpened."""
    folder = tmp_path_factory.mktemp("models") / "untrained-tiny"
    sharpen(tiny_parts.build(seed=0)).save_pretrained(folder)
    tiny_parts.processor().save_pretrained(folder)
    return folder


def build_qwen(folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 2, tokens_per_second: int = 2) -> Path:
    """Write the checkpoint as the real ones are written: config, safetensors, processor, chat template."""
    tokenizer = _tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    head = hidden // 4
    rest = (head // 2 - head // 8) // 2
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head // 2 - 2 * rest, rest, rest],
            },
            "tie_word_embeddings": False,
            "bos_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "tokens_per_second": tokens_per_second,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = sharpen(Qwen2_5_VLForConditionalGeneration(config))
    model.generation_config.eos_token_id = [ids("<|im_end|>"), ids("<|endoftext|>")]
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    # As the real checkpoints do: settings that must not leak into our draws.
    model.generation_config.do_sample = True
    model.generation_config.temperature = 0.1
    model.generation_config.repetition_penalty = 1.05
    model.save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)
    return folder


def sharpen(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(next((scale for part, scale in SCALES.items() if part in name and "norm" not in name), 1))
    return model


def frames(n_pictures: int, seed: int = 0, size_px: int = 56, fps: float = 2.0) -> Frames:
    """Pictures of noise over a colour of their own."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 200, (n_pictures, 1, 1, 3))
    noise = rng.integers(0, 56, (n_pictures, size_px, size_px, 3))
    return Frames((colour + noise).astype(np.uint8), tuple(range(n_pictures)), fps)


def _tokenizer() -> Qwen2Tokenizer:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=merges,
        unk_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=SPECIAL[1:],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _processor(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLProcessor:
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(
            size={"shortest_edge": 56 * 56, "longest_edge": 16 * 112 * 112}, do_sample_frames=False
        ),
        chat_template=TEMPLATE,
    )
