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

import numpy as np
import torch

from tempo_core.errors import Cancelled, TooLong
from tempo_core.recipes import RunConfig
from tempo_core.training import chain, dpo, loop, parts, sealed, sft
from tempo_core.training.chain import Link
from tempo_core.training.loop import StageRun
from tempo_core.training.parts import Part, Plan
from tempo_core.training.report import Events
from tempo_core.training.rows import Collator, Row, TokenCount, example_row, pair_row
from tempo_core.training.videos import Pictures, VideoStore
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
    resume: bool = True,
) -> Trained:
    """Train a recipe and return its chain of adapters.

    Args:
        pairs: By pair_id; at least those that the plan names.
        examples: The SFT set; may be empty when the recipe has no SFT phase.
        folder: The run's own; `chain/` and `checkpoints/` in it are ours.
        resume: Go on where the folder says; False begins again and removes what is there.

    Raises:
        DatasetDrift: The plan names a pair that is missing, or the folder holds a run of other data or settings.
        TooLong: A row has more tokens than `config.max_tokens` (ask `rows.too_long` before planning).
        VideoLost: A prompt without video tokens.
        Diverged: The loss or a weight is no longer finite; the last good checkpoint is kept.
        Cancelled: `events.should_stop()`; a checkpoint is kept.
    """
    planned = parts.of_run(plan, pairs, examples, config, checkpoints.fingerprint(base))
    run = _Run(planned, base, pairs, examples, config, folder, pictures, events)
    links = run.begin(resume)
    for part in planned[len(links) :]:
        links.append(run.stage(part, links))
        _free()
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return Trained(tuple(links))


class _Run:
    """The parts of a run that do not change from stage to stage."""

    def __init__(
        self,
        planned: Sequence[Part],
        base: Path,
        pairs: Mapping[int, PreferencePair],
        examples: Sequence[Example],
        config: RunConfig,
        folder: Path,
        pictures: Pictures,
        events: Events,
    ) -> None:
        self.parts, self.base, self.pairs, self.examples, self.config = planned, base, pairs, examples, config
        self.pictures, self.events = pictures, events
        self.n_steps = planned[-1].steps_before + planned[-1].n_steps
        self._checked = False
        self.links, self.checkpoints = folder / "chain", folder / "checkpoints"

    def begin(self, resume: bool) -> list[Link]:
        """Find what is finished, and say from which step the run goes on."""
        for place in (self.links, self.checkpoints):
            if not resume:
                shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
            sealed.sweep(place)
        done = self._finished()
        going_on = self.parts[len(done)] if len(done) < len(self.parts) else None
        checkpoint = loop.newest(self.checkpoints, going_on.ordinal, going_on.sha256) if going_on else None
        step = checkpoint[1] if checkpoint else going_on.steps_before if going_on else self.n_steps
        self.events.resumed(step)
        # Said again, because a kill between sealing a link and saying so would lose it.
        for part, link in zip(self.parts, done, strict=False):
            self._say_started(part)
            self.events.stage_ended(part.ordinal, link)
        return done

    def _finished(self) -> list[Link]:
        found = chain.read(self.links)
        for part, (link, about) in zip(self.parts, found, strict=False):
            if about["stage_sha256"] != part.sha256:
                raise loop.drift(link.path)
        for path in sorted(self.links.glob("[0-9][0-9]-*"))[len(found) :]:
            self.events.note(f"{path.name} is damaged or comes after a damaged one: it is set aside and trained again.")
            path.rename(path.with_name(f"damaged-{path.name}-{uuid.uuid4().hex[:8]}"))
        return [link for link, _ in found[: len(self.parts)]]

    def stage(self, part: Part, before: Sequence[Link]) -> Link:
        """Train one stage and seal its link."""
        dtype = self.config.dtype if torch.cuda.is_available() else "float32"
        llm = chain.load(self.base, before, dtype=dtype)
        if not self._checked:
            self._check_lengths(llm)
        stage = self._stage_run(part, llm)
        self._say_started(part)
        store = VideoStore(llm, self.pictures, frozen_tower=not stage.trains_tower)
        collator = Collator(stage.rows, store, llm.pad_id)
        make = dpo.trainer if part.phase == "dpo" else sft.trainer
        trainer = make(stage, self.config, llm, collator, self.events, self.checkpoints)
        found = loop.newest(self.checkpoints, part.ordinal, part.sha256)
        trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
        if trainer.stopped:
            raise Cancelled(
                f"Stopped after step {trainer.step} of {self.n_steps}. Its checkpoint is kept; resume goes on."
            )
        return self._finish(part, stage, llm, trainer, before)

    def _finish(
        self, part: Part, stage: StageRun, llm: HFVideoLLM, trainer: loop.StageTrainer, before: Sequence[Link]
    ) -> Link:
        trainer.check_weights()
        if margins := trainer.steps.take_margins():
            self.events.pair_scores(margins)
        about = {
            "base": llm.checkpoint.files_sha256,
            "before": before[-1].sha256 if before else "",
            "stage_sha256": part.sha256,
            "last_step": part.steps_before + part.n_steps,
        }
        link = chain.save(self.links, part.ordinal, part.name, part.phase, llm, trainer.peft, about, stage.trains_tower)
        self.events.stage_ended(part.ordinal, link)
        for path in self.checkpoints.glob("step-*"):
            shutil.rmtree(path)
        return link

    def _stage_run(self, part: Part, llm: HFVideoLLM) -> StageRun:
        config, is_sft = self.config, part.phase == "sft"
        most = 2 * config.micro_batch if is_sft else config.micro_batch
        rows_per_forward = loop.largest_divisor(part.rows_per_step, most)
        if rows_per_forward < min(most, part.rows_per_step):
            self.events.note(
                f"{rows_per_forward} rows go through the model at a time: {most} do not divide {part.rows_per_step}."
            )
        return StageRun(
            ordinal=part.ordinal,
            name=part.name,
            phase=part.phase,
            rows=self._rows(part, llm),
            rows_per_step=part.rows_per_step,
            rows_per_forward=rows_per_forward,
            steps_before=part.steps_before,
            n_steps_of_run=self.n_steps,
            lr=config.sft_lr if is_sft else config.dpo_lr,
            lora_alpha=config.sft_lora_alpha if is_sft else config.lora_alpha,
            trains_tower=is_sft and config.sft_tower_trainable,
            seed=_seed(config.seed, part.ordinal),
            sha256=part.sha256,
        )

    def _rows(self, part: Part, llm: HFVideoLLM) -> tuple[Row, ...]:
        """The rows in training order; a row that comes twice is tokenised once."""
        if part.phase == "sft":
            made = {place: example_row(place, self.examples[place], llm) for place in set(part.order)}
        else:
            only = part.phase == "chosen_only"
            made = {pair_id: pair_row(self.pairs[pair_id], llm, chosen_only=only) for pair_id in set(part.order)}
        return tuple(made[row_id] for row_id in part.order)

    def _check_lengths(self, llm: HFVideoLLM) -> None:
        """Of all stages, before the first step: a run must not fail in its third stage on what was known before."""
        count = TokenCount(llm)
        lengths = {row.row_id: count(row) for part in self.parts for row in self._rows(part, llm)}
        self._checked = True
        if long := {row_id: n for row_id, n in lengths.items() if n > self.config.max_tokens}:
            worst = max(long, key=lambda row_id: long[row_id])
            raise TooLong(
                f"{len(long)} of {len(lengths)} rows have more than {self.config.max_tokens} tokens (row {worst} has "
                f"{long[worst]}). Leave them out before planning, or raise max_tokens; rows are never cut."
            )

    def _say_started(self, part: Part) -> None:
        first, last = part.steps_before + 1, part.steps_before + part.n_steps
        self.events.stage_started(part.ordinal, part.name, part.phase, len(part.order), first, last)
        self.events.progress(Progress(part.steps_before, self.n_steps, f"{part.phase} {part.name}"))


def _seed(seed: int, ordinal: int) -> int:
    return int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])


def _free() -> None:
    """The next stage loads the base again, and two models may not fit; a trainer refers to itself in circles."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
