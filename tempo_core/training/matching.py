"""As much SFT as another run: how many steps come to the same steps, or to the same computation.

Computation is counted, not timed: every tree of both runs by `flops`, as `estimate` counts them. What a machine was
doing besides, and what an earlier run left in the caches, changes no comparison (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from tempo_core.experiments import Match
from tempo_core.recipes import RunConfig
from tempo_core.training import estimate, parts
from tempo_core.training.flops import Stage
from tempo_core.training.forecast import Ahead
from tempo_core.training.material import Material
from tempo_core.training.parts import Plan
from tempo_core.training.report import Mute
from tempo_core.training.videos import Pictures
from tempo_core.types import Example, PreferencePair
from tempo_core.video_llms import checkpoints


@dataclass(frozen=True, slots=True)
class Matched:
    """`flops` and `reference_flops` are None where steps alone were matched."""

    n_steps: int
    reference_steps: int
    flops: float | None = None
    reference_flops: float | None = None


def sft_steps(
    match: Match,
    *,
    base: Path,
    reference: RunConfig,
    plan: Plan,
    pairs: Mapping[int, PreferencePair],
    sft: RunConfig,
    examples: Sequence[Example],
    pictures: Pictures,
    cache: Path,
) -> Matched:
    """How many steps of `sft` are as much as the whole run that `reference`, `plan` and `pairs` describe.

    Raises:
        TempoError: What would end either run before its first step.
    """
    fingerprint = checkpoints.fingerprint(base)

    def material(config: RunConfig) -> Material:
        planned = parts.of_run(plan, pairs, examples, config, fingerprint)
        return Material(planned, base, pairs, examples, config, cache, pictures, Mute().note)

    whole = material(reference)
    if match == "steps":
        return Matched(whole.n_steps, whole.n_steps)
    epoch = material(replace(sft, sft_steps=None))
    llm = whole.load(())
    wanted = flops_of(whole.measure(llm))
    ahead = epoch.measure(llm)
    n_steps = steps_for(wanted, lambda n: flops_of(first_steps(ahead, epoch.n_steps, n)), whole.n_steps)
    return Matched(n_steps, whole.n_steps, flops_of(first_steps(ahead, epoch.n_steps, n_steps)), wanted)


def flops_of(ahead: Ahead) -> float:
    """What a run computes to train: scoring its pairs afterwards is a measurement and counts for nothing."""
    config = ahead.config
    work = estimate.work(
        ahead.stages, ahead.size, again=ahead.again, feature_bytes=config.feature_bytes, value_bytes=ahead.value_bytes
    )
    return work.training + work.reference + work.tower


def first_steps(ahead: Ahead, n_of_epoch: int, n_steps: int) -> Ahead:
    """A run of one stage and one epoch, cut or repeated to so many steps."""
    (stage,) = ahead.stages
    per_step = len(stage.forwards) // n_of_epoch
    return replace(ahead, stages=(_repeated(stage, n_steps * per_step),))


def steps_for(wanted: float, flops: Callable[[int], float], n_first: int) -> int:
    """The number of steps that comes closest; `flops` of n steps grows nearly evenly, so few looks are enough."""
    n_steps = max(1, n_first)
    for _ in range(6):
        n_steps = max(1, round(n_steps * wanted / flops(n_steps)))
    return min((n for n in (n_steps - 1, n_steps, n_steps + 1) if n > 0), key=lambda n: abs(flops(n) - wanted))


def _repeated(stage: Stage, n_forwards: int) -> Stage:
    return replace(stage, forwards=tuple(islice(cycle(stage.forwards), n_forwards)))
