"""The model's body, taught to read a packed row of trees; the head and TRL's losses above it never notice.

The one thing to know: the hook sits on the body (`model.base_model`), where TRL's fused head asks for hidden states.
Given a `tree` it runs the packed row once and hands back the hidden states of the answers alone, in the shape that TRL
asked for, (rows, 1 + A). Without one it is the original, so generating is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.modeling_outputs import BaseModelOutputWithPast

from tempo_core.errors import ModelRefused
from tempo_core.training.tree import Packed, Split, dense_mask, splits

Attention = Literal["split", "dense"]
NAME = "tree_sdpa"


def tree_sdpa(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    tree_splits: Sequence[Split] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed row, two calls a tree: the trunk on itself, the branches on trunk and branches.

    Shapes as transformers gives them: query (1, H, S, D), key and value (1, KV, S, D); returns (1, S, H, D). Nothing of
    size S x S is ever made, keys are read in place, and a trunk takes the causal kernel.
    """
    if tree_splits is None:
        out: Any = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return out[0], None
    parts = []
    for start, trunk, end, mask in tree_splits:
        own = slice(start, trunk)
        parts.append(_attend(query[:, :, own], key[:, :, own], value[:, :, own], scaling, None))
        if mask is not None:
            whole = slice(start, end)
            parts.append(_attend(query[:, :, trunk:end], key[:, :, whole], value[:, :, whole], scaling, mask))
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, mask: Tensor | None) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    # On a GPU only the causal kernel reads grouped heads in place; with a mask torch would fall back to the slow one.
    grouped = groups > 1 and (mask is None or query.device.type == "cpu")
    if groups > 1 and not grouped:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=grouped
    )


AttentionInterface.register(NAME, tree_sdpa)
AttentionMaskInterface.register(NAME, sdpa_mask)


def install(llm: Any, attention: Attention = "split") -> None:
    """Teach the body of a freshly loaded model to read packed rows; before any adapter is put on.

    Raises:
        ModelRefused: It was taught already, or was not loaded with `attention="tree"`.
    """
    model = llm.bare_model
    body = model.base_model
    if hasattr(body, "reads_trees"):
        raise ModelRefused(f"{llm.name} reads packed rows already. Load it again for another stage.")
    loaded_with = model.config.get_text_config()._attn_implementation
    if attention == "split" and loaded_with != NAME:
        raise ModelRefused(f"{llm.name} was loaded with the attention {loaded_with!r}. Load it with attention='tree'.")
    original = body.forward

    def forward(*args: Any, tree: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        if tree is None:
            return original(*args, **kwargs)
        for ours in ("input_ids", "attention_mask"):
            kwargs.pop(ours, None)
        nodes, device = tree["nodes"], tree["ids"].device
        if attention == "split":
            kwargs["tree_splits"] = splits(nodes, device)
            # A mask of four dimensions goes through to the attention unchanged, and is not looked at there.
            kwargs["attention_mask"] = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
        else:
            kwargs["attention_mask"] = dense_mask(nodes, device)
        out = original(
            input_ids=tree["ids"], position_ids=tree["positions"], **llm.video_inputs(tree["videos"]), **kwargs
        )
        gather = tree["gather"]
        read = out.last_hidden_state[0].index_select(0, gather.flatten())
        return BaseModelOutputWithPast(last_hidden_state=read.view(*gather.shape, -1))

    body.forward = forward
    body.reads_trees = attention


def batch(packed: Packed, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    """A packed row as the keys of a batch: what TRL looks at, and `tree` for the hook.

    Args:
        videos: Features or pixels of `packed.trunks`, in order.
    """
    # Column 0 is the token before the answer. It carries the hidden state that predicts the first one.
    attended = packed.mask.clone()
    attended[:, 0] = 1
    return {
        "input_ids": packed.answers,
        "attention_mask": attended,
        "completion_mask": packed.mask,
        "tree": {
            "ids": packed.ids,
            "positions": packed.positions,
            "gather": packed.gather,
            "nodes": packed.nodes,
            "videos": tuple(videos),
        },
    }
