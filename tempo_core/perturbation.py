"""Disturb the order of a timeline, on purpose and repeatably, and measure how strongly.

A plan's `order` lists indices of the clean timeline and alone replays it; the seed only says where it came from.
Ours (`law="tempo"`) never returns the true order. The published law (`law="authors"`) is kept for comparison: its
shuffle returns the true order in a third of the draws at r = 2, over 4..32 clips.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import TimelineTooShort
from tempo_core.types import Difficulty, JsonDict, Law, PerturbationPlan

Order = tuple[int, ...]
Draw = Callable[[int, int, random.Random], Order]
T = TypeVar("T")

MAGNITUDES = (2, 4, 8, 16)
"""The paper's. Larger = finer blocks or fewer clips kept = a stronger disturbance."""

ALGORITHMS: dict[Law, str] = {"tempo": "tempo-1", "authors": "authors-1"}
"""Version of each law; a change of what a seed draws needs a new one."""

ATTEMPTS = 32
"""How often an order that this timeline already has is drawn again before we say that there is no other."""


@dataclass(frozen=True, slots=True)
class PlanSet:
    """The plans of one timeline, and in words what was merged or could not be made."""

    plans: tuple[PerturbationPlan, ...]
    collapsed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def plan(
    kind: str, n_clips: int, magnitude: int, seed: int, law: Law = "tempo", *, attempt: int = 0
) -> PerturbationPlan:
    """Plan one perturbation of a timeline.

    Args:
        magnitude: How strongly to disturb it, at least 2. The paper uses 2, 4, 8 and 16.
        seed: The same seed gives the same plan, on every machine.
        attempt: Counts the draws after one that gave an order the timeline already had.

    Raises:
        TimelineTooShort: With fewer than two clips there is no order to disturb.
    """
    _check(kind, n_clips, magnitude)
    draw = (PERTURBATIONS if law == "tempo" else AUTHORS)[kind]
    order = draw(n_clips, magnitude, random.Random(seed + attempt))
    return PerturbationPlan(kind, magnitude, seed, order, law, attempt=attempt)


def plans(
    n_clips: int,
    kinds: Sequence[str] = ("drop", "shuffle", "reverse"),
    magnitudes: Sequence[int] = MAGNITUDES,
    seed_of: Callable[[str, int, int], int] = lambda kind, magnitude, replica: 0,
    law: Law = "tempo",
    *,
    replicas: int = 1,
) -> PlanSet:
    """Every plan of one timeline, no order twice: drop, then reverse, then shuffle, small magnitudes first.

    Magnitudes that do the same to so few clips are merged into the largest of them, the others become its `aliases`.
    The authors' law is drawn as published: nothing merged, repeats kept, because they are what one wants to see.

    Args:
        seed_of: Gives the seed from (kind, magnitude, replica); see `plan_seed`.
        replicas: Plans per kind and level. A kind with one order only (reverse) reports the others as missing.
    """
    if law == "authors":
        wanted = [(kind, r, i) for kind in _in_order(kinds) for r in sorted(magnitudes) for i in range(replicas)]
        return PlanSet(tuple(plan(kind, n_clips, r, seed_of(kind, r, i), law) for kind, r, i in wanted))
    made: list[PerturbationPlan] = []
    collapsed: list[str] = []
    missing: list[str] = []
    for kind in _in_order(kinds):
        for merged in _levels(kind, n_clips, magnitudes):
            r, aliases = merged[-1], merged[:-1]
            collapsed += [f"{kind}: r = {small} equals r = {r} for {n_clips} clips" for small in aliases]
            for replica in range(replicas):
                new = _new_order(kind, n_clips, r, seed_of(kind, r, replica), {p.order for p in made})
                if new is None:
                    missing.append(f"{kind}: no other order at r = {r} for {n_clips} clips")
                else:
                    made.append(replace(new, aliases=aliases))
    return PlanSet(tuple(made), tuple(collapsed), tuple(missing))


def effective(kind: str, n_clips: int, magnitude: int, law: Law = "tempo") -> int:
    """What the magnitude really does to this many clips: clips kept, number of blocks, or the authors' block size."""
    if law == "authors" or kind == "drop":
        return max(1, n_clips // magnitude)
    return _BLOCKS[kind](n_clips, magnitude) if kind in _BLOCKS else magnitude


def replay(order: Sequence[int], clips: Sequence[T]) -> tuple[T, ...]:
    """The perturbed view of anything listed clip by clip: captions, key frames, frame ranges."""
    return tuple(clips[i] for i in order)


def plan_seed(user_seed: int | str, video: str, timeline: str, kind: str, magnitude: int, replica: int = 0) -> int:
    """A seed that depends on what it is for and nothing else: a positive integer that SQLite can hold."""
    text = f"tempo-plan-1|{user_seed}|{video}|{timeline}|{kind}|{magnitude}|{replica}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def plan_json(plan: PerturbationPlan, video_sha256: str, timeline_sha256: str) -> JsonDict:
    """The plan as stored and hashed. `blocks` holds the clips that stay together, none for drop."""
    cut = plan.kind in _BLOCKS
    return {
        "schema": 1,
        "algo": ALGORITHMS[plan.law],
        "video": video_sha256,
        "timeline": timeline_sha256,
        "kind": plan.kind,
        "magnitude": plan.magnitude,
        "aliases": list(plan.aliases),
        "seed": plan.seed,
        "attempt": plan.attempt,
        "blocks": _blocks(plan.kind, len(plan.order), plan.magnitude, plan.law) if cut else [],
        "order": list(plan.order),
    }


def plan_sha256(plan: PerturbationPlan, video_sha256: str, timeline_sha256: str) -> str:
    """The plan's identity: sha256 of its canonical JSON (sorted keys, no spaces)."""
    content = plan_json(plan, video_sha256, timeline_sha256)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def difficulty(
    plan: PerturbationPlan, clip_frames: Sequence[int | float], likeness: NDArray[np.floating] | None = None
) -> Difficulty:
    """How hard the pair is, from the plan alone: 1 = hard. Compare only inside a kind (VIDEO 4: r is not one scale).

    Args:
        clip_frames: Length of each clip of the clean timeline, in frames or seconds.
        likeness: Likeness of each two clips, (N, N), clipped to [0, 1]; without it `content_loss` and `visible`
            are left out, and `kendall` stands in for `visible`.
    """
    if max(plan.order) >= len(clip_frames):
        raise ValueError(f"The plan names clip {max(plan.order)}, the timeline has {len(clip_frames)}.")
    unlike = None if likeness is None else 1.0 - np.clip(np.asarray(likeness, dtype=np.float64), 0.0, 1.0)
    if len(plan.order) < len(clip_frames):
        measures = _lost(plan.order, clip_frames, unlike)
        strength = 1.0 - measures["kept"]
    else:
        measures = _moved(plan.order, unlike)
        strength = (measures.get("visible", measures["kendall"]) + measures["broken"]) / 2
    return Difficulty(1.0 - strength, measures)


def _drop(n_clips: int, magnitude: int, rng: random.Random) -> Order:
    return tuple(sorted(rng.sample(range(n_clips), max(1, n_clips // magnitude))))


def _reverse(n_clips: int, magnitude: int, rng: random.Random) -> Order:
    return _joined(reversed(_blocks("reverse", n_clips, magnitude)))


def _shuffle(n_clips: int, magnitude: int, rng: random.Random) -> Order:
    """Neither the true order nor the full reversal: that one is `reverse`, and without both, half of the block
    pairs are inverted on average at every r. With two blocks only the swap is left."""
    blocks = _blocks("shuffle", n_clips, magnitude)
    if len(blocks) == 2:
        return _joined(reversed(blocks))
    shuffled = list(blocks)
    while shuffled in (blocks, blocks[::-1]):
        rng.shuffle(shuffled)
    return _joined(shuffled)


def _authors_reverse(n_clips: int, magnitude: int, rng: random.Random) -> Order:
    return _joined(reversed(_blocks("reverse", n_clips, magnitude, "authors")))


def _authors_shuffle(n_clips: int, magnitude: int, rng: random.Random) -> Order:
    blocks = _blocks("shuffle", n_clips, magnitude, "authors")
    rng.shuffle(blocks)
    return _joined(blocks)


PERTURBATIONS: dict[str, Draw] = {"drop": _drop, "shuffle": _shuffle, "reverse": _reverse}
"""A new kind is one function here. Magnitudes that collapse are told by `effective`."""

AUTHORS: dict[str, Draw] = {"drop": _drop, "shuffle": _authors_shuffle, "reverse": _authors_reverse}

_BLOCKS: dict[str, Callable[[int, int], int]] = {
    "reverse": lambda n_clips, magnitude: min(n_clips, magnitude),
    # Three blocks at r = 2: a shuffle of two blocks that is not the identity is the reversal.
    "shuffle": lambda n_clips, magnitude: min(n_clips, max(3, magnitude)),
}


def _blocks(kind: str, n_clips: int, magnitude: int, law: Law = "tempo") -> list[list[int]]:
    """Clips that stay together. Ours differ by one clip at most; the authors' last block may be short."""
    if law == "authors":
        size = max(1, n_clips // magnitude)
        return [list(range(i, min(i + size, n_clips))) for i in range(0, n_clips, size)]
    k = _BLOCKS[kind](n_clips, magnitude)
    return [list(range(i * n_clips // k, (i + 1) * n_clips // k)) for i in range(k)]


def _joined(blocks: Iterable[Sequence[int]]) -> Order:
    return tuple(clip for block in blocks for clip in block)


def _check(kind: str, n_clips: int, magnitude: int) -> None:
    if kind not in PERTURBATIONS:
        raise ValueError(f"No perturbation {kind!r}; there are {', '.join(PERTURBATIONS)}.")
    if magnitude < 2:
        raise ValueError(f"A magnitude is 2 or more, not {magnitude}.")
    if n_clips < 2:
        raise TimelineTooShort(f"{kind} needs 2 clips or more, this timeline has {n_clips}.")


def _in_order(kinds: Sequence[str]) -> list[str]:
    """Fixed kinds first, so that the freer ones make way when two give the same order."""
    first = {"drop": 0, "reverse": 1, "shuffle": 2}
    return sorted(dict.fromkeys(kinds), key=lambda kind: (first.get(kind, len(first)), kind))


def _levels(kind: str, n_clips: int, magnitudes: Sequence[int]) -> list[tuple[int, ...]]:
    """The magnitudes, rising; those with the same effect in one tuple."""
    merged: dict[int, list[int]] = {}
    for magnitude in sorted(set(magnitudes)):
        _check(kind, n_clips, magnitude)
        merged.setdefault(effective(kind, n_clips, magnitude), []).append(magnitude)
    return [tuple(same) for same in merged.values()]


def _new_order(kind: str, n_clips: int, magnitude: int, seed: int, taken: set[Order]) -> PerturbationPlan | None:
    for attempt in range(ATTEMPTS + 1):
        drawn = plan(kind, n_clips, magnitude, seed, attempt=attempt)
        if drawn.order not in taken:
            return drawn
    return None


def _lost(order: Order, clip_frames: Sequence[int | float], unlike: NDArray[np.float64] | None) -> dict[str, float]:
    measures = {"kept": float(sum(clip_frames[i] for i in order) / sum(clip_frames))}
    if unlike is not None:
        # A dropped clip whose twin stays takes little with it.
        dropped = [i for i in range(len(clip_frames)) if i not in order]
        measures["content_loss"] = float(unlike[np.ix_(dropped, list(order))].min(axis=1).mean())
    return measures


def _moved(order: Order, unlike: NDArray[np.float64] | None) -> dict[str, float]:
    pairs = list(combinations(order, 2))
    inverted = [(a, b) for a, b in pairs if a > b]
    neighbours = list(pairwise(order))
    measures = {
        "kendall": len(inverted) / max(1, len(pairs)),
        "broken": sum(b != a + 1 for a, b in neighbours) / max(1, len(neighbours)),
    }
    if unlike is not None:
        # Swapping clips that look alike cannot be seen.
        visible, possible = (sum(float(unlike[a, b]) for a, b in some) for some in (inverted, pairs))
        measures["visible"] = visible / possible if possible else 0.0
    return measures
