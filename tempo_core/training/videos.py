"""Prompts and videos of rows, each made once.

The one thing to know: while the vision tower is frozen a video is kept as the tower's **features**, in memory and on
disk, and a hit saves decoding, preprocessing and the tower; while it is trained, its pixels are kept, in memory only.
With the features lies the head of its prompts, all ids up to the end of the video; what a person asks comes after it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempo_core.errors import VideoLost
from tempo_core.training.features import FeatureCache, video_key
from tempo_core.training.tree import Prompt
from tempo_core.types import Frames, Question, Video
from tempo_core.video_llms.base import VIDEO_TYPE, Encoded, HFVideoLLM

Pictures = Callable[[Video, str, Sequence[int]], NDArray[np.uint8]]
"""(video, times_sha256, frame numbers) -> RGB (T, H, W, 3)."""

MEMORY_BYTES = 4_000_000_000
"""Our choice: 50 videos of 8,000 tokens as features of a 7B model; a small world fits whole."""

BLANK_PX = 56
"""Side of the two blank pictures with which the text after a video is encoded."""

PIXELS = "pixel_values"
"""What the names of tensors begin with that only the tower reads."""


class Shown(Protocol):
    """What is needed of a row to find its video."""

    @property
    def video(self) -> Video: ...

    @property
    def times_sha256(self) -> str: ...

    @property
    def numbers(self) -> tuple[int, ...]: ...

    @property
    def prompt(self) -> str: ...


@dataclass(slots=True)
class _Known:
    """One video: head (h,) of its prompts, what positions need (grids), features or pixels, and its prompts."""

    head: Tensor
    grids: dict[str, Tensor]
    tensors: dict[str, Tensor]
    prompts: dict[str, Prompt] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.head, *self.tensors.values()))


class VideoStore:
    """Prompts by (video, text) and videos by key; the least recently used leave memory when its budget is spent."""

    def __init__(
        self, llm: HFVideoLLM, pictures: Pictures, *, frozen_tower: bool, cache: FeatureCache | None = None
    ) -> None:
        self._n_encoded = self._n_asked = 0
        self._llm = llm
        self._pictures = pictures
        self._frozen = frozen_tower
        self._cache = cache if frozen_tower else None
        self._videos: OrderedDict[str, _Known] = OrderedDict()
        self._tails: dict[str, Tensor] = {}
        self._n_bytes = 0

    def key(self, row: Shown) -> str:
        return key_of(self._llm, row.video, row.times_sha256, row.numbers)

    def prompt(self, row: Shown) -> Prompt:
        """The row's prompt.

        Raises:
            VideoLost: It holds no video token.
        """
        key = self.key(row)
        self._n_asked += 1
        known = self._videos.get(key) or self._from_disk(key) or self._encode(key, row)
        self._videos.move_to_end(key)
        if row.prompt not in known.prompts:
            known.prompts[row.prompt] = self._joined(key, known, row.prompt)
        return known.prompts[row.prompt]

    def tensors(self, key: str) -> dict[str, Tensor]:
        """Features or pixels of a video whose prompt was asked for just before."""
        return self._videos[key].tensors

    def take_counts(self) -> tuple[int, int]:
        """(videos encoded, videos asked for) since the last call."""
        counts = self._n_encoded, self._n_asked
        self._n_encoded = self._n_asked = 0
        return counts

    def _joined(self, key: str, known: _Known, text: str) -> Prompt:
        ids = torch.cat([known.head, self._tail(text)])
        types = (ids == self._llm.video_token_id).long() * VIDEO_TYPE
        encoded = Encoded(ids, types, known.grids, int((types > 0).sum()))
        return Prompt(key, ids, self._llm.positions_of(encoded), len(known.head))

    def _tail(self, text: str) -> Tensor:
        """The ids after the video; they do not depend on it."""
        if text not in self._tails:
            blank = self._llm.shown(np.zeros((2, BLANK_PX, BLANK_PX, 3), np.uint8), (0, 1), 1.0)
            encoded = self._llm.encode(Question(text, blank))
            self._tails[text] = encoded.input_ids[self._llm.video_end(encoded) :]
        return self._tails[text]

    def _from_disk(self, key: str) -> _Known | None:
        stored = self._cache.get(key) if self._cache else None
        if stored is None:
            return None
        grids = dict(stored.meta)
        return self._keep(key, _Known(grids.pop("head"), grids, dict(stored.tensors)))

    def _encode(self, key: str, row: Shown) -> _Known:
        self._n_encoded += 1
        encoded = self._llm.encode(Question(row.prompt, self.frames(row)))
        if not encoded.n_video_tokens:
            raise VideoLost(f"The prompt about {row.video.path} holds no video token. Use the model's own processor.")
        head = encoded.input_ids[: self._llm.video_end(encoded)].clone()
        grids = {name: tensor for name, tensor in encoded.tensors.items() if not name.startswith(PIXELS)}
        if not self._frozen:
            return self._keep(key, _Known(head, grids, dict(encoded.tensors)))
        features = {name: tensor.cpu() for name, tensor in self._llm.features(encoded).items()}
        if self._cache:
            self._cache.put(key, features, {"head": head, **grids})
        return self._keep(key, _Known(head, grids, features))

    def frames(self, row: Shown) -> Frames:
        """The row's pictures, decoded anew."""
        pixels = self._pictures(row.video, row.times_sha256, row.numbers)
        return self._llm.shown(pixels, row.numbers, row.video.duration_s)

    def _keep(self, key: str, known: _Known) -> _Known:
        self._videos[key] = known
        self._n_bytes += known.n_bytes
        while self._n_bytes > MEMORY_BYTES and len(self._videos) > 1:
            _, gone = self._videos.popitem(last=False)
            self._n_bytes -= gone.n_bytes
        return known


def key_of(llm: HFVideoLLM, video: Video, times_sha256: str, numbers: Sequence[int]) -> str:
    """What names a video as it is shown: file, frames, rate and size."""
    height, width = shown_size(video, llm.long_side)
    fps = llm.fps_of(len(numbers), video.duration_s)
    return video_key(video, times_sha256, numbers, fps, height, width)


def shown_size(video: Video, long_side: int | None) -> tuple[int, int]:
    """Height and width of its pictures as the model is shown them."""
    scale = 1.0 if long_side is None else min(1.0, long_side / max(video.height, video.width))
    return max(1, round(video.height * scale)), max(1, round(video.width * scale))
