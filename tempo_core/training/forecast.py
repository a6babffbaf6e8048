"""The run ahead as `estimate` counts it: rows as lengths, the model as sizes, and one small tree timed on the trainer.

The one thing to know: a run that was estimated is the same run, bit by bit. The probe's gradients are thrown away, its
random numbers are given back, and what it encodes is what the first steps would have encoded.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from accelerate.utils import send_to_device

from tempo_core.recipes import RunConfig
from tempo_core.training import estimate, tensor_file
from tempo_core.training.chain import in_tower
from tempo_core.training.estimate import Estimate, Memory
from tempo_core.training.flops import ModelSize, RowTokens, Stage, model_size, stage
from tempo_core.training.rows import TINY, Collator, Row, TokenCount
from tempo_core.training.videos import VideoStore, key_of
from tempo_core.types import Frames, Question
from tempo_core.video_llms.base import HFVideoLLM

PROBED_ROWS = 2
"""Rows of the tree that is timed, as many as the paper's preset has in a forward; a larger one takes longer only."""


class Lengths:
    """Rows as their lengths in tokens; no video is decoded."""

    def __init__(self, llm: HFVideoLLM) -> None:
        self._llm = llm
        self._count = TokenCount(llm)
        self._n_before: int | None = None

    def __call__(self, row: Row) -> RowTokens:
        n_prompt = self._count(row) - max(len(answer) for answer in row.answers)
        n_video = self._count.video(row)
        n_head = n_video + self._before(row.prompt)
        return RowTokens(
            row_id=row.row_id,
            video=key_of(self._llm, row.video, row.times_sha256, row.numbers),
            n_head=n_head,
            n_video=n_video,
            prompt=row.prompt,
            n_tail=n_prompt - n_head,
            answers=tuple((str(hash(answer)), len(answer)) for answer in row.answers),
        )

    def _before(self, prompt: str) -> int:
        """Tokens of text before a video's end; they do not depend on the prompt."""
        if self._n_before is None:
            blank = Frames(np.zeros((2, TINY, TINY, 3), np.uint8), (0, 1), 1.0)
            encoded = self._llm.encode(Question(prompt, blank))
            self._n_before = self._llm.video_end(encoded) - encoded.n_video_tokens
        return self._n_before


def n_tokens(row: RowTokens) -> int:
    """Of the row with its longer answer."""
    return row.n_head + row.n_tail + max(n for _, n in row.answers)


@dataclass(frozen=True, slots=True)
class Ahead:
    """A run before its first step."""

    stages: tuple[Stage, ...]
    size: ModelSize
    config: RunConfig
    value_bytes: int
    again: bool
    """Activations are computed again instead of kept (gradient checkpointing)."""

    def memory(self, *, again: bool) -> Memory:
        return estimate.memory(
            self.stages, self.size, lora_r=self.config.lora_r, again=again, value_bytes=self.value_bytes
        )


def ahead(llm: HFVideoLLM, stages: Sequence[Stage], config: RunConfig, *, again: bool) -> Ahead:
    """Take the sizes of a model that has no adapter yet."""
    weights = dict(llm.bare_model.named_parameters())
    tower = sum(weight.numel() for name, weight in weights.items() if in_tower(name, llm.tower_names))
    whole = sum(weight.numel() for weight in weights.values())
    size = model_size(llm.bare_model.config.to_dict(), n_parameters=whole, n_tower=tower)
    return Ahead(tuple(stages), size, config, llm.bare_model.dtype.itemsize, again)


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured: FLOP/s of training, seconds to decode and preprocess one video."""

    flops_per_s: float
    seconds_per_video: float


def measured(run: Ahead, trainer: Any, *, tries: int = 1) -> Speed | None:
    """Time a small tree of the run's first stage on its trainer; None if not even that fits into memory."""
    first = run.stages[0]
    in_order = [row for forward in first.forwards for row in forward]
    most = min(PROBED_ROWS, max(map(len, first.forwards)))
    small = stage(first.name, in_order, most, compared=first.compared, trains_tower=first.trains_tower)
    rows = {row.row_id: row for row in trainer.stage.rows}
    try:
        seconds = _decoding(trainer.video_llm, trainer.videos, rows[in_order[0].row_id])

        def probe(forward: tuple[RowTokens, ...]) -> float:
            return forward_and_backward(trainer, [rows[row.row_id] for row in forward])

        flops_per_s = estimate.speed([small], run.size, probe, again=run.again, tries=tries)
    except torch.OutOfMemoryError:
        return None
    finally:
        # Videos that the probe asked for are no hits or misses of the first step.
        trainer.videos.take_counts()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return Speed(flops_per_s, seconds)


def forward_and_backward(trainer: Any, rows: Sequence[Row]) -> float:
    """The seconds that one tree takes on the trainer's model, which stays as it is."""
    model, device = trainer.model, trainer.video_llm.device
    inputs = send_to_device(Collator((), trainer.videos).batch(rows), device)
    inputs.pop("separate")
    labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)
    was_training, again = model.training, trainer.args.gradient_checkpointing
    model.train()
    if again:
        model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    rounded = torch.autocast(device.type, torch.bfloat16, enabled=trainer.video_llm.model.dtype == torch.bfloat16)
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
            started = _now(device)
            with rounded:
                log_probs = model(**inputs, labels=labels, fused_lm_head=True, use_cache=False).log_probs
            log_probs.sum().backward()
            return _now(device) - started
    finally:
        model.zero_grad(set_to_none=True)
        if again:
            model.gradient_checkpointing_disable()
        model.train(was_training)


def estimated(run: Ahead, speed: Speed | None, *, n_devices: int = 1) -> Estimate:
    """What the run takes; its time is unknown without a speed."""
    config, kind = run.config, {"value_bytes": run.value_bytes}
    work = estimate.work(run.stages, run.size, again=run.again, feature_bytes=config.feature_bytes, **kind)
    disk = estimate.disk(run.stages, run.size, lora_r=config.lora_r, feature_bytes=config.feature_bytes, **kind)
    return estimate.estimate(
        work,
        run.memory(again=run.again),
        disk,
        flops_per_s=speed.flops_per_s if speed else None,
        seconds_per_video=speed.seconds_per_video if speed else 0.0,
        n_devices=n_devices,
        on_gpu=torch.cuda.is_available(),
    )


def warnings(run: Ahead, found: Estimate, *, folder: Path, cache: Path) -> tuple[str, ...]:
    """What this machine is too small for.

    Args:
        folder: Where checkpoints go.
        cache: Where features go; what lies there already needs no more room.
    """
    stored = sum(file.stat().st_size for file in cache.glob(f"*/*{tensor_file.SUFFIX}"))
    free = min(shutil.disk_usage(folder).free, shutil.disk_usage(cache if cache.is_dir() else folder).free)
    return estimate.warnings(
        found,
        device_bytes=device_bytes(),
        free_disk_bytes=free + min(stored, found.disk.features),
        with_checkpointing=None if run.again else run.memory(again=True),
    )


def device_bytes() -> int:
    """Memory of what trains: of one GPU, or of this machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return int(psutil.virtual_memory().total)


def _decoding(llm: HFVideoLLM, videos: VideoStore, row: Row) -> float:
    started = time.perf_counter()
    llm.encode(Question(row.prompt, videos.frames(row)))
    return time.perf_counter() - started


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
