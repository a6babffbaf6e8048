"""Finished stages without training: adapters with random weights, sealed as training seals them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from tempo_core.recipes import Phase
from tempo_core.training import chain
from tempo_core.training.chain import Link


def add_link(base: Path, folder: Path, before: Sequence[Link], name: str, phase: Phase, *, tower: bool = False) -> Link:
    """The next stage of a chain, with weights that change the model."""
    llm = chain.load(base, before)
    torch.manual_seed(len(before))
    config = LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model.*(q|v)_proj")
    model = get_peft_model(llm.model, config)
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if "lora_B" in weight_name or (tower and chain.in_tower(weight_name, llm.tower_names)):
                weight.add_(0.05 * torch.randn_like(weight))
    about = {"base": llm.checkpoint.files_sha256, "before": before[-1].sha256 if before else ""}
    return chain.save(folder, len(before) + 1, name, phase, llm, model, about, tower)
