"""DPO on TRL's trainer, with video: TRL keeps the loss, we give it rows, an order and eyes for single pairs.

The one thing to know: TRL asks the policy and, unless it is given stored values, the reference, and keeps means only.
A hook on the model sees the log-probabilities, one value a token, and everything we report comes from these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from tempo_core.errors import ReferenceMismatch
from tempo_core.training import reference, workplace
from tempo_core.training.loop import StageTrainer
from tempo_core.training.reference import ReferenceStore
from tempo_core.training.report import PairScore, PairValues
from tempo_core.training.rows import Collator, Row
from tempo_core.training.videos import VideoStore
from tempo_core.training.workplace import Workplace

TOLERANCE = {torch.float32: 1e-4}
"""How far a margin may be from 0 before the first step; a fresh adapter changes nothing."""

ROUNDED_TOLERANCE = 1e-2
"""The same in bfloat16: our choice, far below what a wrong reference gives."""


class References:
    """The reference's log-probabilities of a stage's rows, read from the store or written to it.

    Args:
        required: The model without its adapter is another one than the reference (`reference="base"` in a later
            stage), so an answer that is not stored is an error.
    """

    def __init__(self, store: ReferenceStore, videos: VideoStore, *, required: bool = False) -> None:
        self.store, self.required = store, required
        self._videos = videos
        self._keys: dict[int, tuple[str, ...]] = {}

    def of(self, rows: Sequence[Row]) -> list[Tensor] | None:
        """Per token, [chosen x B, rejected x B]; None unless all are stored.

        Raises:
            ReferenceMismatch: One is missing that nothing here could compute.
        """
        keys = [self._keys_of(row)[k] for k in range(2) for row in rows]
        found = [self.store.get(key) for key in keys]
        known = [value for value in found if value is not None]
        if len(known) == len(found):
            return known
        if self.required:
            raise ReferenceMismatch(
                f"{len(found) - len(known)} of {len(found)} answers have no stored log-probability of the model before "
                "the first stage, and this stage's model is not that one. Start the run again with reference=reset."
            )
        return None

    def keep(self, rows: Sequence[Row], per_token: Tensor) -> None:
        """`per_token` (2B, A), padded behind each answer."""
        values = iter(per_token.cpu())
        for k in range(2):
            for row in rows:
                self.store.add(self._keys_of(row)[k], next(values)[: len(row.answers[k])])

    def _keys_of(self, row: Row) -> tuple[str, ...]:
        if row.row_id not in self._keys:
            prompt = self._videos.prompt(row)
            self._keys[row.row_id] = tuple(
                reference.answer_key(prompt.video_key, prompt.input_ids, answer) for answer in row.answers
            )
        return self._keys[row.row_id]


class TempoDPOTrainer(StageTrainer, DPOTrainer):  # type: ignore[misc]
    """One stage of DPO against the merged model before it."""

    references: References

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Our rows are token ids already; TRL would take them for text and train without the video.
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Tensor:
        rows = [self.stage.rows[place] for place in inputs["row"].tolist()]
        inputs = self.model_inputs(inputs)
        known = self.references.of(rows)
        self.precompute_ref_logps = known is not None
        if known is not None:
            stored = [value.to(self.accelerator.device) for value in known]
            sums = reference.sums(stored[: len(rows)], stored[len(rows) :], self.ld_alpha)
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = sums
        seen: list[Tensor] = []
        hook = self.accelerator.unwrap_model(self.model).register_forward_hook(
            lambda module, given, output: seen.append(output.log_probs)
        )
        try:
            loss: Tensor = super()._compute_loss(model, inputs, return_outputs)
        finally:
            hook.remove()
        policy = seen[0]
        n_tokens = inputs["completion_mask"].sum(dim=1)
        if self.config.sft_weight > 0:
            # TRL's own "sft" term is a mean over the tokens of a forward, so it would change with the micro-batch and
            # favour long answers. Ours is a mean per answer, as in the phase `chosen_only`.
            chosen = policy.sum(dim=1) / n_tokens
            loss = loss - self.config.sft_weight * chosen[: len(rows)].mean()
        self.check_finite(loss)
        if known is None:
            self.references.keep(rows, seen[1])
            of_reference = seen[1].sum(dim=1)
        else:
            of_reference = torch.stack([value.sum() for value in stored])
        self.steps.add_share("cache/reference_hits", len(rows) * (known is not None), len(rows))
        self._note(rows, policy.detach().sum(dim=1), of_reference, n_tokens)
        self.check_video(model, inputs, policy.detach())
        return loss

    def _note(self, rows: Sequence[Row], policy: Tensor, reference: Tensor, n_tokens: Tensor) -> None:
        columns = [values.tolist() for part in (policy, reference, n_tokens) for values in part.chunk(2)]
        for row, chosen, rejected, of_chosen, of_rejected, n_chosen, n_rejected in zip(rows, *columns, strict=True):
            values = PairValues(
                row.row_id,
                row.level,
                chosen,
                rejected,
                of_chosen,
                of_rejected,
                n_chosen,
                n_rejected,
                self.beta,
                row.kind,
            )
            self._check_reference(values)
            self.steps.add_pair(values)

    def _check_reference(self, values: PairValues) -> None:
        # A later stage that is compared with the base begins away from it.
        if self.state.global_step or self.references.required:
            return
        limit = TOLERANCE.get(self.video_llm.model.dtype, ROUNDED_TOLERANCE)
        if abs(values.margin) > limit:
            raise ReferenceMismatch(
                f"Before the first step of {self.stage.name} pair {values.pair_id} has the margin {values.margin:.3g}, "
                f"and must have 0 (up to {limit:g}): policy and reference differ. Report this; do not use the run."
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.references.store.flush()
        super()._save_checkpoint(model, trial)


def trainer(at: Workplace, references: References) -> Any:
    """The trainer of one stage."""
    options = {
        "beta": at.config.beta,
        "loss_type": "sigmoid",
        "ld_alpha": at.config.ld_alpha,
        "max_length": None,
        "precompute_ref_log_probs": False,
        "disable_dropout": True,
    }
    args = workplace.arguments(DPOConfig, at, **options)
    made = TempoDPOTrainer(model=at.llm.model, args=args, peft_config=workplace.lora(at), **workplace.data(at))
    made.begin(at)
    made.references = references
    return made


def log_probs(model: Any, rows: Sequence[Row], videos: VideoStore, per_forward: int) -> Iterator[tuple[Any, Tensor]]:
    """(rows, per-token log-probabilities (2B, A) of their answers), forward only, rows of one video together.

    `model` has TRL's fused head.
    """
    collator = Collator((), videos)
    device = next(model.parameters()).device
    together = sorted(rows, key=lambda row: (row.video.sha256, row.prompt))
    for start in range(0, len(together), per_forward):
        chosen = together[start : start + per_forward]
        inputs = send_to_device(collator.batch(chosen), device)
        inputs.pop("separate")
        labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)
        rounded = torch.autocast(device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16)
        with torch.no_grad(), rounded:
            yield chosen, model(**inputs, labels=labels, fused_lm_head=True, use_cache=False).log_probs


def scores(batches: Iterable[tuple[Sequence[Row], Tensor]]) -> Iterator[list[PairScore]]:
    """How a model ranks the pairs, batch by batch."""
    for rows, values in batches:
        chosen, rejected = values.sum(dim=1).chunk(2)
        yield [
            PairScore(row.row_id, float(of_chosen), float(of_rejected), *map(len, row.answers))
            for row, of_chosen, of_rejected in zip(rows, chosen, rejected, strict=True)
        ]
