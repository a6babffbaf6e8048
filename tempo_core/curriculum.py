"""From pairs and settings to the exact order of training, fixed before step 0.

The plan is a pure function of pairs, settings and seed, so the page that previews it and the run that trains it
cannot differ. Levels are `tempo_core.levels`, the order inside and across them `tempo_core.pacings`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tempo_core import lengths, pacings
from tempo_core.errors import EmptyStage, TooFew
from tempo_core.lengths import LengthRule
from tempo_core.levels import LEVELS, with_levels
from tempo_core.pacings import Course
from tempo_core.recipes import RunConfig, check
from tempo_core.types import PairRef, PlannedPair, Stage, level_key

FEWEST_VIDEOS = 5
"""A step of pairs from fewer videos learns these videos rather than the order of events (TRAINING 10; our choice)."""
MOST_OF_A_KIND = 0.8
"""Our choice: above it a level's curves tell about one kind of perturbation only."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The training order, written down before step 0."""

    planned: tuple[PlannedPair, ...]
    stages: tuple[Stage, ...]
    dropped: Mapping[str, int]
    """Places (pairs times epochs) per stage that fill no whole step, or belong to a level left out."""
    notes: tuple[str, ...]
    sha256: str
    repeats: Mapping[str, int] = field(default_factory=dict)
    """Places per stage that repeat a pair of an earlier level (pacing `replay`)."""
    unmatched: Mapping[str, int] = field(default_factory=dict)
    """Pairs per level that length matching left out."""

    @property
    def n_steps(self) -> int:
        return self.planned[-1].step + 1


def training_plan(
    pairs: Sequence[PairRef], config: RunConfig, *, skip_small: bool = False, smaller_step: bool = False
) -> TrainingPlan:
    """Put the pairs into the order of training.

    Courses follow `config.pacing`. Up to `config.pairs_together` pairs of one video stay side by side, and each pass
    is a whole number of steps of `config.pairs_per_step` pairs; the remainder is left out and counted in `dropped`.

    Args:
        skip_small: Leave out a level with fewer pairs than one step, and name it in `notes`.
        smaller_step: Train such a level in one smaller step instead. Only when the user said so.

    Raises:
        TooFew: There are no pairs at all.
        BadSettings: A number of the settings is out of its range.
        EmptyStage: A level has fewer pairs than one step, and neither way out was chosen; or no level is left.
    """
    _check(pairs, config)
    if config.difficulty == "paper":
        pairs = with_levels(pairs, "paper")
    of_level = _of_level(pairs)
    notes = [f"{level_key(level)} is empty" for level in LEVELS if level is not None and level not in of_level]
    unmatched: dict[str, int] = {}
    if config.length_matched:
        of_level, unmatched = _length_matched(of_level, notes)
        if not of_level:
            raise EmptyStage(
                f"No pair is left after length matching: of {len(pairs)} pairs no chosen answer is shorter than the "
                "rejected one, or none is longer. Accept pairs of other kinds, or train without length_matched."
            )
    dropped: Counter[str] = Counter()
    courses = _courses(of_level, config, skip_small, dropped, notes)
    planned: list[PlannedPair] = []
    repeats: Counter[str] = Counter()
    for number, course in enumerate(courses):
        name, size = course.stage.name, min(course.n_pairs, config.pairs_per_step)
        if size < config.pairs_per_step and not smaller_step:
            raise EmptyStage(f"Stage {name} is too small: {_few(size, config)}. {_WAYS_OUT}")
        if size < config.pairs_per_step:
            notes.append(f"{name} trains in smaller steps: {_few(size, config)}")
        for order in course.passes:
            whole = order[: len(order) // size * size]
            dropped[name] += course.n_own(order[len(whole) :])
            repeats[name] += len(whole) - course.n_own(whole)
            planned += _places(whole, size, number, planned, course, config)
        notes += _less_replayed(course, config)
    if not planned:
        raise EmptyStage(f"No level has the {config.pairs_per_step} pairs of one step. {_WAYS_OUT}")
    stages = tuple(course.stage for course in courses)
    return TrainingPlan(
        tuple(planned), stages, +dropped, tuple(notes), plan_sha256(planned, stages), +repeats, unmatched
    )


def plan_sha256(planned: Sequence[PlannedPair], stages: Sequence[Stage]) -> str:
    """The identity of a training order: sha256 of its canonical JSON."""
    content = {
        "schema": 1,
        "stages": [[stage.name, list(stage.levels), stage.epochs] for stage in stages],
        "planned": [[p.ordinal, p.step, p.stage, p.pair_id, p.level, p.difficulty] for p in planned],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def steps_of_share(plan: TrainingPlan, together: int = 1) -> dict[str, tuple[float, ...]]:
    """For the chart: of each level, its share of every step's pairs, or of as many steps `together`."""
    columns = [place.step // together for place in plan.planned]
    sizes = Counter(columns)
    counts = Counter(zip([place.level for place in plan.planned], columns, strict=True))
    present = {place.level for place in plan.planned}
    return {
        level_key(level): tuple(counts[level, column] / size for column, size in sorted(sizes.items()))
        for level in LEVELS
        if level in present
    }


@dataclass(frozen=True, slots=True)
class StageCount:
    """What one stage of a plan holds. `places` count epochs and repeats, `pairs` do not."""

    name: str
    pairs: int
    places: int
    repeats: int
    dropped: int
    first_step: int
    """Counted from 1."""
    n_steps: int
    videos: int
    videos_a_step: float
    """Mean number of different videos in a step."""
    lengths: LengthRule
    """What always preferring the longer answer would get right."""


def stage_counts(plan: TrainingPlan, pairs: Sequence[PairRef]) -> tuple[StageCount, ...]:
    """The table of stages, for a look before anything is stored."""
    known = {pair.pair_id: pair for pair in pairs}
    of_stage: dict[int, list[PlannedPair]] = {}
    for place in plan.planned:
        of_stage.setdefault(place.stage, []).append(place)
    counted = []
    for number, places in of_stage.items():
        name, first, last = plan.stages[number].name, places[0].step, places[-1].step
        trained = {place.pair_id for place in places}
        videos = {(place.step, known[place.pair_id].video_key) for place in places}
        counted.append(
            StageCount(
                name=name,
                pairs=len(trained),
                places=len(places),
                repeats=plan.repeats.get(name, 0),
                dropped=plan.dropped.get(name, 0),
                first_step=first + 1,
                n_steps=last - first + 1,
                videos=len({video for _, video in videos}),
                videos_a_step=len(videos) / (last - first + 1),
                lengths=lengths.length_rule(known[pair_id] for pair_id in trained),
            )
        )
    return tuple(counted)


def warnings(plan: TrainingPlan, pairs: Sequence[PairRef]) -> tuple[str, ...]:
    """What a person should know before training this plan: levels of one kind, steps of few videos."""
    kind_of, found = {pair.pair_id: pair.kind for pair in pairs}, []
    of_level: dict[int | None, Counter[str]] = {}
    for level, pair_id in {(place.level, place.pair_id) for place in plan.planned}:
        of_level.setdefault(level, Counter())[kind_of[pair_id]] += 1
    for level in LEVELS:
        if level is not None and (kinds := of_level.get(level)):
            (kind, n), total = kinds.most_common(1)[0], kinds.total()
            if n > MOST_OF_A_KIND * total:
                found.append(f"{level_key(level)} is {n / total:.0%} {kind}: its curves tell about that kind only.")
    for count in stage_counts(plan, pairs):
        if count.videos_a_step < FEWEST_VIDEOS:
            found.append(
                f"Stage {count.name} has pairs of {count.videos_a_step:.1f} videos in a step on average, of "
                f"{count.videos:,} in all; {FEWEST_VIDEOS} or more a step are better. Add videos, take more pairs a "
                "step, or keep fewer pairs of a video together."
            )
    return tuple(found)


_WAYS_OUT = (
    "Move the thresholds, accept more pairs, take fewer pairs a step, train all levels at once (mixed), "
    "or allow a smaller step, or leaving small levels out."
)


def _few(n: int, config: RunConfig) -> str:
    return f"it has {n} pair{'s' * (n != 1)}, one step needs {config.pairs_per_step}"


def _check(pairs: Sequence[PairRef], config: RunConfig) -> None:
    check(config)
    if not pairs:
        raise TooFew("There are no pairs to train on. Accept some on the review page first.")
    if len({pair.pair_id for pair in pairs}) < len(pairs):
        raise ValueError("A pair is listed twice.")


def _of_level(pairs: Sequence[PairRef]) -> dict[int | None, list[PairRef]]:
    """The pairs of each level that has any, in the order of `LEVELS`."""
    found: dict[int | None, list[PairRef]] = {level: [] for level in LEVELS}
    for pair in pairs:
        found[pair.level].append(pair)
    return {level: members for level, members in found.items() if members}


def _length_matched(
    of_level: Mapping[int | None, list[PairRef]], notes: list[str]
) -> tuple[dict[int | None, list[PairRef]], dict[str, int]]:
    """The levels with balanced lengths, and how many pairs each lost; said in `notes`, level by level."""
    kept, left_out = {}, {}
    for level, members in of_level.items():
        stay, name = list(lengths.matched(members)), level_key(level)
        if not (n := len(members) - len(stay)):
            kept[level] = stay
            continue
        left_out[name] = n
        before = f"{lengths.length_rule(members).longer} of {len(members)}"
        said = f"{name}: {n} pairs are left out for their lengths (the chosen answer was the longer one in {before})"
        notes.append(said + ("." if stay else ", and none is left: there is no pair to balance them with."))
        if stay:
            kept[level] = stay
    return kept, left_out


def _courses(
    of_level: Mapping[int | None, list[PairRef]],
    config: RunConfig,
    skip_small: bool,
    dropped: Counter[str],
    notes: list[str],
) -> list[Course]:
    """The stages in order of training; levels left out are counted, named, and repeated nowhere."""
    courses = pacings.ORDERS[config.pacing](of_level, config)
    small = [course for course in courses if course.n_pairs < config.pairs_per_step]
    if not small or not skip_small:
        return courses
    name = small[0].stage.name
    notes.append(f"{name} is left out: {_few(small[0].n_pairs, config)}")
    dropped[name] += sum(len(of_level[level]) for level in small[0].own) * config.dpo_epochs
    rest = {level: members for level, members in of_level.items() if level not in small[0].own}
    return _courses(rest, config, skip_small, dropped, notes)


def _less_replayed(course: Course, config: RunConfig) -> list[str]:
    """Said where the levels before one are too few for the share that was asked for."""
    if not course.replayed:
        return []
    n = len(course.passes[0])
    share = (n - course.n_own(course.passes[0])) / n
    if share > config.replay_share - 0.01:
        return []
    return [
        f"{course.stage.name} repeats {share:.0%} of earlier levels instead of {config.replay_share:.0%}: they have no "
        "more pairs, and none comes twice in a pass."
    ]


def _places(
    order: Sequence[PairRef],
    size: int,
    stage: int,
    before: Sequence[PlannedPair],
    course: Course,
    config: RunConfig,
) -> Iterator[PlannedPair]:
    ordinal = len(before)
    first_step = before[-1].step + 1 if before else 0
    for start in range(0, len(order), size):
        pairs = order[start : start + size]
        if course.regroup:
            pairs = pacings.side_by_side(pairs, config.pairs_together)
        step = first_step + start // size
        for i, pair in enumerate(pairs, ordinal + start):
            yield PlannedPair(i, step, stage, pair.pair_id, pair.level, pair.difficulty)
