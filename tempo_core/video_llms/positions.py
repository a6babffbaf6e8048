"""Where the text after a video stands: the two layouts of multimodal rotary positions.

The one thing to know: since transformers 5.3 the text after a video starts at `start + max(h, w) / merge`, which may
overlap the video's own time positions (transformers issue 45381); before, and in the original model, it started after
the largest one. Scores differ between the two, so the layout is a setting and part of every stored response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

POSITIONS = ("hf", "max_plus_one")

RopeIndex = Callable[..., tuple[Tensor, Tensor]]


def max_plus_one(installed: RopeIndex) -> RopeIndex:
    """Wrap a model's `get_rope_index` so that text after a video starts after its largest position.

    For any number of videos per row, with or without padding on either side; rows without video stay as they are.
    """

    def get_rope_index(
        input_ids: Tensor,
        mm_token_type_ids: Tensor,
        *args: Any,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        positions, _ = installed(input_ids, mm_token_type_ids, *args, attention_mask=attention_mask, **kwargs)
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        positions = _shifted(positions, (mm_token_type_ids != 0) & real, real)
        # What generation adds to the count of tokens to get the position of the next one.
        largest = positions.amax(dim=0).masked_fill(~real, -1).amax(dim=1, keepdim=True)
        return positions, largest + 1 - real.sum(dim=1, keepdim=True)

    return get_rope_index


def _shifted(positions: Tensor, video: Tensor, real: Tensor) -> Tensor:
    """`positions` (3, B, L) with everything after each video moved behind the video's largest position."""
    positions = positions.clone()
    for row in range(len(video)):
        # From the first video on, since each moves the ones after it too.
        for start, end in _runs(video[row]):
            if end < video.shape[1] and real[row, end]:
                largest = positions[:, row, start:end].max()
                positions[:, row, end:] += torch.where(real[row, end:], largest + 1 - positions[0, row, end], 0)
    return positions


def _runs(video: Tensor) -> list[tuple[int, int]]:
    """Where unbroken runs of video tokens begin and end in one row (L,)."""
    edges = torch.diff(functional.pad(video.int(), (1, 1)))
    starts, ends = (edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist()
    return list(zip(starts, ends, strict=True))
