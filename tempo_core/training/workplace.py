"""What a stage is trained with: its rows and settings, and how the libraries are told of them.

The one thing to know: the order of the rows is the curriculum; nothing between here and the model may change it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig

from tempo_core.errors import ModelRefused
from tempo_core.recipes import Phase, RunConfig
from tempo_core.training import ranks
from tempo_core.training.report import Events
from tempo_core.training.rows import Collator, Row
from tempo_core.training.videos import VideoStore
from tempo_core.video_llms.base import HFVideoLLM


@dataclass(frozen=True)
class StageRun:
    """One stage as the loop trains it: rows in order, `rows_per_step` a step, steps counted over the whole run."""

    ordinal: int
    name: str
    phase: Phase
    rows: tuple[Row, ...]
    rows_per_step: int
    rows_per_forward: int
    steps_before: int
    n_steps_of_run: int
    lr: float
    lora_alpha: int
    trains_tower: bool
    seed: int
    sha256: str
    """Of everything that decides the outcome; a checkpoint of another content is not resumed."""

    @property
    def n_steps(self) -> int:
        return len(self.rows) // self.rows_per_step


@dataclass(frozen=True)
class Workplace:
    """What a stage is trained with; `llm.model` becomes the model with the fresh adapter."""

    stage: StageRun
    config: RunConfig
    llm: HFVideoLLM
    videos: VideoStore
    events: Events
    checkpoints: Path
    gradient_checkpointing: bool


def arguments(kind: Any, at: Workplace, **more: Any) -> Any:
    """The settings of a stage for transformers' `TrainingArguments` or a child of it."""
    stage, config = at.stage, at.config
    on_cpu = at.llm.device.type == "cpu"
    return kind(
        output_dir=str(at.checkpoints),
        per_device_train_batch_size=stage.rows_per_forward,
        gradient_accumulation_steps=stage.rows_per_step // (stage.rows_per_forward * ranks.size()),
        num_train_epochs=1,
        learning_rate=stage.lr,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=config.warmup,
        gradient_checkpointing=at.gradient_checkpointing,
        use_cpu=on_cpu,
        bf16=not on_cpu and config.dtype == "bfloat16",
        fp16=False,
        seed=stage.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        enable_jit_checkpoint=False,
        **more,
    )


def lora(at: Workplace) -> LoraConfig:
    """The fresh adapter of a stage.

    Raises:
        ModelRefused: It would be on the head. The fused head reads the bare weight, so it would never be trained.
    """
    head = at.llm.bare_model.get_output_embeddings()
    name = next(name for name, module in at.llm.bare_model.named_modules() if module is head)
    if re.fullmatch(at.llm.lora_targets, name):
        raise ModelRefused(f"The adapter of {at.llm.name} would be on its head ({name}). Leave it out of lora_targets.")
    return LoraConfig(
        r=at.config.lora_r,
        lora_alpha=at.stage.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=at.llm.lora_targets,
    )


def data(at: Workplace) -> dict[str, Any]:
    """Rows by place, in training order, and what makes batches of them."""
    return {
        "train_dataset": Dataset.from_dict({"row": list(range(len(at.stage.rows)))}),
        "data_collator": Collator(at.stage.rows, at.videos),
        "processing_class": at.llm.tokenizer,
    }


def largest_divisor(total: int, most: int) -> int:
    """The largest number up to `most` that divides `total`."""
    return max(n for n in range(1, min(total, most) + 1) if total % n == 0)
