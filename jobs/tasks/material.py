"""What a run trains on, read from the database and checked against the hashes under which it was frozen."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db import datasets, sft_sets
from tempo_core import video_llms
from tempo_core.curriculum import TrainingPlan, plan_sha256
from tempo_core.recipes import RECIPES
from tempo_core.types import Example, PreferencePair

NO_PAIRS = TrainingPlan((), (), {}, (), plan_sha256((), ()))
"""The plan of a run that trains on examples only."""


def data(
    session: Any, recipe: str, version_id: int | None, sft_set_id: int | None
) -> tuple[dict[int, PreferencePair], list[Example]]:
    """What a run trains on, checked against the hashes under which it was frozen."""
    pairs: dict[int, PreferencePair] = {}
    phases = RECIPES[recipe]
    if version_id is not None and set(phases) != {"sft"}:
        datasets.verify(session, version_id)
        pairs = {item.pair.pair_id: item.pair for item in datasets.items(session, version_id, "train")}
    examples: list[Example] = []
    if "sft" in phases and sft_set_id is not None:
        sft_sets.verify(session, sft_set_id)
        examples = sft_sets.items(session, sft_set_id)
    return pairs, examples


def measured(base: Path, pairs: Mapping[int, PreferencePair], max_tokens: int) -> tuple[int | None, dict[int, int]]:
    """The picture size that the model takes, and the pairs with more tokens than the run allows."""
    llm = video_llms.load_encoder(base)
    rows = importlib.import_module("tempo_core.training.rows")
    return llm.long_side, rows.too_long(pairs.values(), llm, max_tokens)
