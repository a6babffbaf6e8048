"""DPO on TRL's trainer, with video: TRL keeps the loss, we give it rows, an order and eyes for single pairs.

The one thing to know: TRL calls the policy and then the reference in every forward and keeps means only. A hook on the
model sees both calls' log-probabilities, one value a token, and everything we report comes from these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from tempo_core.errors import ReferenceMismatch
from tempo_core.recipes import RunConfig
from tempo_core.training import loop
from tempo_core.training.loop import StageRun, StageTrainer
from tempo_core.training.report import Events, PairValues
from tempo_core.training.rows import Collator
from tempo_core.video_llms.base import HFVideoLLM

TOLERANCE = {torch.float32: 1e-4}
"""How far a margin may be from 0 before the first step; a fresh adapter changes nothing."""

ROUNDED_TOLERANCE = 1e-2
"""The same in bfloat16: our choice, far below what a wrong reference gives."""


class DPOStage(StageTrainer, DPOTrainer):  # type: ignore[misc]
    """One stage of DPO against the merged model before it."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Our rows are token ids already; TRL would take them for text and train without the video.
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Tensor:
        seen: list[Tensor] = []
        places = inputs["row"].tolist()
        inputs = self.model_inputs(inputs)
        hook = self.accelerator.unwrap_model(self.model).register_forward_hook(
            lambda module, given, output: seen.append(output.log_probs)
        )
        try:
            loss: Tensor = super()._compute_loss(model, inputs, return_outputs)
        finally:
            hook.remove()
        policy, reference = seen
        n_tokens = inputs["completion_mask"].sum(dim=1)
        if self.config.sft_weight > 0:
            # TRL's own "sft" term is a mean over the tokens of a forward, so it would change with the micro-batch and
            # favour long answers. Ours is a mean per answer, as in the phase `chosen_only`.
            chosen = policy.sum(dim=1) / n_tokens
            loss = loss - self.config.sft_weight * chosen[: len(places)].mean()
        self.check_finite(loss)
        self._note(places, policy.detach().sum(dim=1), reference.sum(dim=1), n_tokens)
        return loss

    def _note(self, places: list[int], policy: Tensor, reference: Tensor, n_tokens: Tensor) -> None:
        columns = [values.tolist() for part in (policy, reference, n_tokens) for values in part.chunk(2)]
        for place, chosen, rejected, of_chosen, of_rejected, n_chosen, n_rejected in zip(places, *columns, strict=True):
            row = self.stage.rows[place]
            values = PairValues(
                row.row_id, row.level, chosen, rejected, of_chosen, of_rejected, n_chosen, n_rejected, self.beta
            )
            self._check_reference(values)
            self.steps.add_pair(values)

    def _check_reference(self, values: PairValues) -> None:
        if self.state.global_step:
            return
        limit = TOLERANCE.get(self.video_llm.model.dtype, ROUNDED_TOLERANCE)
        if abs(values.margin) > limit:
            raise ReferenceMismatch(
                f"Before the first step of {self.stage.name} pair {values.pair_id} has the margin {values.margin:.3g}, "
                f"and must have 0 (up to {limit:g}): policy and reference differ. Report this; do not use the run."
            )


def trainer(
    stage: StageRun, config: RunConfig, llm: HFVideoLLM, collator: Collator, events: Events, folder: Path
) -> Any:
    """The trainer of one stage; `llm.model` becomes the model with the fresh adapter."""
    options = {
        "beta": config.beta,
        "loss_type": "sigmoid",
        "max_length": None,
        "precompute_ref_log_probs": False,
        "disable_dropout": True,
    }
    made = DPOStage(
        model=llm.model,
        args=loop.arguments(DPOConfig, stage, config, llm, folder, **options),
        train_dataset=loop.dataset(stage),
        data_collator=collator,
        processing_class=llm.tokenizer,
        peft_config=loop.lora(llm, config.lora_r, stage.lora_alpha),
    )
    made.begin(stage, config, events, llm, folder)
    return made
