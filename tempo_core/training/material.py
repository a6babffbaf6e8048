"""What a run is made of: its models, rows, videos and references, each made when a stage asks for it.

The one thing to know: everything here follows from the run's data and settings; nothing here knows how far it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from tempo_core.errors import TooFew, TooLong
from tempo_core.recipes import Phase, RunConfig
from tempo_core.training import backbone, chain, features, flops, forecast, ranks, reference, workplace
from tempo_core.training.chain import Link
from tempo_core.training.features import FeatureCache, Uses
from tempo_core.training.flops import RowTokens, Stage
from tempo_core.training.forecast import Ahead, Lengths
from tempo_core.training.parts import Part
from tempo_core.training.reference import ReferenceStore
from tempo_core.training.rows import Row, example_row, pair_row
from tempo_core.training.videos import Pictures, VideoStore, key_of
from tempo_core.training.workplace import StageRun
from tempo_core.types import Example, PreferencePair
from tempo_core.video_llms.base import HFVideoLLM


class Material:
    """Of one run. `note` tells a person something: (text, kind)."""

    def __init__(
        self,
        planned: Sequence[Part],
        base: Path,
        pairs: Mapping[int, PreferencePair],
        examples: Sequence[Example],
        config: RunConfig,
        cache: Path,
        pictures: Pictures,
        note: Callable[..., None],
    ) -> None:
        self.parts, self.base, self.pairs, self.examples, self.config = planned, base, pairs, examples, config
        self.cache, self.pictures, self.note = cache, pictures, note
        self.micro_batch, self.gradient_checkpointing = config.micro_batch, config.gradient_checkpointing
        self.n_steps = planned[-1].steps_before + planned[-1].n_steps
        self.last_dpo = next((part for part in reversed(planned) if part.phase == "dpo"), None)
        self._uses: Uses | None = None
        self._made: dict[tuple[Phase, int], Row] = {}

    def save_memory(self) -> None:
        """One step down: activations computed again instead of kept; where they are already, half the micro-batch."""
        if not self.gradient_checkpointing:
            self.gradient_checkpointing = True
            done = "activations are computed again instead of kept (gradient checkpointing)"
        else:
            self.micro_batch = max(1, self.micro_batch // 2)
            done = f"{self.micro_batch} pairs go through the model at a time"
        self.note(f"The attempt before ran out of memory. Now {done}; the steps are the same.", "memory")

    def load(self, links: Sequence[Link]) -> HFVideoLLM:
        config = self.config
        dtype = config.dtype if torch.cuda.is_available() else "float32"
        llm = chain.load(self.base, links, dtype=dtype, positions=config.positions, attention="tree")
        backbone.install(llm, config.attention)
        return llm

    def reference_store(self, llm: HFVideoLLM, compared: Sequence[Link]) -> ReferenceStore:
        key = reference.reference_key(llm, [link.sha256 for link in compared], self.config.attention)
        return ReferenceStore(self.cache / "reference", key, note=self.note)

    def videos(self, part: Part, llm: HFVideoLLM, *, frozen_tower: bool) -> VideoStore:
        if not frozen_tower:
            return VideoStore(llm, self.pictures, frozen_tower=False)
        uses = self.uses_of(llm)
        uses.now = self.rows_before(part) - 1
        cache = FeatureCache(
            self.cache / "features",
            features.tower_key(llm),
            budget_bytes=self.config.feature_bytes,
            next_use=uses,
            note=self.note,
        )
        return VideoStore(llm, self.pictures, frozen_tower=True, cache=cache)

    def uses_of(self, llm: HFVideoLLM) -> Uses:
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

    def rows_before(self, part: Part) -> int:
        return sum(len(other.order) for other in self.parts[: part.ordinal - 1])

    def stage_run(self, part: Part, llm: HFVideoLLM) -> StageRun:
        config, is_sft = self.config, part.phase == "sft"
        most = 2 * self.micro_batch if is_sft else self.micro_batch
        of_rank = part.rows_per_step // ranks.size()
        if of_rank * ranks.size() != part.rows_per_step:
            raise TooFew(
                f"A step of stage {part.name} has {part.rows_per_step} rows, which {ranks.size()} processes cannot "
                "share equally. Take a multiple of their number for a step, or fewer processes."
            )
        rows_per_forward = workplace.largest_divisor(of_rank, most)
        if rows_per_forward < min(most, of_rank):
            self.note(f"{rows_per_forward} rows go through the model at a time: {most} do not divide {of_rank}.")
        return StageRun(
            ordinal=part.ordinal,
            name=part.name,
            phase=part.phase,
            rows=self.rows(part, llm),
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

    def rows(self, part: Part, llm: HFVideoLLM) -> tuple[Row, ...]:
        """The rows in training order; each is tokenised once a run, for links change no tokenizer."""
        for row_id in part.order:
            if (part.phase, row_id) not in self._made:
                self._made[part.phase, row_id] = self._row(part.phase, row_id, llm)
        return tuple(self._made[part.phase, row_id] for row_id in part.order)

    def _row(self, phase: Phase, row_id: int, llm: HFVideoLLM) -> Row:
        if phase == "sft":
            return example_row(row_id, self.examples[row_id], llm)
        return pair_row(self.pairs[row_id], llm, chosen_only=phase == "chosen_only")

    def measure(self, llm: HFVideoLLM) -> Ahead:
        """Count the tokens of all stages, before the first step: no third stage must fail on what was known before.

        Raises:
            TooLong: A row has more tokens than the run allows.
        """
        of_row = Lengths(llm)
        stages: list[Stage] = []
        lengths: dict[tuple[bool, int], int] = {}
        for part in self.parts:
            rows = {row.row_id: row for row in self.rows(part, llm)}
            counted = {row_id: of_row(row) for row_id, row in rows.items()}
            # The place of an example may be the number of a pair.
            lengths |= {(part.phase == "sft", row_id): forecast.n_tokens(row) for row_id, row in counted.items()}
            stages.append(self._stage_ahead(part, [counted[row_id] for row_id in part.order]))
        if long := {row: n for row, n in lengths.items() if n > self.config.max_tokens}:
            worst = max(long, key=lambda row: long[row])
            raise TooLong(
                f"{len(long)} of {len(lengths)} rows have more than {self.config.max_tokens} tokens (row {worst[1]} "
                f"has {long[worst]}). Leave them out before planning, or raise max_tokens; rows are never cut."
            )
        return forecast.ahead(llm, stages, self.config, again=self.gradient_checkpointing)

    def _stage_ahead(self, part: Part, rows: Sequence[RowTokens]) -> Stage:
        is_sft = part.phase == "sft"
        of_rank = max(1, part.rows_per_step // ranks.size())
        together = workplace.largest_divisor(of_rank, 2 * self.micro_batch if is_sft else self.micro_batch)
        trains_tower = is_sft and self.config.sft_tower_trainable
        return flops.stage(part.name, rows, together, compared=part.phase == "dpo", trains_tower=trains_tower)


class Place(TrainerCallback):  # type: ignore[misc]
    """Tells the feature cache how far the run is: by its steps, so that all ranks let the same videos go."""

    def __init__(self, uses: Uses, rows_before: int, rows_per_step: int) -> None:
        self._uses, self._rows_before, self._rows_per_step = uses, rows_before, rows_per_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The rows of the coming step count as uses still to come.
        self._uses.now = self._rows_before + state.global_step * self._rows_per_step - 1

    on_step_end = on_train_begin


def _seed(seed: int, ordinal: int) -> int:
    return int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])
