"""Pairs and examples as rows of token ids, and the batches made of them.

The one thing to know: prompt and answer are tokenised apart and joined as ids (joining strings would move the borders
of tokens), nothing is ever cut, and a row without video tokens is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tempo_core.errors import VideoLost
from tempo_core.training import backbone, tree
from tempo_core.training.videos import VideoStore, shown_size
from tempo_core.types import Example, Frames, PreferencePair, Question, Video
from tempo_core.video_llms.base import HFVideoLLM

TINY = 56
"""Side in pixels of the blank pictures with which a prompt's text is counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt about one video with its answers' ids: (chosen, rejected), or one alone."""

    row_id: int
    """pair_id, or the example's place in the SFT set."""
    level: int | None
    video: Video
    times_sha256: str
    numbers: tuple[int, ...]
    """Frame numbers of the pictures: all key frames of the clean timeline, in order."""
    prompt: str
    answers: tuple[tuple[int, ...], ...]
    kind: str = ""
    """Of the perturbation; examples have none."""


def pair_row(pair: PreferencePair, llm: HFVideoLLM, *, chosen_only: bool = False) -> Row:
    texts = (pair.chosen,) if chosen_only else (pair.chosen, pair.rejected)
    answers = tuple(tuple(llm.encode_answer(text)) for text in texts)
    numbers = tuple(number for clip in pair.clip_key_frames for number in clip)
    return Row(pair.pair_id, pair.level, pair.video, pair.times_sha256, numbers, pair.prompt, answers, pair.kind)


def example_row(row_id: int, example: Example, llm: HFVideoLLM) -> Row:
    answers = (tuple(llm.encode_answer(example.answer)),)
    numbers = tuple(number for clip in example.clip_key_frames for number in clip)
    return Row(row_id, None, example.video, example.times_sha256, numbers, example.question, answers)


def too_long(pairs: Iterable[PreferencePair], llm: HFVideoLLM, max_tokens: int) -> dict[int, int]:
    """The pairs that must be left out before a plan is made: pair_id -> its number of tokens.

    Counts prompt and longer answer. No video is decoded: the pictures' number and size give the video's tokens.

    Raises:
        VideoLost: A pair without pictures, or a model whose prompt loses them.
    """
    count = TokenCount(llm)
    lengths = {pair.pair_id: count(pair_row(pair, llm)) for pair in pairs}
    return {pair_id: n_tokens for pair_id, n_tokens in lengths.items() if n_tokens > max_tokens}


class TokenCount:
    """Counts a row's tokens from the size of its pictures, each size and each prompt once."""

    def __init__(self, llm: HFVideoLLM) -> None:
        self._llm = llm
        self._of_text: dict[str, int] = {}
        self._of_video: dict[tuple[int, int, int], int] = {}

    def __call__(self, row: Row) -> int:
        if not row.numbers:
            raise VideoLost(
                f"Row {row.row_id} has no key frames: training would be on text alone. Scan its video again."
            )
        return self.text(row.prompt) + self.video(row) + max(len(answer) for answer in row.answers)

    def text(self, prompt: str) -> int:
        """Tokens of a prompt beside its video's."""
        if prompt not in self._of_text:
            encoded = self._llm.encode(Question(prompt, _blank(2, TINY, TINY)))
            self._of_text[prompt] = len(encoded.input_ids) - encoded.n_video_tokens
        return self._of_text[prompt]

    def video(self, row: Row) -> int:
        """Tokens of the row's video."""
        shape = (len(row.numbers), *shown_size(row.video, self._llm.long_side))
        if shape not in self._of_video:
            n_video_tokens = self._llm.encode(Question(row.prompt, _blank(*shape))).n_video_tokens
            if not n_video_tokens:
                raise VideoLost(
                    f"{self._llm.name} makes no token of {shape[0]} pictures. Use the model's own processor."
                )
            self._of_video[shape] = n_video_tokens
        return self._of_video[shape]


class Collator:
    """Rows as one packed row of trees: [chosen x B, rejected x B] (or one answer a row) as TRL expects to read them."""

    def __init__(self, rows: Sequence[Row], store: VideoStore) -> None:
        self.rows = rows
        self.store = store

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Any]:
        places = [int(feature["row"]) for feature in features]
        return {**self.batch([self.rows[place] for place in places]), "row": torch.tensor(places)}

    def batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What the model is given, and `separate`: the tokens that rows of their own would have had."""
        videos: dict[str, dict[str, Tensor]] = {}
        prompts = []
        for row in rows:
            prompts.append(self.store.prompt(row))
            # At once: the next video may push this one out of memory.
            videos[prompts[-1].video_key] = self.store.tensors(prompts[-1].video_key)
        n_answers = len(rows[0].answers)
        packed = tree.pack(prompts * n_answers, [row.answers[k] for k in range(n_answers) for row in rows])
        batch = backbone.batch(packed, [videos[key] for key in packed.trunks])
        n_separate = sum(len(prompt.input_ids) for prompt in prompts) * n_answers + int(packed.mask.sum())
        return {**batch, "separate": torch.tensor(n_separate)}


def _blank(n_pictures: int, height: int, width: int) -> Frames:
    return Frames(np.zeros((n_pictures, height, width, 3), np.uint8), tuple(range(n_pictures)), 1.0)
