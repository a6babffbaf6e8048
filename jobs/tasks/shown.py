"""Pictures for a model: every key frame of a video at once, so that each file is decoded once and not clip by clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.timelines import KeptVideo
from tempo_core.pictures import Pictures


class ShownVideos:
    """Key frames by video id; the last videos asked for stay in memory."""

    def __init__(self, cache: Path, long_side: int | None, videos: Mapping[int, KeptVideo], kept: int = 64) -> None:
        self._pictures = Pictures(cache, long_side)
        self._videos, self._kept = videos, kept
        self._read: dict[int, dict[int, NDArray[np.uint8]]] = {}

    def __call__(self, video_id: int, numbers: tuple[int, ...]) -> NDArray[np.uint8]:
        """(T, H, W, 3) RGB, in the order of `numbers`, which must be key frames of the video's timeline."""
        if video_id not in self._read:
            while len(self._read) >= self._kept:
                del self._read[next(iter(self._read))]
            self._read[video_id] = self._all(self._videos[video_id])
        return np.stack([self._read[video_id][number] for number in numbers])

    def _all(self, kept: KeptVideo) -> dict[int, NDArray[np.uint8]]:
        numbers = sorted({number for clip in kept.timeline.timeline for number in clip.key_frames})
        pixels = self._pictures.get(kept.video, kept.times_sha256, numbers)
        return dict(zip(numbers, pixels, strict=True))
