"""What both trainers share: the plan's order, steps counted over all stages, stop, and checkpoints that are sealed.

The one thing to know: transformers keeps the loop, the optimizer and the fast-forward of a resumed run; it has no mark
that a checkpoint is complete, so writing and choosing them is ours.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from tempo_core.errors import DatasetDrift, Diverged, ModelRefused, VideoLost
from tempo_core.recipes import Phase, RunConfig
from tempo_core.training import chain, ranks, sealed
from tempo_core.training.report import Events, StepLog
from tempo_core.training.rows import Collator, Row
from tempo_core.training.videos import VideoStore
from tempo_core.types import Metric, Progress
from tempo_core.video_llms.base import HFVideoLLM

WEIGHTS = "trainable.safetensors"
OURS = ("row", "separate")
"""Keys of a batch that are bookkeeping and no input of the model."""


@dataclass(frozen=True)
class StageRun:
    """One stage as the loop trains it: rows in order, `rows_per_step` a step, steps counted over the whole run."""

    ordinal: int
    name: str
    phase: Phase
    rows: tuple[Row, ...]
    rows_per_step: int
    rows_per_forward: int
    steps_before: int
    n_steps_of_run: int
    lr: float
    lora_alpha: int
    trains_tower: bool
    seed: int
    sha256: str
    """Of everything that decides the outcome; a checkpoint of another content is not resumed."""

    @property
    def n_steps(self) -> int:
        return len(self.rows) // self.rows_per_step


@dataclass(frozen=True)
class Workplace:
    """What a stage is trained with; `llm.model` becomes the model with the fresh adapter."""

    stage: StageRun
    config: RunConfig
    llm: HFVideoLLM
    videos: VideoStore
    events: Events
    checkpoints: Path
    gradient_checkpointing: bool


def arguments(kind: Any, at: Workplace, **more: Any) -> Any:
    """The settings of a stage for transformers' `TrainingArguments` or a child of it."""
    stage, config = at.stage, at.config
    on_cpu = at.llm.device.type == "cpu"
    return kind(
        output_dir=str(at.checkpoints),
        per_device_train_batch_size=stage.rows_per_forward,
        gradient_accumulation_steps=stage.rows_per_step // (stage.rows_per_forward * ranks.size()),
        num_train_epochs=1,
        learning_rate=stage.lr,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=config.warmup,
        gradient_checkpointing=at.gradient_checkpointing,
        use_cpu=on_cpu,
        bf16=not on_cpu and config.dtype == "bfloat16",
        fp16=False,
        seed=stage.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        enable_jit_checkpoint=False,
        **more,
    )


def lora(at: Workplace) -> LoraConfig:
    return LoraConfig(
        r=at.config.lora_r,
        lora_alpha=at.stage.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=at.llm.lora_targets,
    )


def data(at: Workplace) -> dict[str, Any]:
    """Rows by place, in training order, and what makes batches of them."""
    return {
        "train_dataset": Dataset.from_dict({"row": list(range(len(at.stage.rows)))}),
        "data_collator": Collator(at.stage.rows, at.videos),
        "processing_class": at.llm.tokenizer,
    }


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
            path = _free_name(self.checkpoints, self.step)
            n_bytes = 3 * sum(weight.numel() * weight.element_size() for weight in weights.values())
            manifest_sha256 = sealed.write(path, fill, {**about, "ranks": ranks.size()}, n_bytes=n_bytes)
            states.rmdir()
            self.events.checkpoint(self.step, self.stage.ordinal, path, manifest_sha256)
            _keep_newest(self.checkpoints)

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


def newest(checkpoints: Path, ordinal: int, stage_sha256: str) -> tuple[Path, int] | None:
    """The newest complete, unchanged checkpoint of a stage, with its step over all stages.

    Raises:
        DatasetDrift: There is one, but of other data or settings.
    """
    found = []
    for path in checkpoints.glob("step-*"):
        sealed_checkpoint = sealed.read(path)
        if sealed_checkpoint and sealed_checkpoint[0]["stage"] == ordinal:
            if sealed_checkpoint[0]["stage_sha256"] != stage_sha256:
                raise drift(path)
            n_ranks = sealed_checkpoint[0].get("ranks", 1)
            if n_ranks != ranks.size():
                raise DatasetDrift(
                    f"{path} was trained by {n_ranks} processes together, and now there are {ranks.size()}. Resume "
                    f"with {n_ranks}, or remove the folder to train this stage again from its beginning."
                )
            found.append((int(sealed_checkpoint[0]["step"]), path.stat().st_mtime_ns, path))
    if not found:
        return None
    step, _, path = max(found)
    return path, step


def drift(path: Path) -> DatasetDrift:
    return DatasetDrift(
        f"{path} was trained with other pairs, another order or other settings than this run has. "
        "Start a new run, or restore the frozen dataset and its settings."
    )


def largest_divisor(total: int, most: int) -> int:
    """The largest number up to `most` that divides `total`."""
    return max(n for n in range(1, min(total, most) + 1) if total % n == 0)


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


def _keep_newest(checkpoints: Path) -> None:
    """Two stay: should the newest turn out damaged, the one before it is there."""
    for path in sorted(checkpoints.glob("step-*"), key=lambda path: path.stat().st_mtime_ns)[:-2]:
        shutil.rmtree(path)


def _free_name(checkpoints: Path, step: int) -> Path:
    # A folder cannot replace a full one, so a step that is reached twice gets a second name.
    attempt = 1
    while (path := checkpoints / f"step-{step:06d}-{attempt}").exists():
        attempt += 1
    return path
