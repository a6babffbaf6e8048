"""How the next token is drawn: repetition penalty, temperature, top-p, then one uniform number per row and step.

The one thing to know: every row draws from its own seed and never from torch's global generator, so an answer does
not depend on which other questions happened to share its batch, and a resumed job draws what the stopped one would.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tempo_core.types import Sampling


class Draw:
    """A logits processor for HF `generate` with `do_sample=False`: leaves only the drawn token possible.

    Args:
        seeds: One per row.
        padding: True where the prompt is padding, shape (B, L); those ids are not "said before".
        never: Ids that are no part of any answer: control tokens. One video token in an answer, and the model takes
            its place for a picture when the answer is read again.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int], padding: Tensor, never: Sequence[int] = ()) -> None:
        self.sampling = sampling
        uniform = np.stack([np.random.default_rng(seed).random(sampling.max_new_tokens) for seed in seeds])
        self.uniform = torch.from_numpy(uniform.astype(np.float32)).to(padding.device)
        self.padding = padding
        self.never = torch.tensor(never, dtype=torch.long, device=padding.device)
        self.log_probs: list[Tensor] = []
        """Per step (B,): log-probability of the drawn token under the plain model (no penalty, temperature 1)."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        plain = torch.log_softmax(scores.float(), dim=-1)
        allowed = self._penalised(input_ids, scores.float()).index_fill(1, self.never, -torch.inf)
        token = self._draw(allowed)
        self.log_probs.append(plain.gather(1, token).squeeze(1))
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)

    def _penalised(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        penalty = self.sampling.repetition_penalty
        if penalty == 1.0:
            return scores
        # Padding is pointed at the row's last id, which is "said before" anyway.
        seen = input_ids.clone()
        n_prompt = self.padding.shape[1]
        seen[:, :n_prompt] = torch.where(self.padding, input_ids[:, n_prompt - 1 : n_prompt], input_ids[:, :n_prompt])
        said = scores.gather(1, seen)
        return scores.scatter(1, seen, torch.where(said < 0, said * penalty, said / penalty))

    def _draw(self, scores: Tensor) -> Tensor:
        """One token per row, shape (B, 1)."""
        if self.sampling.temperature <= 0:
            return scores.argmax(dim=-1, keepdim=True)
        probabilities = torch.softmax(scores / self.sampling.temperature, dim=-1)
        if self.sampling.top_p < 1.0:
            probabilities = _nucleus(probabilities, self.sampling.top_p)
        cumulated = probabilities.cumsum(dim=-1)
        step = self.uniform[:, len(self.log_probs) : len(self.log_probs) + 1]
        # `right=True` finds the first token whose cumulated share exceeds the number: never one of probability 0.
        token = torch.searchsorted(cumulated, step * cumulated[:, -1:], right=True)
        return token.clamp(max=scores.shape[1] - 1)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of likeliest tokens that together reach `top_p`."""
    ordered, index = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return torch.zeros_like(probabilities).scatter(1, index, ordered.masked_fill(before >= top_p, 0.0))
