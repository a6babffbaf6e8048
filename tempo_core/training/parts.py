"""What a run will train, before any model is loaded: a recipe's phases and the plan's stages as one list of parts.

The one thing to know: a part's sha256 covers all that decides its outcome, the parts before it included. A folder with
another one is never continued.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from tempo_core.errors import DatasetDrift, EmptyStage, TooFew
from tempo_core.recipes import RECIPES, Phase, RunConfig
from tempo_core.types import Example, PlannedPair, PreferencePair, Stage

OUTCOME_FREE = ("preset", "checkpoint_every", "micro_batch", "gradient_checkpointing", "feature_bytes")
"""Settings that may differ between the attempts of a run."""

ADDED = ("replay_share", "reference", "pairs_together", "length_matched", "ld_alpha", "attention", "positions")
"""Settings younger than the first runs. At their defaults they count for nothing, so that an older run goes on."""


class Plan(Protocol):
    """What training reads of `curriculum.TrainingPlan`."""

    @property
    def planned(self) -> tuple[PlannedPair, ...]: ...

    @property
    def stages(self) -> tuple[Stage, ...]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One stage before any model is loaded: pairs of the plan, or examples, in training order."""

    ordinal: int
    name: str
    phase: Phase
    order: tuple[int, ...]
    """pair_ids, or places in the SFT set."""
    rows_per_step: int
    steps_before: int
    sha256: str

    @property
    def n_steps(self) -> int:
        return len(self.order) // self.rows_per_step


def of_run(
    plan: Plan, pairs: Mapping[int, PreferencePair], examples: Sequence[Example], config: RunConfig, base: str
) -> list[Part]:
    if config.recipe not in RECIPES:
        raise ValueError(f"recipe is {config.recipe!r}, must be one of {', '.join(RECIPES)}")
    parts: list[Part] = []
    before = base
    for phase in RECIPES[config.recipe]:
        for name, order, rows_per_step in _orders(phase, plan, pairs, examples, config):
            last = parts[-1] if parts else None
            steps_before = last.steps_before + last.n_steps if last else 0
            content = [_content(phase, row_id, pairs, examples) for row_id in order]
            before = _sha256([before, phase, name, rows_per_step, content, _settings(config)])
            parts.append(Part(len(parts) + 1, name, phase, order, rows_per_step, steps_before, before))
    return parts


def _orders(
    phase: Phase, plan: Plan, pairs: Mapping[int, PreferencePair], examples: Sequence[Example], config: RunConfig
) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Name, order and rows a step of each stage of a phase."""
    if phase == "sft":
        yield "sft", _example_order(len(examples), config), config.sft_examples_per_step
        return
    if missing := sorted({p.pair_id for p in plan.planned} - pairs.keys()):
        raise DatasetDrift(
            f"The plan names {len(missing)} pairs that the dataset lacks (pair {missing[0]} first). Plan again."
        )
    if not plan.planned:
        raise EmptyStage("The plan holds no pair. Accept pairs, or widen the curriculum's levels.")
    planned = sorted(plan.planned, key=lambda p: p.ordinal)
    for stage, group in groupby(planned, key=lambda p: p.stage):
        members = list(group)
        sizes = {len(list(places)) for _, places in groupby(members, key=lambda p: p.step)}
        rows_per_step = max(sizes)
        # A level smaller than a step trains in one smaller step, where the user said so when planning.
        if len(sizes) > 1 or rows_per_step > config.pairs_per_step:
            raise DatasetDrift(
                f"Steps of stage {stage} of the plan hold {sorted(sizes)} pairs and this run trains "
                f"{config.pairs_per_step} a step. Plan again with this number."
            )
        yield plan.stages[stage].name, tuple(p.pair_id for p in members), rows_per_step


def _example_order(n_examples: int, config: RunConfig) -> tuple[int, ...]:
    """Whole epochs, each shuffled by the seed, cut to whole steps."""
    per_step = config.sft_examples_per_step
    if n_examples < per_step:
        raise TooFew(
            f"The SFT set has {n_examples} examples and one step needs {per_step}. Add some, or make it smaller."
        )
    n_steps = n_examples // per_step if config.sft_steps is None else config.sft_steps
    rng = np.random.default_rng([config.seed, len("sft")])
    order: list[int] = []
    while len(order) < n_steps * per_step:
        order.extend(int(place) for place in rng.permutation(n_examples))
    return tuple(order[: n_steps * per_step])


def _content(
    phase: Phase, row_id: int, pairs: Mapping[int, PreferencePair], examples: Sequence[Example]
) -> tuple[Any, ...]:
    if phase == "sft":
        e = examples[row_id]
        return e.example_id, e.video.sha256, e.times_sha256, e.clip_key_frames, e.question, e.answer
    p = pairs[row_id]
    return p.uid, p.video.sha256, p.times_sha256, p.clip_key_frames, p.prompt, p.chosen, p.rejected, p.level


def _settings(config: RunConfig) -> dict[str, Any]:
    unchanged = {f.name for f in fields(config) if f.name in ADDED and getattr(config, f.name) == f.default}
    return {key: value for key, value in asdict(config).items() if key not in {*OUTCOME_FREE, *unchanged}}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
