"""A whole run: the phases of a recipe and the stages of a curriculum, one after the other, resumable at every step.

The one thing to know: `folder` alone says how far a run came. `chain/` holds the finished stages, `checkpoints/` the
one in progress, both sealed; a resumed run reads nothing else and ends with the same weights.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from tempo_core.errors import Cancelled, DatasetDrift, EmptyStage, TooFew, TooLong
from tempo_core.recipes import RECIPES, Phase, RunConfig
from tempo_core.training import chain, dpo, loop, sealed, sft
from tempo_core.training.chain import Link
from tempo_core.training.loop import StageRun
from tempo_core.training.report import Events
from tempo_core.training.rows import Collator, Row, TokenCount, example_row, pair_row
from tempo_core.training.videos import Pictures, VideoStore
from tempo_core.types import Example, PlannedPair, PreferencePair, Progress, Stage
from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.base import HFVideoLLM

OUTCOME_FREE = ("preset", "checkpoint_every", "micro_batch", "gradient_checkpointing")
"""Settings that may differ between the attempts of a run."""


class Plan(Protocol):
    """What training reads of `curriculum.TrainingPlan`."""

    @property
    def planned(self) -> tuple[PlannedPair, ...]: ...

    @property
    def stages(self) -> tuple[Stage, ...]: ...


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run leaves: the links to merge onto the base, in order (`chain.load`, `chain.export`)."""

    chain: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class _Part:
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
    parts = _parts(plan, pairs, examples, config, checkpoints.fingerprint(base))
    run = _Run(base, pairs, examples, config, folder, pictures, events, parts[-1].steps_before + parts[-1].n_steps)
    links = run.begin(parts, resume)
    for part in parts[len(links) :]:
        links.append(run.stage(part, links))
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return Trained(tuple(links))


class _Run:
    """The parts of a run that do not change from stage to stage."""

    def __init__(
        self,
        base: Path,
        pairs: Mapping[int, PreferencePair],
        examples: Sequence[Example],
        config: RunConfig,
        folder: Path,
        pictures: Pictures,
        events: Events,
        n_steps: int,
    ) -> None:
        self.base, self.pairs, self.examples, self.config = base, pairs, examples, config
        self.pictures, self.events, self.n_steps = pictures, events, n_steps
        self.links, self.checkpoints = folder / "chain", folder / "checkpoints"

    def begin(self, parts: Sequence[_Part], resume: bool) -> list[Link]:
        """Find what is finished, and say from which step the run goes on."""
        for place in (self.links, self.checkpoints):
            if not resume:
                shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
            sealed.sweep(place)
        done = self._finished(parts)
        going_on = parts[len(done)] if len(done) < len(parts) else None
        checkpoint = loop.newest(self.checkpoints, going_on.ordinal, going_on.sha256) if going_on else None
        step = checkpoint[1] if checkpoint else going_on.steps_before if going_on else self.n_steps
        self.events.resumed(step)
        # Said again, because a kill between sealing a link and saying so would lose it.
        for part, link in zip(parts, done, strict=False):
            self._say_started(part)
            self.events.stage_ended(part.ordinal, link)
        return done

    def _finished(self, parts: Sequence[_Part]) -> list[Link]:
        found = chain.read(self.links)
        for part, (link, about) in zip(parts, found, strict=False):
            if about["stage_sha256"] != part.sha256:
                raise loop.drift(link.path)
        for path in sorted(self.links.glob("[0-9][0-9]-*"))[len(found) :]:
            self.events.note(f"{path.name} is damaged and will be trained again.")
            shutil.rmtree(path)
        return [link for link, _ in found[: len(parts)]]

    def stage(self, part: _Part, before: Sequence[Link]) -> Link:
        """Train one stage and seal its link."""
        dtype = self.config.dtype if torch.cuda.is_available() else "float32"
        llm = chain.load(self.base, before, dtype=dtype)
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
        self, part: _Part, stage: StageRun, llm: HFVideoLLM, trainer: loop.StageTrainer, before: Sequence[Link]
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
        # The next stage loads the base again; two models at once may not fit.
        llm.model = None
        del trainer
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
        return link

    def _stage_run(self, part: _Part, llm: HFVideoLLM) -> StageRun:
        config, is_sft = self.config, part.phase == "sft"
        most = 2 * config.micro_batch if is_sft else config.micro_batch
        rows_per_forward = loop.largest_divisor(part.rows_per_step, most)
        if rows_per_forward < min(most, part.rows_per_step):
            self.events.note(
                f"{rows_per_forward} rows go through the model at a time: {most} do not divide {part.rows_per_step}."
            )
        rows = self._rows(part, llm)
        self._check_lengths(rows, llm)
        return StageRun(
            ordinal=part.ordinal,
            name=part.name,
            phase=part.phase,
            rows=rows,
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

    def _rows(self, part: _Part, llm: HFVideoLLM) -> tuple[Row, ...]:
        """The rows in training order; a row that comes twice is tokenised once."""
        if part.phase == "sft":
            made = {place: example_row(place, self.examples[place], llm) for place in set(part.order)}
        else:
            only = part.phase == "chosen_only"
            made = {pair_id: pair_row(self.pairs[pair_id], llm, chosen_only=only) for pair_id in set(part.order)}
        return tuple(made[row_id] for row_id in part.order)

    def _check_lengths(self, rows: Sequence[Row], llm: HFVideoLLM) -> None:
        count = TokenCount(llm)
        lengths = {row.row_id: count(row) for row in rows}
        if long := {row_id: n for row_id, n in lengths.items() if n > self.config.max_tokens}:
            worst = max(long, key=lambda row_id: long[row_id])
            raise TooLong(
                f"{len(long)} of {len(lengths)} rows have more than {self.config.max_tokens} tokens (row {worst} has "
                f"{long[worst]}). Leave them out before planning, or raise max_tokens; rows are never cut."
            )

    def _say_started(self, part: _Part) -> None:
        first, last = part.steps_before + 1, part.steps_before + part.n_steps
        self.events.stage_started(part.ordinal, part.name, part.phase, len(part.order), first, last)
        self.events.progress(Progress(part.steps_before, self.n_steps, f"{part.phase} {part.name}"))


# --- what will be trained, before any model is loaded -----------------------------------------------------------


def _parts(
    plan: Plan, pairs: Mapping[int, PreferencePair], examples: Sequence[Example], config: RunConfig, base: str
) -> list[_Part]:
    if config.recipe not in RECIPES:
        raise ValueError(f"recipe is {config.recipe!r}, must be one of {', '.join(RECIPES)}")
    parts: list[_Part] = []
    before = base
    for phase in RECIPES[config.recipe]:
        for name, order, rows_per_step in _orders(phase, plan, pairs, examples, config):
            last = parts[-1] if parts else None
            steps_before = last.steps_before + last.n_steps if last else 0
            content = [_content(phase, row_id, pairs, examples) for row_id in order]
            before = _sha256([before, phase, name, rows_per_step, content, _settings(config)])
            parts.append(_Part(len(parts) + 1, name, phase, order, rows_per_step, steps_before, before))
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
    return {key: value for key, value in asdict(config).items() if key not in OUTCOME_FREE}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _seed(seed: int, ordinal: int) -> int:
    return int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])
