"""What a step tells: values per level, from single pairs and never from means of batches.

The one thing to know: `l1/loss` is the preference part alone, and `l1/accuracy_per_token` asks which answer the policy
itself finds likelier per token. Drop's rejected answers are shorter, so raw sums would call every one of them likelier.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol, TypeVar

from tempo_core.recipes import Phase
from tempo_core.training.chain import Link
from tempo_core.types import Metric, Progress, level_key


class Events(Protocol):
    """How a run speaks while it trains. Steps count from 1 over all stages."""

    def metrics(self, values: Sequence[Metric]) -> None:
        """One call a step."""

    def stage_started(
        self, ordinal: int, name: str, phase: Phase, n_pairs: int, first_step: int, last_step: int
    ) -> None: ...

    def stage_ended(self, ordinal: int, link: Link) -> None: ...

    def checkpoint(self, step: int, stage: int, path: Path, manifest_sha256: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def should_stop(self) -> bool:
        """Asked at the end of each step; True saves a checkpoint and ends the run with `Cancelled`."""

    def resumed(self, step: int) -> None:
        """Training goes on after this step (0: from the beginning); rows of metrics beyond it must go."""

    def note(self, text: str) -> None: ...

    def pair_scores(self, rows: Sequence[tuple[int, float]]) -> None:
        """(pair_id, margin when it was trained), before each checkpoint and at the end of a stage."""


@dataclass(frozen=True, slots=True)
class PairValues:
    """One pair in one step; sums are over the answers' tokens."""

    pair_id: int
    level: int | None
    chosen: float
    rejected: float
    reference_chosen: float
    reference_rejected: float
    n_chosen: int
    n_rejected: int
    beta: float

    @property
    def reward_chosen(self) -> float:
        return self.beta * (self.chosen - self.reference_chosen)

    @property
    def reward_rejected(self) -> float:
        return self.beta * (self.rejected - self.reference_rejected)

    @property
    def margin(self) -> float:
        return self.reward_chosen - self.reward_rejected

    @property
    def loss(self) -> float:
        """-log sigmoid(margin), in the form that cannot overflow."""
        return max(-self.margin, 0.0) + math.log1p(math.exp(-abs(self.margin)))

    @property
    def accuracy(self) -> float:
        return float(self.margin > 0)

    @property
    def accuracy_per_token(self) -> float:
        return float(self.chosen / self.n_chosen > self.rejected / self.n_rejected)

    @property
    def sft_loss(self) -> float:
        """Negative log-likelihood of the chosen answer, mean over its tokens."""
        return -self.chosen / self.n_chosen


@dataclass(frozen=True, slots=True)
class AnswerValues:
    """One answer in one step."""

    row_id: int
    level: int | None
    sft_loss: float


Leveled = TypeVar("Leveled", PairValues, AnswerValues)
PER_LEVEL = ("loss", "margin", "accuracy", "reward_chosen", "reward_rejected", "accuracy_per_token")


class StepLog:
    """Gathers single values during a step and gives its metrics at the end."""

    def __init__(self, phase: Phase, sft_weight: float) -> None:
        self._phase = phase
        self._sft_weight = sft_weight
        self._pairs: list[PairValues] = []
        self._answers: list[AnswerValues] = []
        self._margins: dict[int, float] = {}
        self._since = time.perf_counter()

    def add_pair(self, values: PairValues) -> None:
        self._pairs.append(values)
        self._margins[values.pair_id] = values.margin

    def add_answer(self, values: AnswerValues) -> None:
        self._answers.append(values)

    def metrics(self, step: int) -> list[Metric]:
        """The step's metrics; empties the log."""
        now = time.perf_counter()
        values = self._of_pairs() | self._of_answers()
        n = len(self._pairs) + len(self._answers)
        unit = "examples" if self._phase == "sft" else "pairs"
        values[f"speed/{unit}_per_s"] = n / max(now - self._since, 1e-9)
        self._pairs, self._answers, self._since = [], [], now
        return [Metric(key, step, value) for key, value in values.items()]

    def take_margins(self) -> list[tuple[int, float]]:
        margins, self._margins = list(self._margins.items()), {}
        return margins

    def _of_pairs(self) -> dict[str, float]:
        if not self._pairs:
            return {}
        values = {"dpo/loss": fmean(pair.loss for pair in self._pairs)}
        if self._sft_weight > 0:
            values["dpo/sft_loss"] = fmean(pair.sft_loss for pair in self._pairs)
        for key, pairs in _by_level(self._pairs).items():
            values |= {f"{key}/{name}": fmean(getattr(pair, name) for pair in pairs) for name in PER_LEVEL}
            values[f"{key}/n"] = float(len(pairs))
        return values

    def _of_answers(self) -> dict[str, float]:
        if not self._answers:
            return {}
        values = {f"{self._phase}/loss": fmean(answer.sft_loss for answer in self._answers)}
        if self._phase == "sft":
            return values
        for key, answers in _by_level(self._answers).items():
            values[f"{key}/sft_loss"] = fmean(answer.sft_loss for answer in answers)
            values[f"{key}/n"] = float(len(answers))
        return values


def _by_level(values: Sequence[Leveled]) -> dict[str, list[Leveled]]:
    levels: dict[str, list[Leveled]] = {}
    for value in values:
        levels.setdefault(level_key(value.level), []).append(value)
    return dict(sorted(levels.items()))
