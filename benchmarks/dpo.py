"""What one video, one forward is worth: DPO's forward and backward a pair, beside TRL's own trainer on separate rows.

    python benchmarks/dpo.py --json              CPU, one thread: CPU-seconds a pair, medians of interleaved rounds
    python benchmarks/dpo.py --prompt 1042       the shorter prompt of the two that were planned with
    python benchmarks/dpo.py --gpu --json        one GPU: a Qwen2.5-VL-7B with random weights, 8,192 video tokens

Targets on a CPU: `k1_over_separate` 4.5, `k1_over_trl` 6, `k4_over_separate` 14, `k4_over_trl` 19 or more, and
`max_loss_difference` at most 1e-5. On a GPU, K = 3: `k3_over_trl` 10, `k3_with_passes_over_trl` 6, `noise_ratio` at
most 2. Ratios within one run only: seconds of a shared machine say little.

Nothing is read or downloaded: the architecture is transformers' own, weights and ids are drawn. Rows, attention, hook
and reference sums are the engine's (`tempo_core.training`), the loss is TRL's on both sides.
"""

# What differs between torch 2.11 with transformers 5.17 and torch 2.15 with 5.23, where both were looked at:
# - features come in as `mm_encoder_outputs`; a body that does not know the name yet gets it here (`accept_features`);
# - the text's positions after a video are the installed version's on both sides, so the comparison holds with each.
# trl 1.16 and datasets with dill and multiprocess are pure Python and may have to be brought to the machine.

from __future__ import annotations

import argparse
import gc
import inspect
import json
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
# Of this process only, and before torch is loaded: one thread is what is measured.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
import transformers
from accelerate.utils import send_to_device
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from trl import DPOConfig, DPOTrainer

from tempo_core.training import backbone, estimate, flops, reference, tree
from tempo_core.training.tree import Prompt
from tempo_core.types import JsonDict
from tempo_core.video_llms.base import ATTENTION, VIDEO_TYPE, Encoded
from tempo_core.video_llms.checkpoints import Checkpoint
from tempo_core.video_llms.qwen_vl import QwenVL

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
"""Dense bfloat16, from the vendor's data sheets (SXM)."""
BETA = 0.1
HEAD, TAIL = 6, 12
"""Ids of a prompt before and after the video, marks included."""


@dataclass(frozen=True)
class Sizes:
    """A Qwen2.5-VL, its video and its answers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tower_hidden: int
    tower_layers: int
    tower_heads: int
    tower_intermediate: int
    whole_view: tuple[int, ...]
    """Layers of the tower that look at a whole picture, the others at windows."""
    grid: tuple[int, int, int]
    """Patches of the video: time (of two pictures), height, width. Four make a token."""
    answers: tuple[int, int]
    lora_r: int

    @property
    def n_video(self) -> int:
        return math.prod(self.grid) // 4

    @property
    def n_prompt(self) -> int:
        return HEAD + self.n_video + TAIL


# Of the language model's forward FLOPs the tower does 0.38 here, as the 7B's does at this length.
CPU = Sizes(256, 4, 8, 2, 896, 1536, 96, 2, 2, 512, (1,), (32, 16, 16), (64, 48), 8)
SHORTER = replace(CPU, grid=(16, 16, 16), answers=(96, 80))
# The numbers of Qwen2.5-VL-7B's config.json. 64 pictures of 448 x 448 are 8,192 tokens.
QWEN_7B = Sizes(
    3584, 28, 28, 4, 18944, 152064, 1280, 32, 16, 3420, (7, 15, 23, 31), (32, 32, 32), (256, 256), 32
)  # fmt: skip
TINY = Sizes(64, 2, 4, 2, 128, 256, 32, 2, 2, 64, (1,), (4, 8, 8), (9, 6), 4)


# --- what is drawn -------------------------------------------------------------------------------------------


def config_of(sizes: Sizes) -> Any:
    """The architecture. Weights are drawn with 1/sqrt(hidden), which keeps sizes from layer to layer.

    As drawn by default, a small model hardly looks at masks, positions or pictures: wrong code would look exact.
    """
    n_angles = sizes.hidden // sizes.heads // 2
    n_space = n_angles * 3 // 8
    spread = sizes.hidden**-0.5
    last = sizes.vocabulary - 1
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": sizes.vocabulary,
            "hidden_size": sizes.hidden,
            "intermediate_size": sizes.intermediate,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads,
            "num_key_value_heads": sizes.kv_heads,
            "max_position_embeddings": 32768,
            "use_sliding_window": False,
            "tie_word_embeddings": False,
            "initializer_range": spread,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [n_angles - 2 * n_space, n_space, n_space],
            },
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
        vision_config={
            "depth": sizes.tower_layers,
            "hidden_size": sizes.tower_hidden,
            "intermediate_size": sizes.tower_intermediate,
            "num_heads": sizes.tower_heads,
            "out_hidden_size": sizes.hidden,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": list(sizes.whole_view),
            "tokens_per_second": 2,
            "initializer_range": spread,
        },
        vision_start_token_id=last,
        vision_end_token_id=last - 1,
        image_token_id=last - 2,
        video_token_id=last - 3,
        tie_word_embeddings=False,
    )


def draw_model(sizes: Sizes, attention: str, device: torch.device, dtype: torch.dtype) -> QwenVL:
    """The same weights each time, made where they are used."""
    torch.manual_seed(0)
    with device:
        model = Qwen2_5_VLForConditionalGeneration._from_config(config_of(sizes), dtype=dtype, **ATTENTION[attention])
    accept_features(model.model)
    words = Tokenizer(WordLevel({"<end>": 0}, unk_token="<end>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>")
    # No text is read, so no processor is needed.
    processor = SimpleNamespace(tokenizer=tokenizer, video_token="<video>")
    return QwenVL(Checkpoint(QwenVL.family, Path("drawn"), "", 0, "qwen2_5_vl"), model, processor, "hf")


def accept_features(body: Any) -> None:
    """Give a body of an older transformers the way in that features of a frozen tower take now."""
    original = body.forward
    if "mm_encoder_outputs" in inspect.signature(original).parameters:
        return

    def forward(*args: Any, mm_encoder_outputs: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        if mm_encoder_outputs is not None:
            ids = kwargs.pop("input_ids")
            embedded = body.get_input_embeddings()(ids)
            features = torch.cat(tuple(mm_encoder_outputs["video"].pooler_output)).to(embedded)
            video = (ids == body.config.video_token_id)[..., None].expand_as(embedded)
            kwargs["inputs_embeds"] = embedded.masked_scatter(video, features)
        return original(*args, **kwargs)

    body.forward = forward


@dataclass(frozen=True)
class Pair:
    """Two answers to the one prompt about a video."""

    encoded: Encoded
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def draw_pairs(sizes: Sizes, n_pairs: int) -> list[Pair]:
    """Pairs of one video that share their chosen answer, as drop, shuffle and reverse of a video do."""
    draw = torch.Generator().manual_seed(1)

    def words(n: int) -> list[int]:
        return torch.randint(1, sizes.vocabulary - 8, (n,), generator=draw).tolist()

    start, end, video = sizes.vocabulary - 1, sizes.vocabulary - 2, sizes.vocabulary - 4
    ids = torch.tensor([*words(HEAD - 1), start, *[video] * sizes.n_video, end, *words(TAIL - 1)])
    tensors = {
        "pixel_values_videos": torch.randn(math.prod(sizes.grid), 3 * 2 * 14 * 14, generator=draw),
        "video_grid_thw": torch.tensor([sizes.grid]),
        "second_per_grid_ts": torch.tensor([1.0]),
    }
    encoded = Encoded(ids, (ids == video).long() * VIDEO_TYPE, tensors, sizes.n_video)
    n_chosen, n_rejected = sizes.answers
    chosen = (*words(n_chosen - 1), 0)
    return [Pair(encoded, chosen, (*words(n_rejected - 1), 0)) for _ in range(n_pairs)]


# --- two ways to lay out the same pairs ----------------------------------------------------------------------


@dataclass
class Separate:
    """Each answer a row with its own copy of the video's pixels: TRL's trainer with a plain video collator."""

    llm: QwenVL
    more_padding: int = 0

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        encoded = [pair.encoded for pair in pairs] * 2
        answers = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        batch = self.llm.collate(encoded, answers, side="right")
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            batch[name] = F.pad(batch[name], (0, self.more_padding))
        mask = torch.zeros_like(batch["input_ids"])
        for line, (prompt, answer) in enumerate(zip(encoded, answers, strict=True)):
            mask[line, len(prompt.input_ids) : len(prompt.input_ids) + len(answer)] = 1
        return {**batch, "completion_mask": mask}


@dataclass
class Packed:
    """One row of trees, as the engine trains: features and the reference's values are there already."""

    llm: QwenVL
    features: dict[str, Tensor]
    reference: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        inputs = self.without_reference(pairs)
        if all(pair.rejected in self.reference for pair in pairs):
            chosen, rejected = zip(
                *((self.reference[p.chosen], self.reference[p.rejected]) for p in pairs), strict=True
            )
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference.sums(chosen, rejected)
        return inputs

    def without_reference(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        one = pairs[0].encoded
        prompt = Prompt("video", one.input_ids, self.llm.positions_of(one), self.llm.video_end(one))
        answers = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        inputs = backbone.batch(tree.pack([prompt] * len(answers), answers), [self.features])
        on_device: dict[str, Any] = send_to_device(inputs, self.llm.device)
        return on_device


class Trainer(DPOTrainer):  # type: ignore[misc]
    """TRL's own, but for rows that are ready."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


@dataclass
class Way:
    """One way to compute the loss of pairs: a model with a random adapter in TRL's trainer, and its batches."""

    trainer: Any
    model: Any
    """As the trainer runs it: with the adapter, and with bfloat16 where TRL takes it."""
    batch: Any
    """`Separate` or `Packed`."""

    def loss(self, inputs: dict[str, Any]) -> Tensor:
        self.trainer.precompute_ref_logps = "ref_chosen_logps" in inputs
        self.trainer._metrics["train"].clear()
        found: Tensor = self.trainer.compute_loss(self.model, inputs)
        return found

    def stepper(self, pairs: Sequence[Pair]) -> Callable[[], float]:
        """Forward and backward, as often as called; returns the loss.

        Separate rows lie ready on the device. The packed row is made each time, features carried over: this is ours.
        """
        ready = self.batch(pairs) if isinstance(self.batch, Separate) else None

        def step() -> float:
            self.model.zero_grad()
            loss = self.loss(ready or self.batch(pairs))
            self.trainer.accelerator.backward(loss)
            return float(loss.detach())

        return step

    @torch.no_grad()
    def log_probs(self, inputs: dict[str, Any], *, adapter: bool = True) -> list[Tensor]:
        """Of every answer, one value a token."""
        given = {name: value for name, value in inputs.items() if not name.startswith("ref_")}
        mask = given.pop("completion_mask")
        labels = given["input_ids"].masked_fill(mask == 0, -100)
        asked = {**given, "labels": labels, "fused_lm_head": True, "use_cache": False}
        if adapter:
            values = self.model(**asked).log_probs
        else:
            with self.trainer.accelerator.unwrap_model(self.model).disable_adapter():
                values = self.model(**asked).log_probs
        rows = zip(values, mask[:, 1:].bool(), strict=True)
        return [row[answer[-len(row) :]].float() for row, answer in rows]

    def compute_reference(self, pairs: Sequence[Pair]) -> None:
        """The one-time pass of the packed way: what the reference store holds afterwards."""
        values = self.log_probs(self.batch.without_reference(pairs), adapter=False)
        answers = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        self.batch.reference.update(zip(answers, values, strict=True))


@dataclass(frozen=True)
class Place:
    """Where and how exactly is computed."""

    sizes: Sizes
    device: torch.device
    dtype: torch.dtype
    scratch: Path


def make_way(place: Place, attention: str, features: dict[str, Tensor] | None, *, checkpointing: bool = False) -> Way:
    """Separate rows without `features`, else packed ones; `attention` is "stock", "split" or "dense"."""
    llm = draw_model(place.sizes, "tree" if attention == "split" else "stock", place.device, place.dtype)
    if attention != "stock":
        backbone.install(llm, "split" if attention == "split" else "dense")
    on_cpu = place.device.type == "cpu"
    args = DPOConfig(
        output_dir=str(place.scratch), per_device_train_batch_size=1, report_to="none", use_cpu=on_cpu,
        bf16=place.dtype is torch.bfloat16 and not on_cpu, gradient_checkpointing=checkpointing, max_length=None,
        disable_tqdm=True, beta=BETA, seed=0,
    )  # fmt: skip
    rank = place.sizes.lora_r
    trainer = Trainer(
        model=llm.model, args=args, train_dataset=Dataset.from_dict({"row": [0]}), processing_class=llm.tokenizer,
        peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=llm.lora_targets),
        data_collator=lambda features: features,
    )  # fmt: skip
    _draw_adapter(trainer.model, rank)
    if checkpointing:
        # What the trainer's own loop does before its first step.
        trainer.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs)
    model = trainer.accelerator.prepare_model(trainer.model)
    model.train()
    return Way(trainer, model, Separate(llm) if features is None else Packed(llm, features))


def _draw_adapter(model: Any, rank: int) -> None:
    """A fresh adapter changes nothing, so policy and reference would be equal and half of the loss untested."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1 * rank**-0.5)


def encode_video(llm: QwenVL, pair: Pair) -> dict[str, Tensor]:
    """What the feature cache gives for the video: it lies in the machine's memory, not in the device's."""
    grids = {name: value for name, value in pair.encoded.tensors.items() if name in llm.grid_keys}
    return {**{name: value.cpu() for name, value in llm.features(pair.encoded).items()}, **grids}


# --- on a CPU ------------------------------------------------------------------------------------------------

TRL, SEPARATE, DENSE, SPLIT, SPLIT_4 = "TRL default", "separate rows", "tree, dense", "tree, split", "tree, split, K=4"


@dataclass
class Line:
    """One line of the table."""

    way: Way
    pairs: Sequence[Pair]
    seconds: list[float] = field(default_factory=list)
    saved_mb: float = 0.0

    @property
    def median(self) -> float:
        """CPU-seconds a pair."""
        return statistics.median(self.seconds) / len(self.pairs)


def on_cpu(place: Place, n_rounds: int) -> JsonDict:
    sizes = place.sizes
    pairs = draw_pairs(sizes, 4)
    separate = make_way(place, "stock", None)
    features = encode_video(separate.batch.llm, pairs[0])
    split, dense = make_way(place, "split", features), make_way(place, "dense", features)
    for way in (split, dense):
        way.compute_reference(pairs)
    lines = {
        TRL: Line(make_way(place, "stock", None, checkpointing=True), pairs[:1]),
        SEPARATE: Line(separate, pairs[:1]),
        DENSE: Line(dense, pairs[:1]),
        SPLIT: Line(split, pairs[:1]),
        SPLIT_4: Line(split, pairs),
    }
    losses = {name: _warm_up(line) for name, line in lines.items()}
    steps = {name: line.way.stepper(line.pairs) for name, line in lines.items()}
    for _ in range(n_rounds):
        for name, line in lines.items():
            start = time.process_time()
            steps[name]()
            line.seconds.append(time.process_time() - start)
    print(f"prompt {sizes.n_prompt} tokens, answers {sizes.answers[0]} + {sizes.answers[1]}; torch threads ", end="")
    print(f"{torch.get_num_threads()}; forward and backward, median of {n_rounds} interleaved rounds")
    print(f"{'':18}{'CPU-s a pair':>14}{'x separate':>12}{'x TRL':>8}{'kept MB a pair':>16}")
    for name, line in lines.items():
        ratios = lines[SEPARATE].median / line.median, lines[TRL].median / line.median
        print(f"{name:18}{line.median:14.3f}{ratios[0]:12.2f}{ratios[1]:8.2f}{line.saved_mb / len(line.pairs):16.1f}")
    return {
        **_ratios("k1", lines[SPLIT], lines),
        **_ratios("k4", lines[SPLIT_4], lines),
        "max_loss_difference": _loss_difference(lines, losses),
        "loss_moved_by_another_video": _moved(lines[SPLIT], losses[SPLIT]),
        "cpu_seconds_per_pair": {name: line.median for name, line in lines.items()},
        "kept_mb_per_pair": {name: line.saved_mb / len(line.pairs) for name, line in lines.items()},
        "tower_share_of_forward": _tower_share(separate.batch.llm, sizes),
        "prompt_tokens": sizes.n_prompt,
    }


def _warm_up(line: Line) -> float:
    """One step that is not timed, in which is counted what forward keeps for backward; its loss."""
    weights = {weight.untyped_storage().data_ptr() for weight in line.way.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = line.way.stepper(line.pairs)()
    line.saved_mb = sum(kept.values()) / 1e6
    return loss


def _ratios(name: str, line: Line, lines: dict[str, Line]) -> JsonDict:
    return {
        f"{name}_over_separate": lines[SEPARATE].median / line.median,
        f"{name}_over_trl": lines[TRL].median / line.median,
    }


@torch.no_grad()
def _loss_difference(lines: dict[str, Line], losses: dict[str, float]) -> float:
    """Of the first pair, and of four pairs in one tree against the mean of four times two rows."""
    separate = lines[SEPARATE].way
    others = [float(separate.loss(separate.batch([pair]))) for pair in lines[SPLIT_4].pairs[1:]]
    of_four = statistics.fmean([losses[SEPARATE], *others])
    return max(abs(losses[SPLIT] - losses[SEPARATE]), abs(losses[SPLIT_4] - of_four))


@torch.no_grad()
def _moved(line: Line, loss: float) -> float:
    """How much another video changes the loss: a difference far below it means that the video was seen."""
    batch = line.way.batch
    other = replace(batch, features={**batch.features, "features": batch.features["features"].flip(0)})
    return abs(float(line.way.loss(other(line.pairs))) - loss)


def _tower_share(llm: QwenVL, sizes: Sizes) -> float:
    """FLOPs of the tower by those of the language model's layers, for one row; the tower's attention left out."""
    weights = {name: weight.numel() for name, weight in llm.core.visual.named_parameters()}
    of_tokens = sum(n for name, n in weights.items() if name.startswith("merger"))
    of_patches = sum(weights.values()) - of_tokens
    row = replace(flops.tree_size(tokens_of(sizes, 1, n_answers=1)), n_answered=0)
    of_tower = float(2 * (4 * of_patches + of_tokens) * sizes.n_video)
    return of_tower / flops.forward_flops(row, size_of(llm))


# --- FLOPs and bytes by the engine's own formulas --------------------------------------------------------------


def size_of(llm: QwenVL) -> flops.ModelSize:
    model = llm.bare_model
    tower = sum(weight.numel() for weight in llm.core.visual.parameters())
    weights = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)
    return flops.model_size(model.config.to_dict(), n_parameters=weights, n_tower=tower)


def tokens_of(sizes: Sizes, n_pairs: int, *, n_answers: int = 2) -> tuple[flops.RowTokens, ...]:
    """Pairs of one video as the formulas take them; they share the chosen answer."""
    n_chosen, n_rejected = sizes.answers
    return tuple(
        flops.RowTokens(
            i, "video", sizes.n_prompt - TAIL, sizes.n_video, "prompt", TAIL,
            (("chosen", n_chosen), (f"rejected {i}", n_rejected))[:n_answers],
        )
        for i in range(n_pairs)
    )  # fmt: skip


def separate_flops(sizes: Sizes, size: flops.ModelSize, *, checkpointing: bool) -> float:
    """Of a pair in two rows: policy, reference, and the tower in both.

    With checkpointing TRL's adapter makes the tower's input ask for gradients, so the frozen tower is computed again
    and back-propagated, too.
    """
    row = flops.tree_size(tokens_of(sizes, 1, n_answers=1))
    text = flops.step_flops(row, size, again=checkpointing) + flops.forward_flops(row, size)
    tower = size.tower_flops * sizes.n_video * (4 if checkpointing else 2)
    return 2 * (text + tower)


# --- on a GPU --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Medians of one way on the device."""

    name: str
    pairs: int
    seconds: float
    flops: float
    peak_bytes: int
    expected_bytes: int
    passes_s: float = 0.0
    """The one-time passes for these pairs: the video through the tower, the answers through the reference."""

    @property
    def pairs_per_s(self) -> float:
        return self.pairs / self.seconds

    @property
    def with_passes(self) -> float:
        return self.pairs / (self.seconds + self.passes_s)

    def as_json(self, peak_flops: float | None) -> JsonDict:
        """`share_of_peak` counts the work that is done, what is computed a second time included."""
        return {
            "pairs_per_s": self.pairs_per_s,
            "pairs_per_s_with_passes": self.with_passes,
            "tflop_per_pair": self.flops / self.pairs / 1e12,
            "share_of_peak": self.flops / self.seconds / peak_flops if peak_flops else None,
            "peak_gb": self.peak_bytes / 1e9,
            "expected_gb": self.expected_bytes / 1e9,
        }


def on_gpu(place: Place, n_rounds: int, ks: Sequence[int], n_margins: int) -> JsonDict:
    """One way after the other, each alone in memory."""
    pairs = draw_pairs(place.sizes, max(*ks, n_margins))
    name = torch.cuda.get_device_name() if place.device.type == "cuda" else "the CPU (a rehearsal)"
    peak = next((value for part, value in PEAK_FLOPS.items() if part in name), None)
    print(f"{name}; prompt {place.sizes.n_prompt} tokens, answers {place.sizes.answers[0]} + {place.sizes.answers[1]}")
    print(f"{'':30}{'pairs/s':>10}{'with passes':>13}{'TFLOP/pair':>12}{'of peak':>9}{'peak GB':>9}{'expected':>10}")
    table: dict[str, JsonDict] = {}

    def add(made: Measured | None) -> None:
        if made is not None:
            table[made.name] = made.as_json(peak)
            _print_measured(made.name, table[made.name])

    add(_measure_separate(place, pairs, n_rounds, checkpointing=True))
    add(_measure_separate(place, pairs, n_rounds, checkpointing=False))
    features, one, other = _noise(place, pairs[:n_margins])
    margins: list[float] = []
    for attention in ("dense", "split"):
        way = make_way(place, attention, features)
        for k in ks:
            add(_measure_packed(place, way, pairs[:k], n_rounds))
        if attention == "split":
            # Three pairs a tree, as they are trained.
            margins = _margins(way, [pairs[i : i + 3] for i in range(0, n_margins, 3)])
        del way
        _free(place.device)
    found = _gpu_ratios(table)
    noise, moved = _percentile_of_difference(one, other), _percentile_of_difference(one, margins)
    print(f"margins in {place.dtype}: separate rows twice differ by {noise:.2e}, tree and rows by {moved:.2e} (95 %)")
    return {**found, "margin_noise": noise, "margin_difference": moved, "noise_ratio": moved / noise if noise else None,
            "margin_size": statistics.fmean(map(abs, one)), "device": name, "table": table}  # fmt: skip


def _print_measured(name: str, row: JsonDict) -> None:
    share = "-" if row["share_of_peak"] is None else f"{row['share_of_peak']:.2f}"
    print(
        f"{name:30}{row['pairs_per_s']:10.3f}{row['pairs_per_s_with_passes']:13.3f}{row['tflop_per_pair']:12.4g}"
        f"{share:>9}{row['peak_gb']:9.1f}{row['expected_gb']:10.1f}",
        flush=True,
    )


def _gpu_ratios(table: dict[str, JsonDict]) -> JsonDict:
    """Every packed row by TRL's default; its steps have no one-time pass."""
    found: JsonDict = {}
    base = table.get(TRL)
    for name, row in table.items():
        if base and name.startswith("tree, split"):
            k = name.rpartition("=")[2]
            found[f"k{k}_over_trl"] = row["pairs_per_s"] / base["pairs_per_s"]
            found[f"k{k}_with_passes_over_trl"] = row["pairs_per_s_with_passes"] / base["pairs_per_s"]
    return found


def _measure_separate(place: Place, pairs: Sequence[Pair], n_rounds: int, *, checkpointing: bool) -> Measured | None:
    name = TRL if checkpointing else "separate, no checkpointing"

    def measure() -> Measured:
        way = make_way(place, "stock", None, checkpointing=checkpointing)
        size = size_of(way.batch.llm)
        seconds, peak = _clocked(place.device, n_rounds, way.stepper(pairs[:1]))
        pair = tokens_of(place.sizes, 1)[0]
        # Two rows with a video of their own.
        rows = tuple(replace(pair, video=str(i), answers=pair.answers[i : i + 1]) for i in range(2))
        expected = _expected_bytes(place, size, rows, again=checkpointing)
        return Measured(
            name, 1, seconds, separate_flops(place.sizes, size, checkpointing=checkpointing), peak, expected
        )

    made = _tried(name, measure)
    _free(place.device)
    return made


def _measure_packed(place: Place, way: Way, pairs: Sequence[Pair], n_rounds: int) -> Measured | None:
    llm = way.batch.llm
    name = f"tree, {llm.core.reads_trees}, K={len(pairs)}"

    def measure() -> Measured:
        size, rows = size_of(llm), tokens_of(place.sizes, len(pairs))
        reference_s, _ = _clocked(place.device, n_rounds, lambda: way.compute_reference(pairs))
        tower_s, _ = _clocked(place.device, n_rounds, lambda: llm.features(pairs[0].encoded))
        seconds, peak = _clocked(place.device, n_rounds, way.stepper(pairs))
        work = flops.step_flops(flops.tree_size(rows), size)
        expected = _expected_bytes(place, size, rows, again=False)
        return Measured(name, len(pairs), seconds, work, peak, expected, reference_s + tower_s)

    made = _tried(name, measure)
    _free(place.device)
    return made


def _expected_bytes(place: Place, size: flops.ModelSize, rows: tuple[flops.RowTokens, ...], *, again: bool) -> int:
    stages = [flops.stage("dpo", rows, len(rows))]
    value_bytes = place.dtype.itemsize
    return estimate.memory(stages, size, lora_r=place.sizes.lora_r, again=again, value_bytes=value_bytes).total


def _clocked(device: torch.device, n_rounds: int, work: Callable[[], Any]) -> tuple[float, int]:
    """Median seconds, after one that warms up, and the most bytes that the device held."""
    on_cuda = device.type == "cuda"
    seconds = []
    for _ in range(1 + n_rounds):
        if on_cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        work()
        if on_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), torch.cuda.max_memory_allocated() if on_cuda else 0


def _tried(name: str, measure: Callable[[], Measured]) -> Measured | None:
    """A way that does not fit is said and left out: that, too, is a result."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        print(f"{name:30}out of memory", flush=True)
        return None


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _noise(place: Place, pairs: Sequence[Pair]) -> tuple[dict[str, Tensor], list[float], list[float]]:
    """Features of the video, and the margins of separate rows twice: with other padding and in another order."""
    way = make_way(place, "stock", None)
    features = encode_video(way.batch.llm, pairs[0])
    one = _margins(way, [[pair] for pair in pairs])
    padded = replace(way, batch=replace(way.batch, more_padding=64))
    swapped = [[replace(pair, chosen=pair.rejected, rejected=pair.chosen)] for pair in pairs]
    other = [-margin for margin in _margins(padded, swapped)]
    del way, padded
    _free(place.device)
    return features, one, other


def _margins(way: Way, groups: Sequence[Sequence[Pair]]) -> list[float]:
    """DPO's margins, reference in the same layout as the policy."""
    margins: list[float] = []
    for pairs in groups:
        inputs = way.batch.without_reference(pairs) if isinstance(way.batch, Packed) else way.batch(pairs)
        policy, base = way.log_probs(inputs), way.log_probs(inputs, adapter=False)
        gained = torch.stack([(a.sum() - b.sum()) for a, b in zip(policy, base, strict=True)])
        chosen, rejected = gained.chunk(2)
        margins += (BETA * (chosen - rejected)).tolist()
    return margins


def _percentile_of_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """95th, of the absolute differences."""
    differences = torch.tensor([abs(a - b) for a, b in zip(one, other, strict=True)])
    return float(differences.quantile(0.95))


# --- the command -----------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, choices=(2066, 1042), default=2066, help="tokens; on the CPU")
    parser.add_argument("--gpu", action="store_true", help="the 7B on one GPU")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 3, 12], help="K, pairs of a video; with --gpu")
    # For the test: everything runs, on a CPU too, and no figure means anything.
    parser.add_argument("--tiny-config", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    sizes = TINY if args.tiny_config else QWEN_7B if args.gpu else CPU if args.prompt == CPU.n_prompt else SHORTER
    with tempfile.TemporaryDirectory() as scratch:
        if args.gpu:
            n_margins = 12 if args.tiny_config else 24
            found = on_gpu(_gpu(sizes, Path(scratch), args.tiny_config), args.rounds, args.pairs, n_margins)
        else:
            found = on_cpu(Place(sizes, torch.device("cpu"), torch.float32, Path(scratch)), args.rounds)
    if args.json:
        print(json.dumps(found))


def _gpu(sizes: Sizes, scratch: Path, tiny: bool) -> Place:
    if not torch.cuda.is_available() and not tiny:
        raise SystemExit("--gpu needs a CUDA device, and torch sees none. Without --gpu the CPU is measured.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Place(sizes, device, torch.bfloat16, scratch)


if __name__ == "__main__":
    main()
