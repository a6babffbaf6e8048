"""What both trainers share: the plan's order, steps counted over all stages, stop, and checkpoints that are sealed.

The one thing to know: transformers keeps the loop, the optimizer and the fast-forward of a resumed run; it has no mark
that a checkpoint is complete, so writing and choosing them is ours.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from tempo_core.errors import Diverged, ModelRefused, VideoLost
from tempo_core.recipes import RunConfig
from tempo_core.training import chain, ranks, resuming, sealed
from tempo_core.training.report import Events, StepLog
from tempo_core.training.videos import VideoStore
from tempo_core.training.workplace import StageRun, Workplace
from tempo_core.types import Metric, Progress
from tempo_core.video_llms.base import HFVideoLLM

WEIGHTS = "trainable.safetensors"
OURS = ("row", "separate")
"""Keys of a batch that are bookkeeping and no input of the model."""


class StageTrainer:
    """Mixed into TRL's DPO trainer and into transformers' own; stands before it in the bases."""

    stage: StageRun
    config: RunConfig
    events: Events
    steps: StepLog
    checkpoints: Path
    video_llm: HFVideoLLM
    videos: VideoStore
    stopped = False
    canary: float | None = None
    """How far the log-probability of a token moved when the pictures were replaced, mean."""

    def begin(self, workplace: Workplace) -> None:
        """Take what the trainer works with; called once, after the trainer's own `__init__`."""
        trainer: Any = self
        stage, config, llm = workplace.stage, workplace.config, workplace.llm
        self.stage, self.config, self.video_llm, self.videos = stage, config, llm, workplace.videos
        self.events, self.checkpoints = workplace.events, workplace.checkpoints
        self.steps = StepLog(stage.phase, config.sft_weight)
        _check_adapter(trainer.model, llm, stage.trains_tower)
        for printing in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(printing)
        trainer.add_callback(_StepEnd(self))

    @property
    def peft(self) -> Any:
        """The model with the adapter of this stage."""
        trainer: Any = self
        return trainer.model

    @property
    def step(self) -> int:
        """The step over all stages."""
        trainer: Any = self
        return self.stage.steps_before + int(trainer.state.global_step)

    def model_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The batch without bookkeeping, which is noted."""
        self.steps.add_tokens(inputs["tree"]["ids"].shape[1], int(inputs["separate"]))
        return {key: value for key, value in inputs.items() if key not in OURS}

    def check_video(self, model: Any, inputs: dict[str, Any], log_probs: Tensor) -> None:
        """The canary, once a stage: with other pictures the answers must have other probabilities.

        Raises:
            VideoLost: They do not depend on the video.
        """
        if self.canary is not None:
            return
        other = {**inputs["tree"], "videos": tuple(_negative(video) for video in inputs["tree"]["videos"])}
        given = {key: value for key, value in inputs.items() if key not in ("tree", "completion_mask")}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        with torch.no_grad():
            seen = model(**given, tree=other, labels=labels, fused_lm_head=True, use_cache=False).log_probs
        moved = (seen - log_probs).abs().sum() / inputs["completion_mask"].sum()
        self.canary = float(moved)
        if not self.canary > 0:
            raise VideoLost(
                f"With other pictures {self.video_llm.name} gives every answer the same probability: it does not see "
                "the video, and training would be on text alone. Use the model's own processor and weights."
            )

    def say_scores(self) -> None:
        """Tell how the pairs trained since the last time were ranked before the stage. All ranks must."""
        if scores := ranks.gathered(self.steps.take_scores()):
            self.events.pair_scores("before", scores)

    def check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise Diverged(
                f"The loss is {loss.item()} in step {self.step + 1} ({self.stage.name}). The last checkpoint is kept. "
                f"Start again with a smaller learning rate than {self.stage.lr:g}."
            )

    def check_weights(self) -> None:
        """A finite loss can still have left weights that are not."""
        if not all(torch.isfinite(weight).all() for weight in self._parameters().values()):
            raise Diverged(
                f"Weights are no longer finite after step {self.step} ({self.stage.name}). The last checkpoint is "
                f"kept. Start again with a smaller learning rate than {self.stage.lr:g}."
            )

    # --- what the libraries call ----------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        trainer: Any = self
        return SequentialSampler(train_dataset if train_dataset is not None else trainer.train_dataset)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        trainer: Any = self
        super().log(logs, start_time)  # type: ignore[misc]
        # The history would be written into every checkpoint; the metrics' place is the database.
        trainer.state.log_history.clear()
        if "loss" not in logs:
            return
        n_encoded, n_asked = self.videos.take_counts()
        self.steps.add_share("cache/feature_hits", n_asked - n_encoded, n_asked)
        self.steps.gather()
        values = self.steps.metrics(self.step)
        if trainer.state.global_step == 1 and self.canary is not None:
            values.append(Metric("canary/moved", self.step, self.canary))
        if self.video_llm.device.type == "cuda":
            held, there_is = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[1]
            values += [
                Metric("memory/gpu_bytes", self.step, held),
                Metric("memory/gpu_total_bytes", self.step, there_is),
            ]
        self.events.metrics(values)
        text = f"{self.stage.phase} {self.stage.name}"
        self.events.progress(Progress(self.step, self.stage.n_steps_of_run, text))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trainer: Any = self
        self.check_weights()
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self._parameters().items()}

        # Each rank draws its own random numbers and keeps their state in a file of its own.
        states = self.checkpoints / f"{sealed.UNFINISHED}random"
        ranks.first(lambda: states.mkdir(exist_ok=True))
        trainer._save_rng_state(str(states))
        ranks.wait()

        def fill(folder: Path) -> None:
            save_file(weights, folder / WEIGHTS)
            trainer._save_optimizer_and_scheduler(str(folder))
            for file in states.iterdir():
                file.rename(folder / file.name)
            trainer.state.save_to_json(str(folder / "trainer_state.json"))

        def seal() -> None:
            about = {"step": self.step, "stage": self.stage.ordinal, "stage_sha256": self.stage.sha256}
            path = resuming.free_name(self.checkpoints, self.step)
            n_bytes = 3 * sum(weight.numel() * weight.element_size() for weight in weights.values())
            try:
                manifest_sha256 = sealed.write(path, fill, {**about, "ranks": ranks.size()}, n_bytes=n_bytes)
            finally:
                shutil.rmtree(states, ignore_errors=True)
            self.events.checkpoint(self.step, self.stage.ordinal, path, manifest_sha256)
            resuming.keep_newest(self.checkpoints)

        self.say_scores()
        ranks.first(seal)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        found = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        with torch.no_grad():
            for name, weight in self._parameters().items():
                weight.copy_(found[name])

    def _parameters(self) -> dict[str, Tensor]:
        trainer: Any = self
        return {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}


class _StepEnd(TrainerCallback):  # type: ignore[misc]
    """Asks at the end of each step whether to save and whether to stop."""

    def __init__(self, trainer: StageTrainer) -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        trainer = self._trainer
        done = state.global_step >= trainer.stage.n_steps
        if ranks.anyone(trainer.events.should_stop()):
            trainer.stopped = control.should_save = control.should_training_stop = True
        elif trainer.step % trainer.config.checkpoint_every == 0 and not done:
            control.should_save = True
        return control


def _negative(video: dict[str, Tensor]) -> dict[str, Tensor]:
    """A video of other pictures: everything that was seen, with the opposite sign and in the opposite order."""
    return {
        name: -value.flip(0) if value.is_floating_point() and value.ndim > 1 else value for name, value in video.items()
    }


def _check_adapter(model: Any, llm: HFVideoLLM, trains_tower: bool) -> None:
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    adapted = [name for name in trained if "lora_" in name and chain.in_tower(name, llm.tower_names)]
    if adapted:
        raise ModelRefused(
            f"The adapter of {llm.name} would change its vision tower ({adapted[0]}). "
            "Name layers of the language model only in the family's lora_targets."
        )
    if not any("lora_" in name for name in trained):
        raise ModelRefused(f"The lora_targets {llm.lora_targets!r} of {llm.name} name none of its layers.")
    if not trains_tower and any(chain.in_tower(name, llm.tower_names) for name in trained):
        raise ModelRefused(f"The vision tower of {llm.name} would be trained in a phase that keeps it frozen.")
