"""Training on answers alone: the SFT phase, and the control that trains on the chosen answers of the same pairs.

The one thing to know: the loss is the mean over an answer's tokens, then over the answers, so a long answer counts as
much as a short one and the cut into micro-batches changes nothing.
"""

from __future__ import annotations

from typing import Any

from peft import get_peft_model
from torch import Tensor
from transformers import Trainer, TrainingArguments, set_seed
from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

from tempo_core.training import chain, workplace
from tempo_core.training.loop import StageTrainer
from tempo_core.training.report import AnswerValues
from tempo_core.training.workplace import Workplace
from tempo_core.video_llms.base import HFVideoLLM


class AnswerStage(StageTrainer, Trainer):  # type: ignore[misc]
    """One stage on answers."""

    # Our loss is a mean over rows, so the loop must divide by the number of micro-batches.
    loss_is_scaled_for_ga = False

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        places = inputs["row"].tolist()
        inputs = self.model_inputs(inputs)
        mask = inputs.pop("completion_mask")
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        log_probs = model(**inputs, labels=labels, fused_lm_head=True).log_probs
        self.check_video(model, {**inputs, "completion_mask": mask}, log_probs.detach())
        losses = -log_probs.sum(dim=1) / mask.sum(dim=1)
        loss: Tensor = losses.mean()
        self.check_finite(loss)
        for place, value in zip(places, losses.tolist(), strict=True):
            row = self.stage.rows[place]
            self.steps.add_answer(AnswerValues(row.row_id, row.level, value))
        return loss


def trainer(at: Workplace) -> Any:
    """The trainer of one stage."""
    set_seed(at.stage.seed)
    # The same head as in DPO: on a GPU only the answers' positions meet the vocabulary.
    add_fused_lm_head(at.llm.model)
    model = get_peft_model(at.llm.model, workplace.lora(at))
    disable_dropout_in_model(model)
    if at.stage.trains_tower:
        _free_tower(model, at.llm)
    if at.gradient_checkpointing:
        # Without it the frozen embeddings' output asks for no gradient and nothing behind it gets one.
        model.enable_input_require_grads()
    made = AnswerStage(model=model, args=workplace.arguments(TrainingArguments, at), **workplace.data(at))
    made.begin(at)
    return made


def _free_tower(model: Any, llm: HFVideoLLM) -> None:
    for name, weight in model.named_parameters():
        if chain.in_tower(name, llm.tower_names):
            # In bfloat16 steps of 1e-4 would be rounded away.
            weight.data = weight.data.float()
            weight.requires_grad_(True)
