"""An embedded model while it is being made: what the lessons need to know of its architecture.

The one thing to know: a shot that was seen is a row of K * D numbers, the K visual tokens that the model makes of it,
so that lessons and scores deal in shots and never in tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempo_core.video_llms.tiny_words import END, PAD, PIXEL_MEAN, PIXEL_STD, VIDEO


@dataclass(frozen=True, slots=True)
class Layout:
    """How a video stands in a prompt."""

    tokens_per_clip: int = 1
    ends: bool = False
    """One more video token tells that the video is over."""
    position_rows: int = 3
    """3: time, height and width have positions of their own; 1: a token's place is all there is."""

    def video(self, n_clips: int) -> list[int]:
        return [VIDEO] * (self.tokens_per_clip * n_clips + self.ends)

    def n_clips(self, prompt: Sequence[int]) -> int:
        return (prompt.count(VIDEO) - self.ends) // self.tokens_per_clip if VIDEO in prompt else 0

    def positions(self, row: list[int]) -> Tensor:
        """(R, L). Video token t at (p + t, p, p); the text goes on after the largest (a test compares)."""
        out = torch.arange(len(row)).expand(self.position_rows, -1).clone()
        if VIDEO in row:
            at, n = row.index(VIDEO), row.count(VIDEO)
            out[1:, at : at + n] = at
        return out


class Student:
    """One architecture. A new one gives the names and the functions that raise here."""

    family: ClassVar[str]
    layout: ClassVar[Layout]

    def __init__(self, seed: int) -> None:
        self.model: Any = self.build(seed)
        self.model.generation_config.bos_token_id = None
        self.model.generation_config.eos_token_id = END
        self.model.generation_config.pad_token_id = PAD

    @property
    def text(self) -> Any:
        return self.model.model.language_model

    @property
    def hidden(self) -> int:
        return int(self.model.config.text_config.hidden_size)

    def build(self, seed: int) -> Any:
        """The model with fresh weights."""
        raise NotImplementedError

    def processor(self) -> Any:
        raise NotImplementedError

    def tower(self) -> list[nn.Module]:
        """What makes visual tokens of pictures; frozen once it sees."""
        raise NotImplementedError

    def seers(self) -> list[nn.Parameter]:
        """What learns to see."""
        return [weight for part in self.tower() for weight in part.parameters()]

    def pixels(self, shots: Tensor) -> Tensor:
        """(S, 2, 48, 48, 3) uint8 as the tower takes them."""
        raise NotImplementedError

    def see(self, pixels: Tensor) -> Tensor:
        """The visual tokens of S shots, (S, K * D)."""
        raise NotImplementedError

    def read(self, seen: Tensor) -> Tensor:
        """What the model makes of each shot where its object and action are read, (S, D)."""
        return seen

    def mark(self, by: Tensor) -> None:
        """Add (D,) to every visual token."""
        raise NotImplementedError

    def embed(self, ids: Tensor, seen: Tensor | None) -> Tensor:
        """Tokens (B, L) as vectors (B, L, D), shots in the places of the video tokens."""
        embedded = self.text.embed_tokens(ids)
        if seen is None or not len(seen):
            return embedded  # type: ignore[no-any-return]
        where = (ids == VIDEO) & ~self._ends(ids)
        return embedded.masked_scatter(where[..., None].expand_as(embedded), seen.to(embedded.dtype))  # type: ignore[no-any-return]

    def _ends(self, ids: Tensor) -> Tensor:
        return self.layout.ends & (ids == VIDEO) & (ids.roll(-1, 1) != VIDEO)

    def start(self, seed: int) -> None:
        """A mimetic start (Trockman and Kolter 2023): attend to what is alike (q = k) and copy it (o = v^T)."""
        noise = torch.Generator().manual_seed(seed)
        n_heads = int(self.model.config.text_config.num_attention_heads)
        for layer in self.text.layers:
            attention = layer.self_attn
            with torch.no_grad():
                drawn = [torch.randn(self.hidden, self.hidden // n_heads, generator=noise) for _ in range(n_heads)]
                alike = torch.cat([torch.linalg.qr(x)[0].T for x in drawn])
                for projection in (attention.q_proj, attention.k_proj):
                    projection.weight.copy_(alike + 0.02 * torch.randn(alike.shape, generator=noise))
                turn = torch.linalg.qr(torch.randn(self.hidden, self.hidden, generator=noise))[0] * 0.4
                attention.v_proj.weight.copy_(turn)
                attention.o_proj.weight.copy_(turn.T)


def normalised(shots: Tensor) -> Tensor:
    return shots.float().div_(255).sub_(PIXEL_MEAN).div_(PIXEL_STD)


def fresh_words(student: Student) -> Tensor:
    """Draw the embeddings of all words anew, of length 1 each on average; returns a copy that stays as it is."""
    words = student.text.embed_tokens.weight
    with torch.no_grad():
        words.normal_(0, 1 / math.sqrt(student.hidden))
        words[PAD] = 0
    return words.detach().clone()  # type: ignore[no-any-return]
