"""An experiment: recipes x orders x seeds, with the controls beside them that say whether the method did it.

The first recipe in the first order is the reference: every other arm is compared with it, and the controls are made
from it. Two arms that would train the same are one. No torch here: pages read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tempo_core.errors import BadSettings
from tempo_core.recipes import PACINGS, RECIPES, RunConfig, check

Match = Literal["", "steps", "compute"]
"""What the number of SFT steps of an arm is taken from: its own settings, or the reference's steps or computation."""

CHOSEN_ONLY: Mapping[str, str] = {
    "dpo": "chosen_only",
    "dpo_sft": "chosen_only_sft",
    "sft_dpo": "sft_chosen_only",
}
"""The same recipe without the rejected side."""

CONTROLS: Mapping[str, str] = {
    "chosen_only": "chosen only",
    "sft_equal_steps": "SFT, equal steps",
    "sft_equal_compute": "SFT, equal compute",
    "mixed": "mixed order",
    "hard_to_easy": "hard to easy",
}
"""Every control with the name of its arm; the last two are orders of the reference's own recipe."""

MOST_RUNS = 500
"""Our choice: more is a slip of the hand."""


@dataclass(frozen=True, slots=True)
class Design:
    """What a person chooses; `base` holds every number that no arm changes."""

    base: RunConfig
    recipes: tuple[str, ...] = ("dpo_sft",)
    pacings: tuple[str, ...] = ("strict",)
    seeds: tuple[int, ...] = (0, 1, 2)
    controls: tuple[str, ...] = tuple(CONTROLS)


@dataclass(frozen=True, slots=True)
class Arm:
    """What one row of the result is trained by. The seed of `config` is the base's; each run has its own."""

    name: str
    config: RunConfig
    says: str
    """What it is for, in a sentence."""
    match: Match = ""

    @property
    def phases(self) -> tuple[str, ...]:
        return RECIPES[self.config.recipe]


def arms(design: Design) -> tuple[Arm, ...]:
    """The arms in the order in which they are trained: the reference, its controls, the others.

    Raises:
        BadSettings: The design names what there is not, names nothing, or asks for controls where there is no DPO.
    """
    _check(design)
    crossed = [_crossed(design, recipe, pacing) for recipe in design.recipes for pacing in design.pacings]
    reference = crossed[0]
    found: dict[tuple[RunConfig, Match], Arm] = {}
    for arm in (reference, *_controls(design, reference), *crossed[1:]):
        found.setdefault((arm.config, arm.match), arm)
    return tuple(found.values())


def cells(found: Sequence[Arm], seeds: Sequence[int]) -> Iterator[tuple[Arm, RunConfig]]:
    """Every run, in the order in which they are queued: one seed of all arms before the next seed of any.

    So the first comparison is there after two runs, and an experiment that is stopped half way has whole rows.
    """
    for seed in seeds:
        for arm in found:
            yield arm, replace(arm.config, seed=seed)


def _crossed(design: Design, recipe: str, pacing: str) -> Arm:
    phases = RECIPES[recipe]
    if set(phases) == {"sft"}:
        # No pair, so no order of pairs.
        return Arm(recipe, replace(design.base, recipe=recipe), "SFT alone, with the steps of the settings.")
    config = replace(design.base, recipe=recipe, pacing=pacing)
    return Arm(f"{recipe}, {pacing}", config, f"{_chain(phases)}; {_ORDER[pacing]}.")


def _controls(design: Design, reference: Arm) -> Iterator[Arm]:
    config = reference.config
    for control in CONTROLS:
        if control not in design.controls:
            continue
        name = CONTROLS[control]
        if control == "chosen_only":
            twin = replace(config, recipe=CHOSEN_ONLY[config.recipe])
            yield Arm(name, twin, f"{reference.name} without the rejected side: does that side help?")
        elif control in PACINGS:
            yield _crossed(design, config.recipe, control)
        else:
            match: Match = "steps" if control == "sft_equal_steps" else "compute"
            alone = replace(config, recipe="sft", pacing=design.base.pacing, sft_steps=None)
            what = "as many steps" if match == "steps" else "as much computation"
            yield Arm(name, alone, f"SFT alone with {what} as {reference.name}: do pairs help at all?", match)


_ORDER: Mapping[str, str] = {
    "strict": "easy to hard, a stage per level",
    "replay": "easy to hard, repeating easier pairs",
    "linear": "easy to hard, levels fading into each other",
    "competence": "easy to hard by competence",
    "mixed": "all levels mixed",
    "hard_to_easy": "hard to easy, a stage per level",
}
_PHASE: Mapping[str, str] = {"dpo": "DPO", "sft": "SFT", "chosen_only": "the chosen answers alone"}


def _chain(phases: Sequence[str]) -> str:
    told = ", then ".join(_PHASE[phase] for phase in phases)
    return told[0].upper() + told[1:]


def _check(design: Design) -> None:
    known = {"recipes": RECIPES, "pacings": PACINGS, "controls": CONTROLS}
    for name, may_be in known.items():
        chosen: tuple[str, ...] = getattr(design, name)
        if wrong := [one for one in chosen if one not in may_be]:
            raise BadSettings(f"{name} holds {wrong[0]!r}; there are {', '.join(may_be)}.")
        if not chosen and name != "controls":
            raise BadSettings(f"An experiment needs at least one of {name}: {', '.join(may_be)}.")
    if not design.seeds or len(set(design.seeds)) < len(design.seeds) or min(design.seeds) < 0:
        raise BadSettings(f"Seeds are {list(design.seeds)}; name at least one, from 0 on, each once.")
    if design.controls and design.recipes[0] not in CHOSEN_ONLY:
        raise BadSettings(
            f"Controls are made from the first recipe, and {design.recipes[0]} has no rejected side to leave out. "
            f"Put one of {', '.join(CHOSEN_ONLY)} first, or ask for no controls."
        )
    check(replace(design.base, recipe=design.recipes[0], pacing=design.pacings[0]))
    n_most = (len(design.recipes) * len(design.pacings) + len(design.controls)) * len(design.seeds)
    if n_most > MOST_RUNS:
        raise BadSettings(f"That would be up to {n_most} runs; an experiment has at most {MOST_RUNS}.")
