"""Very small random checkpoints of every family: the real architectures, tokenizer class and processors, made offline.

The one thing to know: weights as a new model draws them (std 0.02) hardly look at pictures, positions or masks, and
wrong code passes every comparison. `sharpen` scales them until the answer depends on all three.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from tempo_core.types import Frames
from tempo_core.video_llms.tiny_onevision_parts import OneVisionStudent
from tempo_core.video_llms.tiny_parts import QwenStudent
from tempo_core.video_llms.tiny_students import Student

CORPUS = [
    "describe the video in detail. the video starts with a red square moving left, then a blue circle appears.",
    "first second third then finally before after while next the scene changes and a man opens the door.",
    "What happens first? Answer with one letter. A B C D. You are a helpful assistant. clip caption order",
]
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'video' %}VIDEO"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_TEMPLATE = TEMPLATE.replace("VIDEO", "<|vision_start|><|video_pad|><|vision_end|>")
SCALES = {"q_proj": 8, "k_proj": 8, "qkv": 8, "v_proj": 5, "o_proj": 5, "embed_tokens": 5, "lm_head": 5, "merger": 5}
SCALES |= {"multi_modal_projector": 5}


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """family -> its small checkpoint, sharpened, built once. Read it, never write to it."""
    root, built = tmp_path_factory.mktemp("models"), dict[str, Path]()

    def folder_of(family: str) -> Path:
        if family not in built:
            built[family] = build(family, root / family)
        return built[family]

    return folder_of


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("qwen2_5_vl", tmp_path_factory.mktemp("models") / "tiny-qwen")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("tiny", tmp_path_factory.mktemp("models") / "untrained-tiny")


def build(family: str, folder: Path, **options: Any) -> Path:
    """Write a checkpoint as the real ones are written: config, safetensors, processor, chat template.

    Args:
        family: A key of `tempo_core.video_llms.FAMILIES`.
        options: seed=0, hidden=64, layers=2, and tokens_per_second=2 for Qwen2.5-VL; only seed for the embedded.
    """
    return BUILD[family](folder, **options)


def build_qwen(folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 2, tokens_per_second: int = 2) -> Path:
    tokenizer = _tokenizer(VISION)
    head = hidden // 4
    rest = (head // 2 - head // 8) // 2
    config = Qwen2_5_VLConfig(
        text_config={
            **_text(tokenizer, hidden, layers),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head // 2 - 2 * rest, rest, rest],
            },
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
        **_vision_ids(tokenizer),
    )
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(
            size={"shortest_edge": 56 * 56, "longest_edge": 16 * 112 * 112}, do_sample_frames=False
        ),
        chat_template=QWEN_TEMPLATE,
    )
    return _save(Qwen2_5_VLForConditionalGeneration, config, processor, folder, seed)


def build_qwen3(folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 2) -> Path:
    tokenizer = _tokenizer(VISION)
    head = hidden // 4
    config = Qwen3VLConfig(
        text_config={
            **_text(tokenizer, hidden, layers),
            "head_dim": head,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [head // 2 - 2 * (head // 6), head // 6, head // 6],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 1],
        },
        **_vision_ids(tokenizer),
    )
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=16, size={"shortest_edge": 64 * 64, "longest_edge": 128 * 128}
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 64 * 64, "longest_edge": 16 * 128 * 128}, do_sample_frames=False
        ),
        chat_template=QWEN_TEMPLATE,
    )
    return _save(Qwen3VLForConditionalGeneration, config, processor, folder, seed)


def build_llava_onevision(folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 2) -> Path:
    tokenizer = _tokenizer(("<image>", "<video>"))
    pinpoints = [[56, 56], [56, 112]]
    config = LlavaOnevisionConfig(
        text_config={**_text(tokenizer, hidden, layers), "model_type": "qwen2"},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=False,
    )
    size = {"height": 56, "width": 56}
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE.replace("VIDEO", "<video>\n"),
    )
    return _save(LlavaOnevisionForConditionalGeneration, config, processor, folder, seed)


def build_internvl(folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 2) -> Path:
    # Its processor asks the tokenizer for these by name.
    tokenizer = _tokenizer(
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    )
    config = InternVLConfig(
        text_config={**_text(tokenizer, hidden, layers), "model_type": "qwen2"},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [56, 56],
            "patch_size": [14, 14],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    size = {"height": 56, "width": 56}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=TEMPLATE.replace("VIDEO", "<video>\n"),
    )
    return _save(InternVLForConditionalGeneration, config, processor, folder, seed)


def build_tiny(folder: Path, *, seed: int = 0, kind: type[Student] = QwenStudent) -> Path:
    """An embedded model's architecture and processor, untrained."""
    student = kind(seed)
    sharpen(student.model).save_pretrained(folder)
    student.processor().save_pretrained(folder)
    return folder


BUILD: dict[str, Callable[..., Path]] = {
    "qwen2_5_vl": build_qwen,
    "qwen3_vl": build_qwen3,
    "llava_onevision": build_llava_onevision,
    "internvl": build_internvl,
    "tiny": build_tiny,
    "tiny_onevision": partial(build_tiny, kind=OneVisionStudent),
}


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


def _text(tokenizer: Qwen2Tokenizer, hidden: int, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.convert_tokens_to_ids(PAD),
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
        "pad_token_id": tokenizer.convert_tokens_to_ids(PAD),
    }


def _vision_ids(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return {
        **dict(zip(names, tokenizer.convert_tokens_to_ids(list(VISION)), strict=True)),
        "tie_word_embeddings": False,
    }


def _tokenizer(special: tuple[str, ...] | dict[str, str]) -> Qwen2Tokenizer:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    turns = {"im_start": START, "im_end": END}
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=merges,
        unk_token=PAD,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens={**turns, **special} if isinstance(special, dict) else [*turns.values(), *special],
    )


def _save(kind: Any, config: Any, processor: Any, folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    model: Any = sharpen(kind(config))
    end, pad = processor.tokenizer.convert_tokens_to_ids([END, PAD])
    model.generation_config.eos_token_id = [end, pad]
    model.generation_config.pad_token_id = pad
    # As the real checkpoints do: settings that must not leak into our draws.
    model.generation_config.do_sample = True
    model.generation_config.temperature = 0.1
    model.generation_config.repetition_penalty = 1.05
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
