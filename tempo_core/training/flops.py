"""Multiplications and additions of packed rows, counted from their lengths and a model's sizes.

The one thing to know: what trees share is counted once, as it is computed once, and what a token looks at is counted
by the tree, so these are the numbers of the rows as they are trained and not of some average row. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The sizes that decide about work and memory. `tower` is the vision tower with its projector."""

    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    n_parameters: int
    n_tower: int
    tower_hidden: int
    tower_layers: int
    tower_intermediate: int
    patches_per_token: int
    feature_levels: int
    """1, and one more for each deepstack level of Qwen3-VL."""

    @property
    def linear_flops(self) -> float:
        """Of one token through all layers, attention left out."""
        wide = self.heads * self.head_dim + self.kv_heads * self.head_dim
        return 2.0 * self.layers * (2 * self.hidden * wide + 3 * self.hidden * self.intermediate)

    @property
    def attention_flops(self) -> float:
        """Of one token that looks at one other, in all layers."""
        return 4.0 * self.layers * self.heads * self.head_dim

    @property
    def head_flops(self) -> float:
        """Of one token that meets the vocabulary."""
        return 2.0 * self.hidden * self.vocabulary

    @property
    def tower_flops(self) -> float:
        """Of one video token: its patches through the tower (attention left out, some 5 % of it)."""
        return 2.0 * self.n_tower * self.patches_per_token

    def saved_values(self) -> int:
        """Values that one layer keeps of one token for the backward pass."""
        wide = (3 * self.heads + 2 * self.kv_heads) * self.head_dim
        return 4 * self.hidden + wide + 3 * self.intermediate

    def tower_saved_values(self) -> int:
        """The same of one patch and one layer of the tower, whose heads are as wide as itself."""
        return 9 * self.tower_hidden + 3 * self.tower_intermediate

    def n_adapter(self, rank: int) -> int:
        """Parameters of a LoRA on all linear layers of the language model."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * (self.hidden + query) + 2 * (self.hidden + key)
        return rank * self.layers * (attention + 3 * (self.hidden + self.intermediate))


def model_size(config: Mapping[str, Any], *, n_parameters: int, n_tower: int) -> ModelSize:
    """Read the sizes from a model's config.json.

    Args:
        n_tower: Parameters of the vision tower and its projector.
    """
    text, vision = config["text_config"], config["vision_config"]
    hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
    tower_hidden = int(vision["hidden_size"])
    return ModelSize(
        hidden=hidden,
        layers=int(text["num_hidden_layers"]),
        intermediate=int(text["intermediate_size"]),
        heads=heads,
        kv_heads=int(text.get("num_key_value_heads") or heads),
        head_dim=int(text.get("head_dim") or hidden // heads),
        vocabulary=int(text["vocab_size"]),
        n_parameters=n_parameters,
        n_tower=n_tower,
        tower_hidden=tower_hidden,
        tower_layers=int(vision.get("depth") or vision["num_hidden_layers"]),
        tower_intermediate=int(vision.get("intermediate_size") or 4 * tower_hidden),
        # LLaVA-OneVision and InternVL also make about one token of four patches.
        patches_per_token=int(vision.get("spatial_merge_size") or 2) ** 2,
        feature_levels=1 + len(vision.get("deepstack_visual_indexes") or ()),
    )


@dataclass(frozen=True, slots=True)
class RowTokens:
    """One row's lengths in tokens. What is named alike is computed once in a tree."""

    row_id: int
    video: str
    """Anything that names the video as it is shown."""
    n_head: int
    """Up to the end of the video."""
    n_video: int
    """Video tokens alone."""
    prompt: str
    n_tail: int
    """From the end of the video to the answer."""
    answers: tuple[tuple[str, int], ...]
    """Text and tokens: (chosen, rejected), or one alone."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Rows in training order, cut into forwards."""

    name: str
    forwards: tuple[tuple[RowTokens, ...], ...]
    compared: bool = True
    """DPO: with a reference, whose tower is frozen."""
    trains_tower: bool = False


def stage(name: str, rows: Sequence[RowTokens], rows_per_forward: int, **kind: bool) -> Stage:
    cuts = range(0, len(rows), rows_per_forward)
    return Stage(name, tuple(tuple(rows[i : i + rows_per_forward]) for i in cuts), **kind)


@dataclass(frozen=True, slots=True)
class TreeSize:
    """A packed row: its tokens, how many tokens they look at in all, and the answers' tokens that meet the head."""

    n_tokens: int
    n_looks: float
    n_answered: int
    n_video: int


def tree_size(rows: Iterable[RowTokens]) -> TreeSize:
    """The tree of one forward: each video, each instruction to it and each answer to that once."""
    rows = tuple(rows)
    heads = {row.video: (row.n_head, row.n_video) for row in rows}
    tails = {(row.video, row.prompt): row.n_tail for row in rows}
    answers = {(row.video, row.prompt, text): n for row in rows for text, n in row.answers}
    looks = sum(n * n / 2 for n, _ in heads.values())
    looks += sum(n * (heads[video][0] + n / 2) for (video, _), n in tails.items())
    looks += sum(n * (heads[v][0] + tails[v, prompt] + n / 2) for (v, prompt, _), n in answers.items())
    return TreeSize(
        n_tokens=sum(n for n, _ in heads.values()) + sum(tails.values()) + sum(answers.values()),
        n_looks=looks,
        n_answered=sum(n for row in rows for _, n in row.answers),
        n_video=sum(n for _, n in heads.values()),
    )


def forward_flops(tree: TreeSize, size: ModelSize) -> float:
    return _layers(tree, size) + size.head_flops * tree.n_answered


def step_flops(tree: TreeSize, size: ModelSize, *, again: bool = False) -> float:
    """Forward and backward with frozen weights under a LoRA: backward is once the linear part, twice the attention.

    Args:
        again: Activations are computed again instead of kept (gradient checkpointing).
    """
    layers = _layers(tree, size)
    backward = layers + size.attention_flops * tree.n_looks
    return layers * (2 if again else 1) + backward + 2 * size.head_flops * tree.n_answered


def _layers(tree: TreeSize, size: ModelSize) -> float:
    return size.linear_flops * tree.n_tokens + size.attention_flops * tree.n_looks
