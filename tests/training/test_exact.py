"""The packed row of trees against TRL's own trainer on separate rows with pixels: the same numbers, family by family.

The one thing to know: the models' weights are scaled (`tests/checkpoints.sharpen`), because as drawn they hardly look
at masks, positions or pictures. The mutations at the end show that each of these differences would be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from runs import TIMES, pictures, video
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from tempo_core import video_llms
from tempo_core.prompts import PROMPT_SETS
from tempo_core.training import backbone, tree
from tempo_core.training.chain import in_tower
from tempo_core.training.rows import Collator, Row
from tempo_core.training.videos import VideoStore
from tempo_core.types import Question
from tempo_core.video_llms.base import HFVideoLLM
from tests.checkpoints import build

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "llava_onevision", "internvl", "tiny")
FRAMES = ((0, 5, 10, 15, 20, 25), (3, 8, 13, 18))
"""Two videos of different length."""
SIGMOID = {"loss_types": ["sigmoid"]}
LOSSES: dict[str, dict[str, Any]] = {
    name: {"loss_types": [name]}
    for name in (
        "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down",
        "discopop", "sft", "sigmoid_norm",
    )
} | {
    "exo_pair": {"loss_types": ["exo_pair"], "label_smoothing": 0.1},
    "robust": {"loss_types": ["robust"], "label_smoothing": 0.1},
    "js_divergence": {**SIGMOID, "f_divergence_type": "js_divergence"},
    "ld_alpha": {**SIGMOID, "ld_alpha": 0.3},
}  # fmt: skip
"""With `sigmoid` all fifteen of TRL 1.16, one other divergence, and its length desensitization."""


class Trainer(DPOTrainer):  # type: ignore[misc]
    """TRL's own, but for rows that are ready."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


@dataclass
class Side:
    """One way to compute: a model with a random adapter in TRL's trainer, and what makes its batches."""

    llm: HFVideoLLM
    trainer: Any
    batch: Callable[[Sequence[Row]], dict[str, Any]]

    def step(self, rows: Sequence[Row], **settings: Any) -> Result:
        for name, value in (SIGMOID | {"f_divergence_type": "reverse_kl", "ld_alpha": None} | settings).items():
            setattr(self.trainer, name, value)
        self.trainer._metrics["train"].clear()
        self.trainer.model.zero_grad()
        self.trainer.model.train()
        seen: list[Tensor] = []
        hook = self.trainer.model.register_forward_hook(lambda m, given, output: seen.append(output.log_probs.detach()))
        batch = self.batch(rows)
        try:
            loss = self.trainer.compute_loss(self.trainer.model, batch)
        finally:
            hook.remove()
        loss.backward()
        grads = [w.grad.flatten() for w in self.trainer.model.parameters() if w.grad is not None]
        answers = torch.cat([_answer_values(values, batch["completion_mask"]) for values in seen])
        metrics = {name: values[-1] for name, values in self.trainer._metrics["train"].items()}
        return Result(float(loss.detach()), answers, torch.cat(grads), metrics)


@dataclass(frozen=True)
class Result:
    loss: float
    log_probs: Tensor
    """Of every token of every answer: policy, then reference."""
    gradient: Tensor
    metrics: dict[str, float]


def _answer_values(log_probs: Tensor, mask: Tensor) -> Tensor:
    return log_probs[mask[:, 1:].bool()[:, -log_probs.shape[1] :]]


def _trainer(llm: HFVideoLLM, folder: Path) -> Any:
    args = DPOConfig(
        output_dir=str(folder), per_device_train_batch_size=2, report_to="none", use_cpu=True, bf16=False,
        gradient_checkpointing=False, max_length=None, disable_tqdm=True, seed=0, beta=0.1,
    )  # fmt: skip
    config = LoraConfig(r=4, lora_alpha=8, target_modules=llm.lora_targets)
    data = Dataset.from_dict({"row": [0]})
    made = Trainer(
        model=llm.model, args=args, train_dataset=data, processing_class=llm.tokenizer, peft_config=config,
        data_collator=lambda features: features,
    )  # fmt: skip
    torch.manual_seed(7)
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.05)
    return made


def separate(llm: HFVideoLLM, rows: Sequence[Row]) -> dict[str, Any]:
    """[chosen x B, rejected x B], each with its own copy of the video, padded: as every trainer does it."""
    n = len(rows[0].answers)
    encoded = [llm.encode(Question(row.prompt, _frames(llm, row))) for row in rows] * n
    answers = [row.answers[k] for k in range(n) for row in rows]
    batch = llm.collate(encoded, answers, side="right")
    mask = torch.zeros_like(batch["input_ids"])
    for line, (prompt, answer) in enumerate(zip(encoded, answers, strict=True)):
        mask[line, len(prompt.input_ids) : len(prompt.input_ids) + len(answer)] = 1
    return {**batch, "completion_mask": mask}


def _frames(llm: HFVideoLLM, row: Row) -> Any:
    return llm.shown(pictures(row.video, row.times_sha256, row.numbers), row.numbers, row.video.duration_s)


def _packed(llm: HFVideoLLM) -> Callable[[Sequence[Row]], dict[str, Any]]:
    collator = Collator((), VideoStore(llm, pictures, frozen_tower=True))

    def batch(rows: Sequence[Row]) -> dict[str, Any]:
        made = collator.batch(rows)
        made.pop("separate")
        return made

    return batch


@dataclass
class Sides:
    separate: Side
    split: Side
    dense: Side


@pytest.fixture(scope="module", params=FAMILIES)
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """One family computed in three ways, with equal weights and equal adapters."""
    folder = build(request.param, tmp_path_factory.mktemp(request.param) / "model")
    out = tmp_path_factory.mktemp("out")
    found: dict[str, Side] = {}
    for name, attention in (("separate", "stock"), ("split", "tree"), ("dense", "stock")):
        llm = video_llms.load(folder, attention=attention)
        assert isinstance(llm, HFVideoLLM)
        if name != "separate":
            backbone.install(llm, "split" if name == "split" else "dense")
        make = _packed(llm) if name != "separate" else lambda rows, llm=llm: separate(llm, rows)
        found[name] = Side(llm, _trainer(llm, out), make)
    return Sides(**found)


def make_rows(llm: HFVideoLLM, n_videos: int, n_pairs: int, *, same: bool = True) -> list[Row]:
    """Pairs of one or two videos; every second pair shares its chosen answer with the one before."""
    words = PROMPT_SETS[llm.prompt_set].describe
    rng = np.random.default_rng([n_videos, n_pairs, same])
    # Ids of ordinary words, as an answer has them.
    ids = [i for i in range(len(llm.tokenizer)) if i not in set(llm.tokenizer.all_special_ids)]
    rows: list[Row] = []
    for i in range(n_videos * n_pairs):
        chosen, rejected = ((*map(int, rng.choice(ids, 4 + (i + k) % 5)), llm.end_id) for k in range(2))
        if i % n_pairs % 2:
            chosen = rows[-1].answers[0]
        prompt = words[0 if same else i % n_pairs % 2]
        shown = replace(video(i // n_pairs), height=56, width=56)
        rows.append(Row(i, 1, shown, TIMES, FRAMES[i // n_pairs], prompt, (chosen, rejected)))
    return rows


def agree(one: Result, other: Result) -> None:
    assert (one.log_probs - other.log_probs).abs().max() <= 2e-5
    assert one.loss == pytest.approx(other.loss, abs=1e-5, rel=1e-6)
    assert (one.gradient - other.gradient).norm() <= 1e-5 * one.gradient.norm()
    assert one.gradient.norm() > 1e-4, "no gradient: this test would be blind"
    for name, value in one.metrics.items():
        # TRL counts the tokens it was shown: with us those of the answers.
        if name != "num_tokens":
            assert other.metrics[name] == pytest.approx(value, abs=2e-5), name


@pytest.mark.parametrize("attention", ["split", "dense"])
@pytest.mark.parametrize(
    ("n_videos", "n_pairs", "same"), [(1, 1, True), (2, 1, False), (1, 3, True), (1, 4, False), (2, 2, False)]
)
def test_a_row_of_trees_gives_the_numbers_of_separate_rows(
    sides: Sides, attention: str, n_videos: int, n_pairs: int, same: bool
) -> None:
    rows = make_rows(sides.separate.llm, n_videos, n_pairs, same=same)
    agree(sides.separate.step(rows), getattr(sides, attention).step(rows))


# The losses see log-probabilities only, so one family shows it.
@pytest.mark.parametrize("sides", FAMILIES[:1], indirect=True)
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_of_trl_gives_the_same(sides: Sides, name: str) -> None:
    rows = make_rows(sides.separate.llm, 2, 2, same=False)
    agree(sides.separate.step(rows, **LOSSES[name]), sides.split.step(rows, **LOSSES[name]))


def answers_alone(side: Side, batch: dict[str, Any]) -> Result:
    """Loss and gradient of SFT with the tower trained: the mean of each answer, then of the answers."""
    model, mask = side.trainer.model, batch.pop("completion_mask")
    tower = [w for name, w in side.llm.bare_model.named_parameters() if in_tower(name, side.llm.tower_names)]
    for weight in tower:
        weight.requires_grad_(True)
    model.zero_grad()
    labels = batch["input_ids"].masked_fill(mask == 0, -100)
    values = model(**batch, labels=labels, fused_lm_head=True, use_cache=False).log_probs
    loss = (-values.sum(dim=1) / mask.sum(dim=1)).mean()
    loss.backward()
    grads = [w.grad.flatten() for w in model.parameters() if w.grad is not None]
    moved = sum(float(weight.grad.norm()) for weight in tower if weight.grad is not None)
    for weight in tower:
        weight.requires_grad_(False)
        weight.grad = None
    assert moved > 1e-4, "the tower got no gradient: this test would be blind"
    return Result(float(loss.detach()), _answer_values(values.detach(), mask), torch.cat(grads), {})


def test_sft_through_the_same_row_trains_tower_and_adapter_alike(sides: Sides) -> None:
    """Two questions on one video, and one on another: branches whose gradients meet in the trunk and its pixels."""
    llm = sides.split.llm
    # Equally long videos: LLaVA-OneVision's own forward takes no others.
    made = make_rows(llm, 2, 2, same=False)[:3]
    rows = [replace(row, answers=row.answers[:1], numbers=FRAMES[0]) for row in made]
    collator = Collator((), VideoStore(llm, pictures, frozen_tower=False))
    packed = collator.batch(rows)
    packed.pop("separate")
    agree(answers_alone(sides.separate, separate(sides.separate.llm, rows)), answers_alone(sides.split, packed))


# --- mutations: each wrong way must be seen ------------------------------------------------------------------


def seen(sides: Sides, rows: Sequence[Row], change: Callable[[dict[str, Any]], None]) -> float:
    """How far the log-probabilities move when a batch is changed so."""
    right = sides.dense.step(rows)
    make = sides.dense.batch

    def wrong(rows: Sequence[Row]) -> dict[str, Any]:
        batch = make(rows)
        change(batch["tree"])
        return batch

    moved = Side(sides.dense.llm, sides.dense.trainer, wrong).step(rows)
    return float((moved.log_probs - right.log_probs).abs().max())


def a_branch_sees_its_sibling(row: dict[str, Any]) -> None:
    nodes = list(row["nodes"])
    last = len(nodes) - 1
    nodes[last] = tree.Node(nodes[last].start, nodes[last].end, last - 1)
    row["nodes"] = tuple(nodes)


def an_answer_misses_its_instruction(row: dict[str, Any]) -> None:
    nodes = list(row["nodes"])
    instructions = [i for i, node in enumerate(nodes) if node.parent == 0 and any(n.parent == i for n in nodes)]
    row["nodes"] = tuple(tree.Node(n.start, n.end, 0 if n.parent in instructions else n.parent) for n in nodes)


def positions_go_on_after_the_sibling(row: dict[str, Any]) -> None:
    last, before = row["nodes"][-1], row["nodes"][-2]
    assert last.parent == before.parent
    row["positions"] = row["positions"].clone()
    row["positions"][..., last.start : last.end] += before.end - before.start


def the_reading_is_off_by_one(row: dict[str, Any]) -> None:
    row["gather"] = (row["gather"] - 1).clamp(min=0)


def two_videos_are_swapped(row: dict[str, Any]) -> None:
    row["videos"] = tuple(reversed(row["videos"]))


@pytest.mark.parametrize(
    "change",
    [
        a_branch_sees_its_sibling,
        an_answer_misses_its_instruction,
        positions_go_on_after_the_sibling,
        the_reading_is_off_by_one,
        two_videos_are_swapped,
    ],
)
def test_a_wrong_row_would_be_seen(sides: Sides, change: Callable[[dict[str, Any]], None]) -> None:
    n_videos = 2 if change is two_videos_are_swapped else 1
    rows = make_rows(sides.separate.llm, n_videos, 4 // n_videos, same=False)
    if n_videos == 2:
        # Of equal length, so that nothing else would complain.
        rows = [replace(row, numbers=FRAMES[0]) for row in rows]
    assert seen(sides, rows, change) > 1e-2
