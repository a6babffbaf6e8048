"""What is stored about runs and their data, gathered for a paper. Nothing here is measured or guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tempo_core.exchange.model_card import Figure as Estimate
from tempo_core.exchange.model_card import RunFacts
from tempo_core.experiment_results import Figure
from tempo_core.types import PlannedPair

Series = Mapping[str, tuple[tuple[int, float | None], ...]]
"""Points (step, value) of each curve by its key."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Pairs of one kind and level on one side of a version."""

    kind: str
    level: int | None
    split: str
    n: int


@dataclass(frozen=True, slots=True)
class Plans:
    """Pairs of one kind and magnitude, with their measured difficulty, 0..1. `law` is how plans were drawn."""

    kind: str
    magnitude: int
    law: str
    n: int
    easiest: float
    mean: float
    hardest: float


@dataclass(frozen=True, slots=True)
class Answered:
    """How `n` pairs were answered: by which model, on what, and how its answers were drawn."""

    model: str
    model_sha256: str
    input: str
    sampling: Mapping[str, Any]
    n: int


@dataclass(frozen=True, slots=True)
class Selected:
    """The thresholds (`timeline.Richness`) under which `n_videos` of the videos were found rich in events."""

    thresholds: Mapping[str, Any]
    n_videos: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One filter rule: of `n_checked` candidate pairs of the version's videos it refused `n_refused`."""

    name: str
    rule: str
    n_checked: int
    n_refused: int


@dataclass(frozen=True, slots=True)
class Reviewed:
    """How the pairs of a version came to be accepted. The first three add up to all pairs."""

    n_alone: int
    """Each decided by itself."""
    n_sampled: int
    """Accepted unread after a blind sample of their stratum."""
    n_unread: int
    """Accepted in bulk without one."""
    n_edited: int
    """Of all pairs, those whose texts people changed."""
    n_reviewers: int
    """People who decided pairs by themselves."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a blind sample of a stratum says about the pairs of it that nobody read."""

    stratum: str
    n_pairs: int
    n_read: int
    bad: int
    bound: float
    confidence: float
    n_here: int
    at_most_here: int


@dataclass(frozen=True, slots=True)
class DataFacts:
    """A frozen version. `criteria` is what it was frozen by; `videos` counts each side's."""

    name: str
    number: int
    sha256: str
    seed: int
    criteria: Mapping[str, Any]
    videos: Mapping[str, int]
    counts: tuple[Counted, ...]
    plans: tuple[Plans, ...]
    answered: tuple[Answered, ...]
    selected: tuple[Selected, ...]
    rules: tuple[Rule, ...]
    n_candidates: int
    n_refused: int
    """Of the candidates, by one rule or more."""
    reviewed: Reviewed
    bounds: tuple[Bound, ...]
    n_imported: int

    def n(self, split: str) -> int:
        return sum(counted.n for counted in self.counts if counted.split == split)


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of one model with its 95 % interval. `run_id` None is the base."""

    run_id: int | None
    model: str
    moment: str
    benchmark: str
    split: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    n_groups: int
    n_unparsed: int
    chance: float | None
    dataset_sha256: str | None = None
    """The version whose held-out videos were asked about."""
    contaminated: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """An experiment that one of the runs belongs to: every arm's figures over its seeds, each against the reference."""

    number: int
    name: str
    reference: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Transferred:
    """A measured cell of a transfer matrix: `trains` after pairs that `written_by` wrote, against its own base.

    `differs` says in what the cell does not match the others; then its difference must not be compared with theirs.
    """

    benchmark: str
    metric: str
    moment: str
    written_by: str
    trains: str
    run_id: int
    before: float
    after: float
    difference: Estimate
    n: int
    n_groups: int
    verdict: str
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaperRun:
    """One run: its card's facts, its data, curves, order and what was measured of it and of its base."""

    run: RunFacts
    data: DataFacts | None
    series: Series
    planned: tuple[PlannedPair, ...]
    measured: tuple[Measured, ...]
    n_left_out: int
    """Pairs with more tokens than the run allows."""
    notes: tuple[str, ...]
    env: Mapping[str, Any]
    n_sft_steps: int
