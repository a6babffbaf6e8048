"""From pairs and thresholds to the exact order of training, fixed before step 0.

A level is the place of a pair's difficulty among the pairs of its own kind: 1 = easiest quarter .. 4 = hardest, for
raw values of different kinds cannot be compared. Imported pairs have no difficulty and form a level of their own.
The plan is a pure function of pairs, settings and seed, so the page that previews it and the run that trains it
cannot differ.
"""

from __future__ import annotations

import hashlib
import json
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tempo_core.errors import BadThresholds, EmptyStage, TooFew
from tempo_core.recipes import PACINGS, RunConfig
from tempo_core.types import DifficultyAxis, PlannedPair, Stage, level_key

LEVELS: tuple[int | None, ...] = (1, 2, 3, 4, None)
"""Easiest first; imported pairs, whose difficulty nobody knows, last in every pacing."""

LEVEL_OF_MAGNITUDE = {16: 1, 8: 2, 4: 3, 2: 4}
"""`difficulty="paper"`: the stronger the disturbance, the easier the pair."""

PAIRS_TOGETHER = 3
"""The paper's data has one chosen answer for drop, shuffle and reverse; side by side they share one encoded video."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where levels 2, 3 and 4 begin, as percentiles inside the kind. Equal ones leave the level between empty.

    Raises:
        BadThresholds: They cross or leave [0, 1].
    """

    cut1: float = 0.25
    cut2: float = 0.5
    cut3: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.cut1 <= self.cut2 <= self.cut3 <= 1:
            raise BadThresholds(
                f"Thresholds {self.cut1:g}, {self.cut2:g}, {self.cut3:g} cross or leave 0..1. "
                "Each must be at least the one before."
            )

    @property
    def cuts(self) -> tuple[float, float, float]:
        return self.cut1, self.cut2, self.cut3


QUARTERS = Thresholds()


@dataclass(frozen=True, slots=True)
class PairRef:
    """What the curriculum needs to know of a pair. `level` may be missing until `with_levels` sets it."""

    pair_id: int
    video_key: str
    kind: str
    level: int | None
    difficulty: float | None
    magnitude: int | None


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The training order, written down before step 0."""

    planned: tuple[PlannedPair, ...]
    stages: tuple[Stage, ...]
    dropped: Mapping[str, int]
    """Places (pairs times epochs) per stage that fill no whole step, or belong to a level left out."""
    notes: tuple[str, ...]
    sha256: str

    @property
    def n_steps(self) -> int:
        return self.planned[-1].step + 1


def percentiles(difficulties: Sequence[float]) -> tuple[float, ...]:
    """Share of the other values that are smaller, as SQL's percent_rank: equal values get equal percentiles."""
    ordered = sorted(difficulties)
    return tuple(bisect_left(ordered, value) / max(1, len(ordered) - 1) for value in difficulties)


def level_of(percentile: float, thresholds: Thresholds = QUARTERS) -> int:
    """1 (easiest) .. 4; a value on a threshold belongs to the harder level."""
    return 1 + bisect_right(thresholds.cuts, percentile)


def levels(
    pairs: Sequence[PairRef], axis: DifficultyAxis = "measured", thresholds: Thresholds = QUARTERS
) -> dict[int, int | None]:
    """The level of each pair by id; None for pairs without a difficulty (or, on the paper's axis, its magnitudes)."""
    if axis == "paper":
        return {pair.pair_id: LEVEL_OF_MAGNITUDE.get(pair.magnitude or 0) for pair in pairs}
    found: dict[int, int | None] = {pair.pair_id: None for pair in pairs}
    for members in _by_kind(pairs).values():
        ranks = percentiles([difficulty for _, difficulty in members])
        found |= {pair_id: level_of(rank, thresholds) for (pair_id, _), rank in zip(members, ranks, strict=True)}
    return found


def with_levels(
    pairs: Sequence[PairRef], axis: DifficultyAxis = "measured", thresholds: Thresholds = QUARTERS
) -> tuple[PairRef, ...]:
    """The pairs with their levels set."""
    found = levels(pairs, axis, thresholds)
    return tuple(replace(pair, level=found[pair.pair_id]) for pair in pairs)


def raw_cuts(pairs: Sequence[PairRef], thresholds: Thresholds = QUARTERS) -> dict[str, tuple[float | None, ...]]:
    """Of each kind, the difficulty at which levels 2, 3 and 4 begin: what the percentiles meant on these pairs.

    None where no pair reaches a level.
    """
    cuts: dict[str, tuple[float | None, ...]] = {}
    for kind, members in _by_kind(pairs).items():
        ordered = sorted(difficulty for _, difficulty in members)
        ranked = list(zip(percentiles(ordered), ordered, strict=True))
        cuts[kind] = tuple(next((d for rank, d in ranked if rank >= cut), None) for cut in thresholds.cuts)
    return cuts


def training_plan(
    pairs: Sequence[PairRef],
    config: RunConfig,
    *,
    pairs_together: int = PAIRS_TOGETHER,
    skip_small: bool = False,
    smaller_step: bool = False,
) -> TrainingPlan:
    """Put the pairs into the order of training.

    Stages follow `config.pacing`. Inside a stage up to `pairs_together` pairs of one video stay side by side, these
    groups are shuffled by the seed in each epoch, and each epoch is a whole number of steps of
    `config.pairs_per_step` pairs; the remainder is left out and counted in `dropped`.

    Args:
        skip_small: Leave out a level with fewer pairs than one step, and name it in `notes`.
        smaller_step: Train such a level in one smaller step instead. Only when the user said so.

    Raises:
        TooFew: There are no pairs at all.
        EmptyStage: A level has fewer pairs than one step, and neither way out was chosen; or no level is left.
    """
    _check(pairs, config, pairs_together)
    if config.difficulty == "paper":
        pairs = with_levels(pairs, "paper")
    wanted, notes = _stages(pairs, config)
    dropped: Counter[str] = Counter()
    stages: list[Stage] = []
    planned: list[PlannedPair] = []
    for stage, members in wanted:
        if len(members) < config.pairs_per_step and skip_small:
            notes.append(f"{stage.name} is left out: {_few(len(members), config)}")
            dropped[stage.name] = len(members) * stage.epochs
            continue
        if len(members) < config.pairs_per_step and not smaller_step:
            raise EmptyStage(f"Stage {stage.name} is too small: {_few(len(members), config)}. {_WAYS_OUT}")
        if len(members) < config.pairs_per_step:
            notes.append(f"{stage.name} trains in smaller steps: {_few(len(members), config)}")
        size = min(len(members), config.pairs_per_step)
        for epoch in range(stage.epochs):
            order = _order(members, f"{config.seed}|{stage.name}|{epoch}", pairs_together)
            whole = order[: len(order) // size * size]
            dropped[stage.name] += len(order) - len(whole)
            planned += _places(whole, size, len(stages), planned)
        stages.append(stage)
    if not planned:
        raise EmptyStage(f"No level has the {config.pairs_per_step} pairs of one step. {_WAYS_OUT}")
    counted = {name: n for name, n in dropped.items() if n}
    return TrainingPlan(tuple(planned), tuple(stages), counted, tuple(notes), plan_sha256(planned, stages))


def plan_sha256(planned: Sequence[PlannedPair], stages: Sequence[Stage]) -> str:
    """The identity of a training order: sha256 of its canonical JSON."""
    content = {
        "schema": 1,
        "stages": [[stage.name, list(stage.levels), stage.epochs] for stage in stages],
        "planned": [[p.ordinal, p.step, p.stage, p.pair_id, p.level, p.difficulty] for p in planned],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def steps_of_share(plan: TrainingPlan) -> dict[str, tuple[float, ...]]:
    """For the chart: of each level, its share of every step's pairs. Shares of a step add up to 1."""
    sizes = Counter(place.step for place in plan.planned)
    counts = Counter((place.level, place.step) for place in plan.planned)
    present = {place.level for place in plan.planned}
    steps = range(plan.n_steps)
    return {
        level_key(level): tuple(counts[level, step] / sizes[step] for step in steps)
        for level in LEVELS
        if level in present
    }


_WAYS_OUT = (
    "Move the thresholds, accept more pairs, take fewer pairs a step, train all levels at once (mixed), "
    "or allow a smaller step, or leaving small levels out."
)


def _few(n: int, config: RunConfig) -> str:
    return f"it has {n} pair{'s' * (n != 1)}, one step needs {config.pairs_per_step}"


def _check(pairs: Sequence[PairRef], config: RunConfig, pairs_together: int) -> None:
    if config.pacing not in PACINGS:
        raise ValueError(f"No pacing {config.pacing!r}; there are {', '.join(PACINGS)}.")
    if min(config.pairs_per_step, config.dpo_epochs, pairs_together) < 1:
        raise ValueError("Pairs a step, epochs and pairs kept together must be at least 1.")
    if not pairs:
        raise TooFew("There are no pairs to train on. Accept some on the review page first.")
    if len({pair.pair_id for pair in pairs}) < len(pairs):
        raise ValueError("A pair is listed twice.")


def _by_kind(pairs: Sequence[PairRef]) -> dict[str, list[tuple[int, float]]]:
    kinds: dict[str, list[tuple[int, float]]] = {}
    for pair in pairs:
        if pair.difficulty is not None:
            kinds.setdefault(pair.kind, []).append((pair.pair_id, pair.difficulty))
    return kinds


def _stages(pairs: Sequence[PairRef], config: RunConfig) -> tuple[list[tuple[Stage, list[PairRef]]], list[str]]:
    """The stages in order of training with their pairs, and a note for each level that is empty."""
    of_level = {level: [pair for pair in pairs if pair.level == level] for level in LEVELS}
    present = [level for level in LEVELS if of_level[level]]
    notes = [f"{level_key(level)} is empty" for level in LEVELS if level is not None and not of_level[level]]
    if config.pacing == "mixed":
        return [(Stage("all", tuple(present), config.dpo_epochs), list(pairs))], notes
    if config.pacing == "hard_to_easy":
        present.sort(key=lambda level: (level is None, -(level or 0)))
    return [(Stage(level_key(level), (level,), config.dpo_epochs), of_level[level]) for level in present], notes


def _order(members: Sequence[PairRef], seed: str, pairs_together: int) -> list[PairRef]:
    """Groups of one video's pairs, shuffled. Independent of the order in which the pairs came."""
    rng = random.Random(seed)
    of_video: dict[str, list[PairRef]] = {}
    for pair in sorted(members, key=lambda pair: (pair.video_key, pair.pair_id)):
        of_video.setdefault(pair.video_key, []).append(pair)
    groups: list[list[PairRef]] = []
    for same in of_video.values():
        rng.shuffle(same)
        groups += [same[i : i + pairs_together] for i in range(0, len(same), pairs_together)]
    rng.shuffle(groups)
    return [pair for group in groups for pair in group]


def _places(order: Sequence[PairRef], size: int, stage: int, before: Sequence[PlannedPair]) -> Iterator[PlannedPair]:
    ordinal = len(before)
    step = before[-1].step + 1 if before else 0
    for i, pair in enumerate(order):
        yield PlannedPair(ordinal + i, step + i // size, stage, pair.pair_id, pair.level, pair.difficulty)
