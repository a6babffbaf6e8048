"""A prompt as token ids and what the vision tower needs, one by one and as padded batches.

The one thing to know: `VideoMetadata` is always given. Without it the processor assumes 24 pictures a second, and
neighbouring pictures silently share one temporal position: the model could not see any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.video_utils import VideoMetadata

from tempo_core.types import Frames, Question

VIDEO_TYPE = 2
"""`mm_token_type_ids` of a video token; text is 0."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt, not padded: `input_ids` and `mm_token_type_ids` (L,), and what the vision tower needs."""

    input_ids: Tensor
    mm_token_type_ids: Tensor
    tensors: dict[str, Tensor]
    """Pixels and grids of the first video by the names that the family's forward gives them; empty without a video."""
    n_video_tokens: int
    more: tuple[dict[str, Tensor], ...] = ()
    """The same of every further video, where the question was about several clips."""

    @property
    def videos(self) -> tuple[dict[str, Tensor], ...]:
        return (self.tensors, *self.more) if self.tensors else ()


def conversation(question: Question) -> list[dict[str, Any]]:
    content: list[dict[str, str]] = [{"type": "video"} for _ in question.videos]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question.text}]}]


def channels_first(frames: Frames) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.pixels)).permute(0, 3, 1, 2)


def metadata(frames: Frames) -> Any:
    n_pictures, height, width = frames.pixels.shape[:3]
    return VideoMetadata(
        total_num_frames=n_pictures,
        fps=frames.fps,
        frames_indices=list(range(n_pictures)),
        duration=n_pictures / frames.fps,
        height=height,
        width=width,
    )


def padded(
    encoded: Sequence[Encoded], answers: Sequence[Sequence[int]], pad_id: int, side: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts with their answers as ids, attention mask and token types, each (B, L)."""
    tails = [torch.tensor(answer, dtype=torch.long) for answer in answers]
    rows = [torch.cat([e.input_ids, tail]) for e, tail in zip(encoded, tails, strict=True)]
    types = [torch.cat([e.mm_token_type_ids, tail * 0]) for e, tail in zip(encoded, tails, strict=True)]
    return (
        _pad(rows, pad_id, side),
        _pad([torch.ones_like(row) for row in rows], 0, side),
        _pad(types, 0, side),
    )


def _pad(rows: Sequence[Tensor], value: int, side: str) -> Tensor:
    return pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side=side)
