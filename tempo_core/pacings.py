"""In which order a curriculum's pairs come: one function per pacing, all pure.

The same pairs, settings and seed give the same order on every machine, whatever order the pairs are given in. A course
is one stage; `curriculum.training_plan` cuts its passes into whole steps.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt

from tempo_core.recipes import RunConfig
from tempo_core.types import PairRef, Stage, level_key

OfLevel = Mapping[int | None, Sequence[PairRef]]
"""The pairs of each level, easiest first; no level is empty."""

ALLOWED_AT_START = 0.25
"""Competence before the first step (c0 of Platanios et al. 2019; our choice: with quarters, exactly level 1)."""


@dataclass(frozen=True, slots=True)
class Course:
    """One stage and the order of its pairs, a tuple for each pass; every pass is cut to whole steps by itself."""

    stage: Stage
    passes: tuple[tuple[PairRef, ...], ...]
    replayed: frozenset[int | None] = frozenset()
    """Levels whose pairs are here only as repeats."""
    regroup: bool = False
    """Whether the pairs of a video have to be brought side by side again inside each step."""

    @property
    def own(self) -> frozenset[int | None]:
        return frozenset(self.stage.levels) - self.replayed

    @property
    def n_pairs(self) -> int:
        """Different pairs, repeats included."""
        return len({pair.pair_id for pair in self.passes[0]})

    def n_own(self, places: Sequence[PairRef]) -> int:
        return sum(pair.level not in self.replayed for pair in places)


def strict(of_level: OfLevel, config: RunConfig) -> list[Course]:
    """The paper's: one level after the other, easy to hard, a stage each."""
    return [_alone(level_key(level), (level,), members, config) for level, members in of_level.items()]


def hard_to_easy(of_level: OfLevel, config: RunConfig) -> list[Course]:
    """Control: `strict` with the levels reversed."""
    backwards = sorted(of_level, key=lambda level: (level is None, -(level or 0)))
    return strict({level: of_level[level] for level in backwards}, config)


def mixed(of_level: OfLevel, config: RunConfig) -> list[Course]:
    """Control: all levels at once, one stage."""
    everything = [pair for members in of_level.values() for pair in members]
    return [_alone("all", tuple(of_level), everything, config)] if everything else []


def replay(of_level: OfLevel, config: RunConfig) -> list[Course]:
    """`strict`, but `replay_share` of a stage's places repeats pairs of the levels before it, spread evenly.

    A pass repeats an earlier pair at most once, so a level much larger than all before it gets a smaller share.
    """
    courses: list[Course] = []
    earlier: list[PairRef] = []
    before: list[int | None] = []
    for level, members in of_level.items():
        wanted = round(len(members) * config.replay_share / (1 - config.replay_share))
        n_again = min(wanted, len(earlier))
        name, passes = level_key(level), []
        for epoch in range(config.dpo_epochs):
            own = shuffled(members, f"{config.seed}|{name}|{epoch}", config.pairs_together)
            again = shuffled(earlier, f"{config.seed}|{name} replay|{epoch}", config.pairs_together)
            passes.append(tuple(_spread(own, again[:n_again])))
        # With nothing repeated it is a stage of `strict`, to the last byte.
        repeated = tuple(before) if n_again else ()
        stage = Stage(name, (level, *repeated), config.dpo_epochs)
        courses.append(Course(stage, tuple(passes), frozenset(repeated), regroup=n_again > 0))
        earlier += members
        before.append(level)
    return courses


def linear(of_level: OfLevel, config: RunConfig) -> list[Course]:
    """One stage in which each level fades into the next.

    The share of a level rises linearly from the middle of the level before it to its own middle, then falls likewise
    (a window of two levels whose centre moves evenly); where two neighbours differ in size, the fade is as wide as the
    smaller one. More epochs stretch this over all of them: all pairs of a level come once before any comes again.
    """
    queues = []
    for level, members in of_level.items():
        seeds = [f"{config.seed}|linear {level_key(level)}|{epoch}" for epoch in range(config.dpo_epochs)]
        queues.append([pair for seed in seeds for pair in shuffled(members, seed, config.pairs_together)])
    coming = [iter(queue) for queue in queues]
    order = tuple(next(coming[i]) for i in crossfade([len(queue) for queue in queues]))
    return [Course(Stage("all", tuple(of_level), config.dpo_epochs), (order,), regroup=True)] if order else []


def crossfade(sizes: Sequence[int]) -> Iterator[int]:
    """For each place the number of the queue that fills it, so that queues fade into each other and all run empty.

    In whole numbers, so that no rounding differs between machines.
    """
    borders = list(accumulate(sizes))[:-1]
    widths = [min(left, right) for left, right in pairwise(sizes)]
    taken = [0] * len(borders)
    for place in range(1, sum(sizes) + 1):
        now = [_beyond(place, border, width) for border, width in zip(borders, widths, strict=True)]
        yield max((i for i, (a, b) in enumerate(zip(now, taken, strict=True), 1) if a > b), default=0)
        taken = now


def _beyond(place: int, border: int, width: int) -> int:
    """How many of the first `place` places lie beyond a border that is a linear ramp, `width` places wide."""
    x = 2 * (place - border) + width
    if x <= 0:
        return 0
    return place - border if x >= 2 * width else (x * x + 4 * width) // (8 * width)


def competence(of_level: OfLevel, config: RunConfig) -> list[Course]:
    """One stage; a pair may come as soon as the share of easier pairs is at most c(t) (Platanios et al. 2019).

    Each place is drawn evenly from the pairs that may come and have come least often; there are always some, for
    c(t) >= t. More epochs stretch t over all of them.
    """
    easier = share_of_easier(of_level, config)
    everything = [pair for members in of_level.values() for pair in members]
    waiting = sorted(everything, key=lambda pair: (easier[pair.pair_id], pair.video_key, pair.pair_id))
    groups = _group_numbers(waiting, config.pairs_together)
    n_places, released = len(waiting) * config.dpo_epochs, 0
    pool = _Pool(f"{config.seed}|competence", config.dpo_epochs)
    order: list[PairRef] = []
    for place in range(n_places):
        allowed = competence_at((place + 1) / n_places)
        while released < len(waiting) and easier[waiting[released].pair_id] <= allowed:
            pool.add(released, groups[waiting[released].pair_id])
            released += 1
        order.append(waiting[pool.draw()])
    stage = Stage("all", tuple(of_level), config.dpo_epochs)
    return [Course(stage, (tuple(order),), regroup=True)] if order else []


def competence_at(progress: float) -> float:
    """c(t) = sqrt(t (1 - c0^2) + c0^2), from `ALLOWED_AT_START` to 1."""
    return sqrt(progress * (1 - ALLOWED_AT_START**2) + ALLOWED_AT_START**2)


def share_of_easier(of_level: OfLevel, config: RunConfig) -> dict[int, float]:
    """Of each pair (by id), the share of all pairs that are easier: by level, then by rank inside its kind and level.

    By level only where r orders the curriculum; imported pairs count as harder than all others.
    """
    place: dict[int, tuple[int, float]] = {}
    for number, members in enumerate(of_level.values()):
        of_kind: dict[str, list[float]] = {}
        for pair in members:
            of_kind.setdefault(pair.kind, []).append(pair.difficulty or 0.0)
        ordered = {kind: sorted(values) for kind, values in of_kind.items()}
        for pair in members:
            rank = bisect_left(ordered[pair.kind], pair.difficulty or 0.0) / len(ordered[pair.kind])
            place[pair.pair_id] = (number, 0.0 if config.difficulty == "paper" else rank)
    places = sorted(place.values())
    return {pair_id: bisect_left(places, at) / len(places) for pair_id, at in place.items()}


class _Pool:
    """Draws evenly among what was added and not yet drawn; pairs of one group come together while they wait.

    A ticket is drawn for each group between the last ticket called and the highest, so that who waits longest has no
    better chance than who has just come.
    """

    def __init__(self, seed: str, n_passes: int) -> None:
        self._rng, self._n_passes = random.Random(seed), n_passes
        self._called = [0.0] * n_passes
        self._tickets: dict[tuple[int, int], float] = {}
        self._heap: list[tuple[int, float, int, int]] = []

    def add(self, number: int, group: int, times: int = 0) -> None:
        called = self._called[times]
        if self._tickets.get((times, group), -1.0) <= called:
            self._tickets[times, group] = called + (1 - called) * self._rng.random()
        heapq.heappush(self._heap, (times, self._tickets[times, group], number, group))

    def draw(self) -> int:
        times, ticket, number, group = heapq.heappop(self._heap)
        self._called[times] = ticket
        if times + 1 < self._n_passes:
            self.add(number, group, times + 1)
        return number


ORDERS: dict[str, Callable[[OfLevel, RunConfig], list[Course]]] = {
    "strict": strict,
    "replay": replay,
    "linear": linear,
    "competence": competence,
    "mixed": mixed,
    "hard_to_easy": hard_to_easy,
}


def shuffled(members: Sequence[PairRef], seed: str, pairs_together: int) -> list[PairRef]:
    """Groups of one video's pairs, shuffled. Independent of the order in which the pairs came."""
    rng, most = random.Random(seed), max(1, pairs_together)
    groups: list[list[PairRef]] = []
    for same in _of_video(members).values():
        rng.shuffle(same)
        groups += [same[i : i + most] for i in range(0, len(same), most)]
    rng.shuffle(groups)
    return [pair for group in groups for pair in group]


def side_by_side(step: Sequence[PairRef], pairs_together: int) -> list[PairRef]:
    """The pairs of a step with those of one video brought together, at most `pairs_together` at once."""
    seen: dict[str, int] = {}
    groups: dict[tuple[str, int], list[PairRef]] = {}
    for pair in step:
        n = seen[pair.video_key] = seen.get(pair.video_key, -1) + 1
        groups.setdefault((pair.video_key, n // max(1, pairs_together)), []).append(pair)
    return [pair for group in groups.values() for pair in group]


def _alone(name: str, levels: tuple[int | None, ...], members: Sequence[PairRef], config: RunConfig) -> Course:
    """A stage that goes through its pairs in groups, shuffled anew in each epoch."""
    seeds = [f"{config.seed}|{name}|{epoch}" for epoch in range(config.dpo_epochs)]
    passes = tuple(tuple(shuffled(members, seed, config.pairs_together)) for seed in seeds)
    return Course(Stage(name, levels, config.dpo_epochs), passes)


def _spread(own: Sequence[PairRef], again: Sequence[PairRef]) -> Iterator[PairRef]:
    """Both in their order, the second spread evenly among the first."""
    n, total = len(again), len(own) + len(again)
    firsts, seconds = iter(own), iter(again)
    for place in range(total):
        yield next(seconds) if (place + 1) * n // total > place * n // total else next(firsts)


def _of_video(members: Sequence[PairRef]) -> dict[str, list[PairRef]]:
    found: dict[str, list[PairRef]] = {}
    for pair in sorted(members, key=lambda pair: (pair.video_key, pair.pair_id)):
        found.setdefault(pair.video_key, []).append(pair)
    return found


def _group_numbers(ranked: Sequence[PairRef], pairs_together: int) -> dict[int, int]:
    """A group for each pair: up to `pairs_together` of one video that are next to each other in difficulty."""
    seen: dict[str, int] = {}
    numbers: dict[tuple[str, int], int] = {}
    found: dict[int, int] = {}
    for pair in ranked:
        n = seen[pair.video_key] = seen.get(pair.video_key, -1) + 1
        found[pair.pair_id] = numbers.setdefault((pair.video_key, n // max(1, pairs_together)), len(numbers))
    return found
