"""Compose a perturbed video to look at elsewhere: numbered clips in plan order, alone or beside the clean ones.

moviepy composes; the frames come from our own reader, because moviepy's resamples variable rates and repeats the last
frame of damaged files. Kept apart from `render`, so that the web process does not load moviepy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from moviepy import VideoClip
from numpy.typing import NDArray

from tempo_core.measures import Measures
from tempo_core.media import FrameReader
from tempo_core.types import PerturbationPlan, Timeline


def export_clip(
    path: Path,
    measures: Measures,
    timeline: Timeline,
    plan: PerturbationPlan,
    out: Path,
    *,
    side_by_side: bool = False,
    titles: bool = True,
    long_side: int | None = 640,
) -> None:
    """Write the perturbed video as mp4 or GIF (by the suffix of `out`), each source frame once, at the mean rate.

    Args:
        side_by_side: The clean order on the left; after a drop the right side ends earlier, in black.
        titles: Draw the number of each clip, counted from 1 in the clean order.
    """
    orders = [tuple(range(len(timeline))), plan.order] if side_by_side else [plan.order]
    fps = float(measures.fps)
    with ExitStack() as stack:
        sides = []
        for order in orders:
            reader = FrameReader(path, measures.pts, measures.time_base, long_side=long_side)
            sides.append(_Side(stack.enter_context(reader), timeline, order, titles))
        frame_at = _remember_last(lambda t: np.hstack([side.image(round(t * fps)) for side in sides]))
        composed = VideoClip(frame_function=frame_at, duration=max(len(side.shown) for side in sides) / fps)
        _write(composed.with_fps(fps), out, fps)


class _Side:
    """The frames of a plan one after the other, each with the number of its clip."""

    def __init__(self, reader: FrameReader, timeline: Timeline, order: Sequence[int], titles: bool) -> None:
        self.reader, self.titles = reader, titles
        self.shown = [(i, number) for i in order for start, end in timeline[i].ranges for number in range(start, end)]
        self.black = np.zeros_like(self._read(0))

    def image(self, k: int) -> NDArray[np.uint8]:
        return self._read(k) if k < len(self.shown) else self.black

    def _read(self, k: int) -> NDArray[np.uint8]:
        clip, number = self.shown[k]
        image = _even(self.reader.read(number))
        return _titled(image, str(clip + 1)) if self.titles else image


Picture = NDArray[np.uint8]


def _remember_last(frame_at: Callable[[float], Picture]) -> Callable[[float], Picture]:
    # moviepy asks for the first frame twice: once for the size, once to write it.
    last: dict[float, Picture] = {}

    def remembered(t: float) -> Picture:
        if t not in last:
            image = frame_at(t)
            last.clear()
            last[t] = image
        return last[t]

    return remembered


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # H.264 in 4:2:0 has even sizes only.
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]


def _titled(image: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    image, scale = np.ascontiguousarray(image), max(0.5, image.shape[0] / 240)
    place = (round(6 * scale), round(26 * scale))
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, round(thickness * scale), cv2.LINE_AA)
    return image


def _write(composed: Any, out: Path, fps: float) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".gif":
        composed.write_gif(str(out), fps=min(fps, 20.0), logger=None)
        return
    composed.write_videofile(
        str(out),
        fps=fps,
        codec="libx264",
        audio=False,
        preset="veryfast",
        pixel_format="yuv420p",
        threads=1,
        logger=None,
    )
