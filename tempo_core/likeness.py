"""How alike two shots look, and which shots are one scene.

Likeness is the Bhattacharyya coefficient of two Lab colour histograms, in [0, 1]. It sees colours, not meaning: the
same room with another person in it looks alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tempo_core.measures import Measures
from tempo_core.types import Shot


def matrix(measures: Measures, shots: Sequence[Shot]) -> NDArray[np.float32]:
    """Likeness of each shot to each other (n, n), from the sample nearest to the shot's middle."""
    rows = measures.like[[_sample_of(measures.like_at, shot) for shot in shots]].astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return np.asarray((rows @ rows.T).clip(0.0, 1.0), np.float32)


def _sample_of(like_at: NDArray[np.int32], shot: Shot) -> int:
    middle = (shot.start + shot.end - 1) / 2
    outside = (like_at < shot.start) | (like_at >= shot.end)
    # A sample of the neighbour shot may be nearer to the middle, but shows another scene.
    return int(np.argmin(np.abs(like_at - middle) + outside * 1e9))


def groups(likeness: NDArray[np.float32], threshold: float) -> tuple[int, ...]:
    """The group of each shot: the smallest shot index in it.

    Merges the most similar pair while it is more similar than the threshold. The merged row is the plain mean of the
    two rows, not weighted by size (WPGMA, as in the paper); of equal pairs the smallest (i, j) goes first.
    """
    n = len(likeness)
    group = np.arange(n)
    work = np.array(likeness, np.float64)
    work[np.tril_indices(n)] = -1.0
    while n > 1:
        i, j = divmod(int(np.argmax(work)), n)
        if work[i, j] <= threshold:
            break
        group[group == j] = i
        full = np.maximum(work, work.T)
        merged = (full[i] + full[j]) / 2
        gone = full[i] < 0
        merged[gone | (full[j] < 0)] = -1.0
        work[i, i + 1 :], work[:i, i] = merged[i + 1 :], merged[:i]
        work[j, :], work[:, j] = -1.0, -1.0
    return tuple(int(g) for g in group)
