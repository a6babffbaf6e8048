"""A whole run: the phases of a recipe and the stages of a curriculum, one after the other, resumable at every step.

The one thing to know: `folder` alone says how far a run came. `chain/` holds the finished stages, `checkpoints/` the
one in progress, both sealed; a resumed run reads nothing else and ends with the same weights.
"""

from __future__ import annotations

import gc
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from trl.trainer.utils import add_fused_lm_head

from tempo_core.errors import Cancelled, ReferenceMismatch, TooFew, TooLong
from tempo_core.recipes import RunConfig
from tempo_core.training import (
    backbone,
    chain,
    dpo,
    features,
    flops,
    forecast,
    loop,
    parts,
    ranks,
    reference,
    sealed,
    sft,
)
from tempo_core.training.chain import Link
from tempo_core.training.dpo import References
from tempo_core.training.features import FeatureCache, Uses
from tempo_core.training.flops import RowTokens, Stage
from tempo_core.training.forecast import Ahead, Lengths
from tempo_core.training.loop import StageRun, Workplace
from tempo_core.training.parts import Part, Plan
from tempo_core.training.reference import ReferenceStore
from tempo_core.training.report import Events, Mute
from tempo_core.training.rows import Row, example_row, pair_row
from tempo_core.training.videos import Pictures, VideoStore, key_of
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
    run = _Run(planned, base, pairs, examples, config, folder, cache or folder / "cache", pictures, events)
    if save_memory:
        run.save_memory()
    links = run.begin(resume)
    for part in planned:
        if part.ordinal > len(links):
            links.append(run.stage(part, links))
            _free()
        if part is run.last_dpo:
            run.score(links[: part.ordinal])
            _free()
    ranks.first(lambda: shutil.rmtree(run.checkpoints, ignore_errors=True))
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
        cache: Path,
        pictures: Pictures,
        events: Events,
    ) -> None:
        self.parts, self.base, self.pairs, self.examples, self.config = planned, base, pairs, examples, config
        self.pictures, self.events, self.cache = pictures, events, cache
        self.micro_batch, self.gradient_checkpointing = config.micro_batch, config.gradient_checkpointing
        self.n_steps = planned[-1].steps_before + planned[-1].n_steps
        self._checked = False
        self._uses: Uses | None = None
        self._ahead: Ahead | None = None
        self.links, self.checkpoints = folder / "chain", folder / "checkpoints"
        self.scored, self.estimated = folder / "scored", folder / "estimated"
        self.last_dpo = next((part for part in reversed(planned) if part.phase == "dpo"), None)

    def save_memory(self) -> None:
        """One step down: activations computed again instead of kept; where they are already, half the micro-batch."""
        if not self.gradient_checkpointing:
            self.gradient_checkpointing = True
            done = "activations are computed again instead of kept (gradient checkpointing)"
        else:
            self.micro_batch = max(1, self.micro_batch // 2)
            done = f"{self.micro_batch} pairs go through the model at a time"
        self.events.note(f"The attempt before ran out of memory. Now {done}; the steps are the same.", "memory")

    def begin(self, resume: bool) -> list[Link]:
        """Find what is finished, and say from which step the run goes on."""
        done = ranks.first(lambda: self._tidy(resume))
        going_on = self.parts[len(done)] if len(done) < len(self.parts) else None
        checkpoint = loop.newest(self.checkpoints, going_on.ordinal, going_on.sha256) if going_on else None
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
                raise loop.drift(link.path)
        for path in sorted(self.links.glob("[0-9][0-9]-*"))[len(found) :]:
            self.events.note(f"{path.name} is damaged or comes after a damaged one: it is set aside and trained again.")
            path.rename(path.with_name(f"damaged-{path.name}-{uuid.uuid4().hex[:8]}"))
            self.scored.unlink(missing_ok=True)
        return [link for link, _ in found[: len(self.parts)]]

    def stage(self, part: Part, before: Sequence[Link]) -> Link:
        """Train one stage and seal its link."""
        compared = self._compared_with(part, before)
        filled = self._fill_references(part, compared) if len(compared) < len(before) else None
        llm = self._load(before)
        if not self._checked:
            self._check_lengths(llm)
        stage = self._stage_run(part, llm)
        self._say_started(part)
        videos = self._videos(part, llm, frozen_tower=not stage.trains_tower)
        at = Workplace(stage, self.config, llm, videos, self.events, self.checkpoints, self.gradient_checkpointing)
        if part.phase == "dpo":
            store = filled or self._reference_store(llm, compared)
            trainer = dpo.trainer(at, References(store, videos, required=filled is not None))
        else:
            trainer = sft.trainer(at)
        trainer.add_callback(_Place(self._uses_of(llm), self._rows_before(part), part.rows_per_step))
        found = loop.newest(self.checkpoints, part.ordinal, part.sha256)
        if part is self.parts[0] and not found:
            self._say_estimate(trainer)
        self._ahead = None
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
        llm = self._load(links)
        add_fused_lm_head(llm.model)
        part = self.parts[len(links) - 1]
        step = part.steps_before + part.n_steps
        rows = {row.row_id: row for other in self.parts if other.phase == "dpo" for row in self._rows(other, llm)}
        videos = self._videos(part, llm, frozen_tower=True)
        done = 0
        for share in self._shares(list(rows.values())):
            scores = [s for some in dpo.scores(dpo.log_probs(llm.model, share, videos, self.micro_batch)) for s in some]
            found = ranks.gathered(scores)
            self.events.pair_scores("final", found)
            done += len(found)
            self.events.progress(Progress(step, self.n_steps, f"scored {done} of {len(rows)} pairs"))
            if ranks.anyone(self.events.should_stop()):
                raise Cancelled(f"Stopped after step {step} of {self.n_steps}, while scoring pairs. Resume goes on.")
        ranks.first(self.scored.touch)

    def _shares(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """This rank's rows in turns, equally many turns on every rank; rows of one video stay together."""
        together = sorted(rows, key=lambda row: (row.video.sha256, row.prompt))
        n = 8 * self.micro_batch
        turns = [together[start : start + n] for start in range(0, len(together), n)]
        for start in range(0, len(turns), ranks.size()):
            place = start + ranks.rank()
            yield turns[place] if place < len(turns) else ()

    def _compared_with(self, part: Part, before: Sequence[Link]) -> Sequence[Link]:
        """The links of the model that is the reference of a stage: all before it, or those before the first DPO."""
        if part.phase != "dpo" or self.config.reference == "reset":
            return before
        first = next(i for i, other in enumerate(self.parts) if other.phase == "dpo")
        return before[:first]

    def _fill_references(self, part: Part, compared: Sequence[Link]) -> ReferenceStore:
        """What the reference says to this stage's answers: the stage's own model could not tell it.

        The stage is given this very store, which holds all of it, also where nothing can be written.
        """
        llm = self._load(compared)
        add_fused_lm_head(llm.model)
        videos = self._videos(part, llm, frozen_tower=True)
        references = References(self._reference_store(llm, compared), videos)
        # All have read what was there before anyone writes, so all share the same rows.
        ranks.wait()
        rows = {row.row_id: row for row in self._rows(part, llm)}
        lacking = [row for row in rows.values() if references.of([row]) is None]
        found = []
        for share in self._shares(lacking):
            for some, values in dpo.log_probs(llm.model, share, videos, self.micro_batch):
                references.keep(some, values)
                found.append(([row.row_id for row in some], values.cpu()))
        references.store.flush()
        if ranks.size() > 1:
            for row_ids, values in ranks.gathered(found):
                references.keep([rows[row_id] for row_id in row_ids], values)
        store = references.store
        del llm, videos, references
        _free()
        return store

    def _load(self, links: Sequence[Link]) -> HFVideoLLM:
        config = self.config
        dtype = config.dtype if torch.cuda.is_available() else "float32"
        llm = chain.load(self.base, links, dtype=dtype, positions=config.positions, attention="tree")
        backbone.install(llm, config.attention)
        return llm

    def _reference_store(self, llm: HFVideoLLM, compared: Sequence[Link]) -> ReferenceStore:
        key = reference.reference_key(llm, [link.sha256 for link in compared], self.config.attention)
        return ReferenceStore(self.cache / "reference", key, note=self.events.note)

    def _videos(self, part: Part, llm: HFVideoLLM, *, frozen_tower: bool) -> VideoStore:
        if not frozen_tower:
            return VideoStore(llm, self.pictures, frozen_tower=False)
        uses = self._uses_of(llm)
        uses.now = self._rows_before(part) - 1
        cache = FeatureCache(
            self.cache / "features",
            features.tower_key(llm),
            budget_bytes=self.config.feature_bytes,
            next_use=uses,
            note=self.events.note,
        )
        return VideoStore(llm, self.pictures, frozen_tower=True, cache=cache)

    def _uses_of(self, llm: HFVideoLLM) -> Uses:
        """When each video is shown, over the rows of all parts."""
        if self._uses is None:
            self._uses = Uses([key for part in self.parts for key in self._keys(part, llm)])
        return self._uses

    def _keys(self, part: Part, llm: HFVideoLLM) -> list[str]:
        source: Any = self.examples if part.phase == "sft" else self.pairs
        keys: dict[int, str] = {}
        for row_id in set(part.order):
            shown = source[row_id]
            numbers = [number for clip in shown.clip_key_frames for number in clip]
            keys[row_id] = key_of(llm, shown.video, shown.times_sha256, numbers)
        return [keys[row_id] for row_id in part.order]

    def _rows_before(self, part: Part) -> int:
        return sum(len(other.order) for other in self.parts[: part.ordinal - 1])

    def _stage_run(self, part: Part, llm: HFVideoLLM) -> StageRun:
        config, is_sft = self.config, part.phase == "sft"
        most = 2 * self.micro_batch if is_sft else self.micro_batch
        of_rank = part.rows_per_step // ranks.size()
        if of_rank * ranks.size() != part.rows_per_step:
            raise TooFew(
                f"A step of stage {part.name} has {part.rows_per_step} rows, which {ranks.size()} processes cannot "
                "share equally. Take a multiple of their number for a step, or fewer processes."
            )
        rows_per_forward = loop.largest_divisor(of_rank, most)
        if rows_per_forward < min(most, of_rank):
            self.events.note(f"{rows_per_forward} rows go through the model at a time: {most} do not divide {of_rank}.")
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
        of_row = Lengths(llm)
        stages: list[Stage] = []
        lengths: dict[tuple[bool, int], int] = {}
        for part in self.parts:
            rows = {row.row_id: row for row in self._rows(part, llm)}
            counted = {row_id: of_row(row) for row_id, row in rows.items()}
            # The place of an example may be the number of a pair.
            lengths |= {(part.phase == "sft", row_id): forecast.n_tokens(row) for row_id, row in counted.items()}
            stages.append(self._stage_ahead(part, [counted[row_id] for row_id in part.order]))
        self._ahead = forecast.ahead(llm, stages, self.config, again=self.gradient_checkpointing)
        self._checked = True
        if long := {row: n for row, n in lengths.items() if n > self.config.max_tokens}:
            worst = max(long, key=lambda row: long[row])
            raise TooLong(
                f"{len(long)} of {len(lengths)} rows have more than {self.config.max_tokens} tokens (row {worst[1]} "
                f"has {long[worst]}). Leave them out before planning, or raise max_tokens; rows are never cut."
            )

    def _stage_ahead(self, part: Part, rows: Sequence[RowTokens]) -> Stage:
        is_sft = part.phase == "sft"
        of_rank = max(1, part.rows_per_step // ranks.size())
        together = loop.largest_divisor(of_rank, 2 * self.micro_batch if is_sft else self.micro_batch)
        trains_tower = is_sft and self.config.sft_tower_trainable
        return flops.stage(part.name, rows, together, compared=part.phase == "dpo", trains_tower=trains_tower)

    def _say_estimate(self, trainer: loop.StageTrainer) -> None:
        """Before the first step, once a run; rank 0 alone measures, as nobody waits for anybody here."""
        run = self._ahead
        if run is None or ranks.rank() or self.estimated.exists():
            return
        found = forecast.estimated(run, forecast.measured(run, trainer), n_devices=ranks.size())
        self.events.note(str(found), "estimate")
        for text in forecast.warnings(run, found, folder=self.checkpoints, cache=self.cache / "features"):
            self.events.note(text, "warning")
        self.estimated.touch()

    def _say_started(self, part: Part) -> None:
        first, last = part.steps_before + 1, part.steps_before + part.n_steps
        self.events.stage_started(part.ordinal, part.name, part.phase, len(part.order), first, last)
        self.events.progress(Progress(part.steps_before, self.n_steps, f"{part.phase} {part.name}"))


class _Place(TrainerCallback):  # type: ignore[misc]
    """Tells the feature cache how far the run is: by its steps, so that all ranks let the same videos go."""

    def __init__(self, uses: Uses, rows_before: int, rows_per_step: int) -> None:
        self._uses, self._rows_before, self._rows_per_step = uses, rows_before, rows_per_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The rows of the coming step count as uses still to come.
        self._uses.now = self._rows_before + state.global_step * self._rows_per_step - 1

    on_step_end = on_train_begin


def _seed(seed: int, ordinal: int) -> int:
    return int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])


def _free() -> None:
    """The next stage loads the base again, and two models may not fit; a trainer refers to itself in circles."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
