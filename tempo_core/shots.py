"""Shots: the stretches between cuts, found from stored scores, so a slider re-judges without decoding.

A cut is the first frame of the new shot; shots cover the video without gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tempo_core.measures import Measures
from tempo_core.types import Shot

EPSILON_S = 1e-6
"""Times are sums of ticks; 0.25 s must not fail at 0.2499999."""


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """PySceneDetect's AdaptiveDetector with ratio 3.5 and window 3; scenes from 0.25 s (the paper: 0.2 s)."""

    kind: str = "adaptive"
    ratio: float = 3.5
    window: int = 3
    min_content: float = 15.0
    min_s: float = 0.25
    threshold: float = 27.0
    """Of `content` only: the score that is a cut by itself."""


def shots(measures: Measures, config: DetectorConfig = DetectorConfig()) -> tuple[Shot, ...]:
    """All shots of a video, before any rule."""
    found = DETECTORS[config.kind](measures.score, measures.t, config)
    edges = (0, *found, measures.n_frames)
    return tuple(Shot(start, end) for start, end in pairwise(edges))


def cuts(
    score: NDArray[np.float32],
    t: NDArray[np.float64],
    ratio: float = 3.5,
    window: int = 3,
    min_content: float = 15.0,
    min_s: float = 0.25,
) -> tuple[int, ...]:
    """Cuts where the score stands out from its neighbours on both sides; equal to PySceneDetect's AdaptiveDetector.

    The first and last `window` frames have no full neighbourhood and cannot be cuts.
    """
    n, values = len(score), score.astype(np.float64)
    if n < 2 * window + 1:
        return ()
    around = np.convolve(values, np.ones(2 * window + 1), "valid") - values[window : n - window]
    mean = around / (2 * window)
    still = np.abs(mean) < 1e-5
    middle = values[window : n - window]
    stands_out = np.where(still, np.where(middle >= min_content, 255.0, 0.0), middle / np.where(still, 1.0, mean))
    candidates = np.flatnonzero((stands_out >= ratio) & (middle >= min_content)) + window
    return _apart(candidates, t, min_s)


def _apart(candidates: NDArray[np.intp], t: NDArray[np.float64], min_s: float) -> tuple[int, ...]:
    found, last = [], 0
    for number in candidates.tolist():
        if t[number] - t[last] >= min_s - EPSILON_S:
            found.append(number)
            last = number
    return tuple(found)


def _adaptive(score: NDArray[np.float32], t: NDArray[np.float64], config: DetectorConfig) -> tuple[int, ...]:
    return cuts(score, t, config.ratio, config.window, config.min_content, config.min_s)


def _content(score: NDArray[np.float32], t: NDArray[np.float64], config: DetectorConfig) -> tuple[int, ...]:
    return _apart(np.flatnonzero(score >= config.threshold), t, config.min_s)


DETECTORS: dict[str, Callable[[NDArray[np.float32], NDArray[np.float64], DetectorConfig], tuple[int, ...]]] = {
    "adaptive": _adaptive,
    "content": _content,
}
