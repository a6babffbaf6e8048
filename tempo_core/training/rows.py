"""Pairs and examples as rows of token ids, and the plain batches made of them.

The one thing to know: prompt and answer are tokenised apart and joined as ids (joining strings would move the borders
of tokens), nothing is ever cut, and a row without video tokens is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tempo_core.errors import VideoLost
from tempo_core.training.videos import Prompt, VideoStore
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


def pair_row(pair: PreferencePair, llm: HFVideoLLM, *, chosen_only: bool = False) -> Row:
    texts = (pair.chosen,) if chosen_only else (pair.chosen, pair.rejected)
    answers = tuple(tuple(llm.encode_answer(text)) for text in texts)
    numbers = tuple(number for clip in pair.clip_key_frames for number in clip)
    return Row(pair.pair_id, pair.level, pair.video, pair.times_sha256, numbers, pair.prompt, answers)


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
        return self._text(row.prompt) + self._video(row) + max(len(answer) for answer in row.answers)

    def _text(self, prompt: str) -> int:
        if prompt not in self._of_text:
            encoded = self._llm.encode(Question(prompt, _blank(2, TINY, TINY)))
            self._of_text[prompt] = len(encoded.input_ids) - encoded.n_video_tokens
        return self._of_text[prompt]

    def _video(self, row: Row) -> int:
        shape = (len(row.numbers), *_shown(row.video, self._llm.long_side))
        if shape not in self._of_video:
            n_video_tokens = self._llm.encode(Question(row.prompt, _blank(*shape))).n_video_tokens
            if not n_video_tokens:
                raise VideoLost(
                    f"{self._llm.name} makes no token of {shape[0]} pictures. Use the model's own processor."
                )
            self._of_video[shape] = n_video_tokens
        return self._of_video[shape]


class Collator:
    """Rows as TRL's plain layout: [chosen x B, rejected x B] (or one answer a row), padded on the right."""

    def __init__(self, rows: Sequence[Row], store: VideoStore, pad_id: int) -> None:
        self.rows = rows
        self.store = store
        self.pad_id = pad_id

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        places = [int(feature["row"]) for feature in features]
        rows = [self.rows[place] for place in places]
        prompts = [self.store.prompt(row.video, row.times_sha256, row.numbers, row.prompt) for row in rows]
        n_answers = len(rows[0].answers)
        lines = [
            _line(prompt, row.answers[k]) for k in range(n_answers) for row, prompt in zip(rows, prompts, strict=True)
        ]
        pad = partial(pad_sequence, batch_first=True)
        batch = {
            "input_ids": pad([ids for ids, *_ in lines], padding_value=self.pad_id),
            "attention_mask": pad([torch.ones_like(ids) for ids, *_ in lines]),
            "completion_mask": pad([mask for _, mask, *_ in lines]),
            "mm_token_type_ids": pad([types for _, _, types, _ in lines]),
            # Explicit, once per prompt: the model's own way is a loop in Python over every row of every forward.
            "position_ids": pad([positions.T for *_, positions in lines]).permute(2, 0, 1),
            "row": torch.tensor(places),
        }
        for key in prompts[0].tensors:
            batch[key] = torch.cat([prompt.tensors[key] for prompt in prompts] * n_answers)
        return batch


def _line(prompt: Prompt, answer: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ids, completion mask, token types, all (L,), and positions (3, L) of one prompt with one answer."""
    n_answer = len(answer)
    ids = torch.cat([prompt.input_ids, torch.tensor(answer, dtype=torch.long)])
    mask = torch.zeros_like(ids)
    mask[len(prompt.input_ids) :] = 1
    types = torch.nn.functional.pad(prompt.types, (0, n_answer))
    # A prompt ends in text, so the three rows of its last position are equal, and the answer continues from there.
    after = prompt.positions[:, -1:] + 1 + torch.arange(n_answer)
    return ids, mask, types, torch.cat([prompt.positions, after], dim=1)


def _blank(n_pictures: int, height: int, width: int) -> Frames:
    return Frames(np.zeros((n_pictures, height, width, 3), np.uint8), tuple(range(n_pictures)), 1.0)


def _shown(video: Video, long_side: int | None) -> tuple[int, int]:
    """Height and width of its pictures as the model is shown them."""
    scale = 1.0 if long_side is None else min(1.0, long_side / max(video.height, video.width))
    return max(1, round(video.height * scale)), max(1, round(video.width * scale))
