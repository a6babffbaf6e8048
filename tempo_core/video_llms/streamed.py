"""An answer token by token, as transformers' `generate` hands it out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor
from transformers.generation.streamers import BaseStreamer


class Streamed(BaseStreamer):  # type: ignore[misc]
    """Turns the tokens of one answer into its text so far; whatever `told` raises ends the answer.

    The whole text is decoded each time: a word or a letter may be several tokens, and later ones may change it.
    """

    def __init__(self, tokenizer: Any, end_ids: Collection[int], told: Callable[[str, int], None]) -> None:
        self.tokenizer, self.end_ids, self.told = tokenizer, end_ids, told
        self.ids: list[int] | None = None
        """None until the prompt, which comes first, has passed."""

    def put(self, value: Tensor) -> None:
        if self.ids is None:
            self.ids = []
            return
        token = int(value.reshape(-1)[-1])
        if token not in self.end_ids:
            self.ids.append(token)
            text = self.tokenizer.decode(self.ids, skip_special_tokens=True).strip()
            self.told(text, len(self.ids))

    def end(self) -> None:
        """Nothing is held back."""
