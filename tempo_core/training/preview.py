"""A run before it exists: the same counting and the same small timed tree as at its start, and nothing is trained.

The one thing to know: a preview takes as long as loading the model and encoding a video or two. What it encodes stays
in the cache, so that the run does not encode it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tempo_core.recipes import RunConfig
from tempo_core.training import forecast, parts
from tempo_core.training.estimate import Estimate
from tempo_core.training.material import Material
from tempo_core.training.parts import Plan
from tempo_core.training.recipe import trainer_of, workplace_of
from tempo_core.training.report import Mute
from tempo_core.training.videos import Pictures
from tempo_core.types import Example, PreferencePair
from tempo_core.video_llms import checkpoints


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would take. `warnings` say what this machine is too small for, each with the way out."""

    estimate: Estimate
    n_steps: int
    warnings: tuple[str, ...]


def preview(
    *,
    base: Path,
    pairs: Mapping[int, PreferencePair],
    plan: Plan,
    examples: Sequence[Example],
    config: RunConfig,
    folder: Path,
    pictures: Pictures,
    cache: Path,
    n_devices: int = 1,
) -> Preview:
    """Estimate the run that `recipe.train` would make of these arguments.

    Args:
        folder: Where the run would write, to see how much room is left; nothing is written there.
        n_devices: Processes that would share its steps.

    Raises:
        TempoError: What would end the run before its first step.
    """
    planned = parts.of_run(plan, pairs, examples, config, checkpoints.fingerprint(base))
    of = Material(planned, base, pairs, examples, config, cache, pictures, Mute().note)
    llm = of.load(())
    ahead = of.measure(llm)
    at = workplace_of(of, planned[0], llm, Mute(), folder)
    speed = forecast.measured(ahead, trainer_of(of, planned[0], at, ()))
    found = forecast.estimated(ahead, speed, n_devices=n_devices)
    return Preview(found, of.n_steps, forecast.warnings(ahead, found, folder=folder, cache=cache / "features"))
