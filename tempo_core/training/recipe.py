"""A whole run: the phases of a recipe and the stages of a curriculum, one after the other, resumable at every step.

The one thing to know: `folder` alone says how far a run came. `chain/` holds the finished stages, `checkpoints/` the
one in progress, both sealed; a resumed run reads nothing else and ends with the same weights.
"""

from __future__ import annotations

import gc
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tempo_core.errors import Cancelled, ReferenceMismatch
from tempo_core.recipes import RunConfig
from tempo_core.training import chain, dpo, forecast, loop, parts, ranks, resuming, scoring, sealed, sft
from tempo_core.training.chain import Link
from tempo_core.training.dpo import References
from tempo_core.training.forecast import Ahead
from tempo_core.training.material import Material, Place
from tempo_core.training.parts import Part, Plan
from tempo_core.training.reference import ReferenceStore
from tempo_core.training.report import Events, Mute
from tempo_core.training.videos import Pictures
from tempo_core.training.workplace import Workplace
from tempo_core.types import Example, PreferencePair, Progress
from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.base import HFVideoLLM


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run leaves: the links to merge onto the base, in order (`chain.load`, `chain.export`)."""

    chain: tuple[Link, ...]


def train(
    *,
    base: Path,
    pairs: Mapping[int, PreferencePair],
    plan: Plan,
    examples: Sequence[Example],
    config: RunConfig,
    folder: Path,
    pictures: Pictures,
    events: Events,
    cache: Path | None = None,
    save_memory: bool = False,
    resume: bool = True,
) -> Trained:
    """Train a recipe and return its chain of adapters.

    Args:
        pairs: By pair_id; at least those that the plan names.
        examples: The SFT set; may be empty when the recipe has no SFT phase.
        folder: The run's own; `chain/` and `checkpoints/` in it are ours.
        cache: Where features and reference log-probabilities are kept for other runs too; None: in `folder`.
        save_memory: An attempt before this one ran out of memory: take less for the same steps.
        resume: Go on where the folder says; False begins again and removes what is there.

    Raises:
        DatasetDrift: The plan names a pair that is missing, or the folder holds a run of other data or settings.
        TooLong: A row has more tokens than `config.max_tokens` (ask `rows.too_long` before planning).
        VideoLost: A prompt without video tokens.
        Diverged: The loss or a weight is no longer finite; the last good checkpoint is kept.
        Cancelled: `events.should_stop()`; a checkpoint is kept.
    """
    ranks.begin()
    if ranks.rank():
        events = Mute()
    planned = parts.of_run(plan, pairs, examples, config, checkpoints.fingerprint(base))
    of = Material(planned, base, pairs, examples, config, cache or folder / "cache", pictures, events.note)
    if save_memory:
        of.save_memory()
    run = _Run(of, folder, events)
    links = run.begin(resume)
    for part in planned:
        if part.ordinal > len(links):
            links.append(run.stage(part, links))
            _free()
        if part is of.last_dpo:
            run.score(links[: part.ordinal])
            _free()
    ranks.first(lambda: shutil.rmtree(run.checkpoints, ignore_errors=True))
    return Trained(tuple(links))


class _Run:
    """How far a run came, as its folder says, and the next step of it."""

    def __init__(self, of: Material, folder: Path, events: Events) -> None:
        self.of, self.parts, self.n_steps, self.events = of, of.parts, of.n_steps, events
        self.links, self.checkpoints = folder / "chain", folder / "checkpoints"
        self.scored, self.estimated = folder / "scored", folder / "estimated"
        self._measured = False

    def begin(self, resume: bool) -> list[Link]:
        """Find what is finished, and say from which step the run goes on."""
        done = ranks.first(lambda: self._tidy(resume))
        going_on = self.parts[len(done)] if len(done) < len(self.parts) else None
        checkpoint = resuming.newest(self.checkpoints, going_on.ordinal, going_on.sha256) if going_on else None
        step = checkpoint[1] if checkpoint else going_on.steps_before if going_on else self.n_steps
        self.events.resumed(step)
        # Said again, because a kill between sealing a link and saying so would lose it.
        for part, link in zip(self.parts, done, strict=False):
            self._say_started(part)
            self.events.stage_ended(part.ordinal, link)
        return done

    def _tidy(self, resume: bool) -> list[Link]:
        """Remove what is not to be continued; the links that are finished."""
        if not resume:
            self.scored.unlink(missing_ok=True)
            self.estimated.unlink(missing_ok=True)
        for place in (self.links, self.checkpoints):
            if not resume:
                shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
            sealed.sweep(place)
        return self._finished()

    def _finished(self) -> list[Link]:
        found = chain.read(self.links)
        for part, (link, about) in zip(self.parts, found, strict=False):
            if about["stage_sha256"] != part.sha256:
                raise resuming.drift(link.path)
        for path in sorted(self.links.glob("[0-9][0-9]-*"))[len(found) :]:
            self.events.note(f"{path.name} is damaged or comes after a damaged one: it is set aside and trained again.")
            path.rename(path.with_name(f"damaged-{path.name}-{uuid.uuid4().hex[:8]}"))
            self.scored.unlink(missing_ok=True)
        return [link for link, _ in found[: len(self.parts)]]

    def stage(self, part: Part, before: Sequence[Link]) -> Link:
        """Train one stage and seal its link."""
        of = self.of
        compared = self._compared_with(part, before)
        filled = None
        if len(compared) < len(before):
            filled = scoring.references(of, part, compared)
            _free()
        llm = of.load(before)
        ahead = None if self._measured else of.measure(llm)
        self._measured = True
        at = workplace_of(of, part, llm, self.events, self.checkpoints)
        self._say_started(part)
        trainer = trainer_of(of, part, at, compared, filled)
        trainer.add_callback(Place(of.uses_of(llm), of.rows_before(part), part.rows_per_step))
        found = resuming.newest(self.checkpoints, part.ordinal, part.sha256)
        if ahead and part is self.parts[0] and not found:
            self._say_estimate(ahead, trainer)
        try:
            trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
        except ReferenceMismatch:
            # The next attempt must not read the same values again.
            trainer.references.store.clear()
            raise
        if trainer.stopped:
            raise Cancelled(
                f"Stopped after step {trainer.step} of {self.n_steps}. Its checkpoint is kept; resume goes on."
            )
        return self._finish(part, at, trainer, before)

    def _finish(self, part: Part, at: Workplace, trainer: loop.StageTrainer, before: Sequence[Link]) -> Link:
        trainer.check_weights()
        trainer.say_scores()
        about = {
            "base": at.llm.checkpoint.files_sha256,
            "before": before[-1].sha256 if before else "",
            "stage_sha256": part.sha256,
            "last_step": part.steps_before + part.n_steps,
        }

        def seal() -> Link:
            tower = at.stage.trains_tower
            link = chain.save(self.links, part.ordinal, part.name, part.phase, at.llm, trainer.peft, about, tower)
            self.events.stage_ended(part.ordinal, link)
            for path in self.checkpoints.glob("step-*"):
                shutil.rmtree(path)
            return link

        return ranks.first(seal)

    def score(self, links: Sequence[Link]) -> None:
        """Once, after the last DPO stage: how the model ranks all trained pairs now."""
        if ranks.first(self.scored.exists):
            return
        part = self.parts[len(links) - 1]
        step = part.steps_before + part.n_steps
        for scores, done, of_all in scoring.of_all_pairs(self.of, links):
            self.events.pair_scores("final", scores)
            self.events.progress(Progress(step, self.n_steps, f"scored {done} of {of_all} pairs"))
            if ranks.anyone(self.events.should_stop()):
                raise Cancelled(f"Stopped after step {step} of {self.n_steps}, while scoring pairs. Resume goes on.")
        ranks.first(self.scored.touch)

    def _compared_with(self, part: Part, before: Sequence[Link]) -> Sequence[Link]:
        """The links of the model that is the reference of a stage: all before it, or those before the first DPO."""
        if part.phase != "dpo" or self.of.config.reference == "reset":
            return before
        first = next(i for i, other in enumerate(self.parts) if other.phase == "dpo")
        return before[:first]

    def _say_estimate(self, ahead: Ahead, trainer: loop.StageTrainer) -> None:
        """Before the first step, once a run; rank 0 alone measures, as nobody waits for anybody here."""
        if ranks.rank() or self.estimated.exists():
            return
        found = forecast.estimated(ahead, forecast.measured(ahead, trainer), n_devices=ranks.size())
        self.events.note(str(found), "estimate")
        for text in forecast.warnings(ahead, found, folder=self.checkpoints, cache=self.of.cache / "features"):
            self.events.note(text, "warning")
        self.estimated.touch()

    def _say_started(self, part: Part) -> None:
        first, last = part.steps_before + 1, part.steps_before + part.n_steps
        self.events.stage_started(part.ordinal, part.name, part.phase, len(part.order), first, last)
        self.events.progress(Progress(part.steps_before, self.n_steps, f"{part.phase} {part.name}"))


def workplace_of(of: Material, part: Part, llm: HFVideoLLM, events: Events, checkpoints: Path) -> Workplace:
    """What a stage of a run is trained with, on a model that was loaded for it."""
    stage = of.stage_run(part, llm)
    videos = of.videos(part, llm, frozen_tower=not stage.trains_tower)
    return Workplace(stage, of.config, llm, videos, events, checkpoints, of.gradient_checkpointing)


def trainer_of(
    of: Material, part: Part, at: Workplace, compared: Sequence[Link], filled: ReferenceStore | None = None
) -> Any:
    """The trainer of a stage.

    Args:
        compared: The links of the model that DPO's answers are compared with.
        filled: All of that model's values, where it is not the one that the stage begins with.
    """
    if part.phase != "dpo":
        return sft.trainer(at)
    store = filled or of.reference_store(at.llm, compared)
    return dpo.trainer(at, References(store, at.videos, required=filled is not None))


def _free() -> None:
    """The next stage loads the base again, and two models may not fit; a trainer refers to itself in circles."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
