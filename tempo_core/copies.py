"""The same footage in several files: encoded again, scaled, or cut at its ends.

Each video is a row of tiny pictures, one each 0.5 s, from the thumbnails that its scan kept. Two videos share footage
when, laid over each other at one offset, nearly all pictures of the shorter one are the other's. What is mirrored,
framed anew or coloured anew is not found; two takes of one still scene look alike to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from tempo_core.measures import Measures

SIZE = (8, 6)
"""Columns and rows of a tiny picture: enough for where things are, too few for compression to show."""
SAME = 0.8
"""Share of the shorter video's pictures that must be the other's."""
DIFFERENCE = 10.0
"""Mean absolute difference (of 255, in Lab) up to which two tiny pictures are one; between two shots it is 20 to 90,
after encoding again 1 to 3, and half a step later in a moving shot up to 8."""
FEWEST = 4
"""Pictures that must lie over each other: two seconds."""
ANCHORS = 4
"""Pictures of each video that look for their twins; all of a trimmed copy's have one."""
REACH = 12.0
"""Root mean square difference within which a twin is looked for; copies lie at 2 to 6."""
NEAREST = 12
"""Twins that are taken from each anchor: still pictures have many."""


@dataclass(frozen=True, slots=True)
class Match:
    """Video `a` (the shorter) lies in `b` from its picture `offset` on; `share` of its pictures are there."""

    a: int
    b: int
    offset: int
    share: float


def signature(measures: Measures) -> NDArray[np.uint8]:
    """A tiny Lab picture for each stored thumbnail, (q, rows * columns * 3)."""
    ends = [0, *measures.strip_ends.tolist()]
    rows = [_tiny(measures.strip[start:end]) for start, end in pairwise(ends)]
    return np.stack(rows) if rows else np.zeros((0, SIZE[0] * SIZE[1] * 3), np.uint8)


def _tiny(jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # An eighth of the size comes out of the JPEG's own blocks, without decoding the rest.
    picture = cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_COLOR_8)
    small = cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2LAB), np.uint8).reshape(-1)


def matches(signatures: Mapping[int, NDArray[np.uint8]], same: float = SAME) -> list[Match]:
    """Every two videos that share footage, by id; blank pictures match nothing."""
    ids = [video_id for video_id, rows in signatures.items() if len(rows) >= FEWEST]
    if len(ids) < 2:
        return []
    found = [
        match
        for (a, b), offsets in _candidates([signatures[i] for i in ids]).items()
        if (match := _best(ids[a], ids[b], signatures[ids[a]], signatures[ids[b]], offsets, same)) is not None
    ]
    return sorted(found, key=lambda match: (match.a, match.b))


def groups(found: Sequence[Match]) -> list[tuple[int, ...]]:
    """Videos that hang together by matches, each group and all groups by id."""
    root: dict[int, int] = {}

    def top(i: int) -> int:
        while root.setdefault(i, i) != i:
            i = root[i]
        return i

    for match in found:
        a, b = sorted((top(match.a), top(match.b)))
        root[b] = a
    members: dict[int, list[int]] = {}
    for i in sorted(root):
        members.setdefault(top(i), []).append(i)
    return sorted(tuple(ids) for ids in members.values())


def _candidates(rows: Sequence[NDArray[np.uint8]]) -> dict[tuple[int, int], list[int]]:
    """(a, b) with a the shorter -> the offsets at which an anchor of `a` has a twin in `b`."""
    owner = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    first = np.cumsum([0, *(len(part) for part in rows)])
    points = np.concatenate(rows).astype(np.float32)
    told = points.std(axis=1) > 3.0
    found: dict[tuple[int, int], list[int]] = {}
    asked = [(a, i) for a, part in enumerate(rows) for i in _anchors(len(part)) if told[first[a] + i]]
    for (a, i), twins in zip(asked, _twins(points, [int(first[a]) + i for a, i in asked]), strict=True):
        for twin in twins:
            b = int(owner[twin])
            longer = (len(rows[b]), b) > (len(rows[a]), a)
            if longer:
                found.setdefault((a, b), []).append(int(twin - first[b]) - i)
    return found


def _anchors(n: int) -> list[int]:
    return sorted({min(n - 1, round((k + 0.5) * n / ANCHORS)) for k in range(ANCHORS)})


def _twins(points: NDArray[np.float32], asked: Sequence[int]) -> list[NDArray[np.int64]]:
    """The nearest points to each asked one, by the 24 directions in which pictures differ most.

    Points stand in the order of the first direction, so that a block of neighbours is compared with its surroundings
    alone; what is near enough is compared in full afterwards.
    """
    centred = points - points.mean(axis=0)
    some = centred[:: max(1, len(centred) // 20_000)]
    flat = centred @ np.linalg.eigh(some.T @ some)[1][:, ::-1][:, :24]
    order = np.argsort(flat[:, 0], kind="stable")
    flat = np.ascontiguousarray(flat[order])
    lengths, reach = (flat * flat).sum(axis=1), REACH * points.shape[1] ** 0.5
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(asked)
    turn = np.argsort(place[list(asked)], kind="stable")
    for start in range(0, len(turn), 64):
        block = turn[start : start + 64]
        ours = flat[place[[asked[i] for i in block]]]
        low, high = np.searchsorted(flat[:, 0], (ours[0, 0] - reach, ours[-1, 0] + reach))
        distance = lengths[low:high] - 2 * (ours @ flat[low:high].T)
        rows, near = np.nonzero(distance <= (reach**2 - (ours * ours).sum(axis=1))[:, None])
        for row, i in enumerate(block):
            of_row = near[rows == row]
            if len(of_row) > NEAREST:
                of_row = of_row[np.argpartition(distance[row, of_row], NEAREST)[: NEAREST + 1]]
            found[i] = order[low + of_row]
    return found


def _best(
    a: int, b: int, x: NDArray[np.uint8], y: NDArray[np.uint8], offsets: Sequence[int], same: float
) -> Match | None:
    """The offset at which most pictures agree, if enough do."""
    best: Match | None = None
    for offset, _ in Counter(offsets).most_common(4):
        share = _share(x, y, offset)
        if share >= same and (best is None or share > best.share):
            best = Match(a, b, offset, share)
    return best


def _share(x: NDArray[np.uint8], y: NDArray[np.uint8], offset: int) -> float:
    """Share of `x`'s pictures that are `y`'s at this offset or one beside it: a trimmed copy is sampled in between."""
    agree = np.zeros(len(x), bool)
    for beside in (-1, 0, 1):
        at = np.arange(len(x)) + offset + beside
        inside = (at >= 0) & (at < len(y))
        apart = np.abs(x[inside].astype(np.int16) - y[at[inside]].astype(np.int16)).mean(axis=1)
        agree[inside] |= apart <= DIFFERENCE
    return float(agree.mean())
