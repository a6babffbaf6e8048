"""What a run does: recipes, presets and every number of a run, as one frozen value. No torch here: pages read it.

A recipe is a chain of phases; each phase ends with an adapter that is merged before the next begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tempo_core.errors import BadSettings
from tempo_core.types import DifficultyAxis

Phase = Literal["dpo", "sft", "chosen_only"]

RECIPES: dict[str, tuple[Phase, ...]] = {
    "dpo_sft": ("dpo", "sft"),
    "sft_dpo": ("sft", "dpo"),
    "dpo": ("dpo",),
    "sft": ("sft",),
    "chosen_only": ("chosen_only",),
    "chosen_only_sft": ("chosen_only", "sft"),
    "sft_chosen_only": ("sft", "chosen_only"),
}
"""`chosen_only` trains on the chosen responses of the same pairs in the same order, without the rejected ones:
the control that tells whether the rejected side helps."""

Reference = Literal["reset", "base"]
"""What an answer is compared with: `reset`, the model with the stages before merged (the paper); `base`, the model
before the first DPO stage, throughout."""

Attention = Literal["split", "dense"]
Positions = Literal["hf", "max_plus_one"]

PACINGS = ("strict", "replay", "linear", "competence", "mixed", "hard_to_easy")
"""How the levels follow each other: `tempo_core.pacings` has a function for each. `strict` is the paper's."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Every number of a run. The defaults are the paper's; `PRESETS` holds the named sets."""

    recipe: str = "dpo_sft"
    preset: str = "paper"
    seed: int = 0
    pacing: str = "strict"
    difficulty: DifficultyAxis = "measured"
    beta: float = 0.1
    sft_weight: float = 0.0
    """Weight of the negative log-likelihood of the chosen response beside the DPO loss; 0 = plain DPO."""
    dpo_lr: float = 5e-6
    dpo_epochs: int = 1
    pairs_per_step: int = 16
    micro_batch: int = 2
    """Pairs in one forward; `pairs_per_step` must be a multiple of it."""
    warmup: float = 0.05
    lr_scheduler: str = "cosine"
    lora_r: int = 32
    lora_alpha: int = 64
    max_tokens: int = 16_384
    """Pairs with more tokens than this are counted and left out, never cut."""
    sft_lr: float = 1e-4
    sft_lora_alpha: int = 32
    sft_steps: int | None = None
    """None: one epoch over the SFT set."""
    sft_examples_per_step: int = 16
    sft_tower_trainable: bool = True
    checkpoint_every: int = 50
    """Steps between checkpoints; a killed run loses at most these."""
    gradient_checkpointing: bool = True
    dtype: str = "bfloat16"
    replay_share: float = 0.25
    """Pacing `replay`: the share of a stage's places that goes to the levels before it."""
    reference: Reference = "reset"
    pairs_together: int = 3
    """Pairs of one video that stay side by side and share its encoding: the paper's data has one chosen answer for
    drop, shuffle and reverse. 0 or 1 mixes single pairs, as the paper does."""
    length_matched: bool = False
    """Train on pairs whose chosen answer is the longer one as often as the shorter one, level by level."""
    ld_alpha: float | None = None
    """TRL's length desensitization: weight of the longer answer's tokens beyond the shorter one's length."""
    attention: Attention = "split"
    """How answers of one video are kept apart in one forward; `dense` is the slower oracle."""
    positions: Positions | None = None
    """Where text after a video stands; None: as the model's family loads."""
    feature_bytes: int = 20_000_000_000
    """Disk for cached video features."""


PRESETS: dict[str, RunConfig] = {
    "paper": RunConfig(),
    "embedded": RunConfig(
        preset="embedded",
        pacing="mixed",
        sft_weight=1.0,
        dpo_lr=1e-3,
        pairs_per_step=16,
        micro_batch=16,
        lora_r=64,
        lora_alpha=128,
        sft_lora_alpha=128,
        sft_lr=1e-3,
        sft_examples_per_step=32,
        sft_steps=100,
        sft_tower_trainable=False,
        checkpoint_every=25,
        gradient_checkpointing=False,
        dtype="float32",
    ),
}


def check(config: RunConfig) -> None:
    """Refuse settings outside their range, whoever wrote them: a form, a command line, a file.

    Raises:
        BadSettings: The first setting that cannot be, with what it may be.
    """
    for name, may_be in _CHOICES.items():
        if getattr(config, name) not in may_be:
            known = ", ".join(str(choice) for choice in may_be if choice is not None)
            raise BadSettings(f"{name} is {getattr(config, name)!r}; it may be {known}.")
    for name, lowest in (("pairs_per_step", 1), ("micro_batch", 1), ("dpo_epochs", 1), ("pairs_together", 0)):
        if getattr(config, name) < lowest:
            raise BadSettings(f"{name} is {getattr(config, name)}; it must be at least {lowest}.")
    if not 0 <= config.replay_share < 1:
        raise BadSettings(f"replay_share is {config.replay_share:g}; it must be at least 0 and below 1.")
    if config.ld_alpha is not None and not (isinstance(config.ld_alpha, int | float) and 0 <= config.ld_alpha <= 1):
        raise BadSettings(f"ld_alpha is {config.ld_alpha!r}; it must be a number from 0 to 1, or nothing.")


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "recipe": tuple(RECIPES),
    "pacing": PACINGS,
    "difficulty": get_args(DifficultyAxis),
    "reference": get_args(Reference),
    "attention": get_args(Attention),
    "positions": (None, *get_args(Positions)),
}
