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
from typing import Literal, Protocol, TypeVar

from tempo_core.recipes import Phase
from tempo_core.training import ranks
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

    def note(self, text: str, kind: str = "note") -> None: ...

    def pair_scores(self, moment: Literal["before", "final"], scores: Sequence[PairScore]) -> None:
        """`before`: by the model with which a pair's stage began, before each checkpoint and at the end of a stage.
        `final`: by the model after the last DPO stage."""


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
    kind: str = ""

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
    def longer_wins(self) -> float:
        """Whether the rule "the longer answer is better" gets this pair right."""
        return float(self.n_chosen > self.n_rejected)

    @property
    def sft_loss(self) -> float:
        """Negative log-likelihood of the chosen answer, mean over its tokens."""
        return -self.chosen / self.n_chosen


@dataclass(frozen=True, slots=True)
class PairScore:
    """How a model ranks a pair: log-probabilities of its answers, sums over tokens."""

    pair_id: int
    chosen: float
    rejected: float
    n_chosen: int
    n_rejected: int

    @property
    def margin(self) -> float:
        """Per token: above 0 the chosen answer is the likelier one, however long the two are."""
        return self.chosen / self.n_chosen - self.rejected / self.n_rejected


@dataclass(frozen=True, slots=True)
class AnswerValues:
    """One answer in one step."""

    row_id: int
    level: int | None
    sft_loss: float


class Mute:
    """What the ranks beside the first say."""

    def metrics(self, values: Sequence[Metric]) -> None: ...

    def stage_started(
        self, ordinal: int, name: str, phase: Phase, n_pairs: int, first_step: int, last_step: int
    ) -> None: ...

    def stage_ended(self, ordinal: int, link: Link) -> None: ...

    def checkpoint(self, step: int, stage: int, path: Path, manifest_sha256: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def should_stop(self) -> bool:
        return False

    def resumed(self, step: int) -> None: ...

    def note(self, text: str, kind: str = "note") -> None: ...

    def pair_scores(self, moment: Literal["before", "final"], scores: Sequence[PairScore]) -> None: ...


Leveled = TypeVar("Leveled", PairValues, AnswerValues)
PER_LEVEL = ("loss", "margin", "accuracy", "reward_chosen", "reward_rejected", "accuracy_per_token", "longer_wins")
PER_KIND = ("accuracy", "reward_chosen")
"""Kept for each kind inside a level too, as `drop/l1/accuracy`: what a level's curve mixes learns at its own pace."""


class StepLog:
    """Gathers single values during a step and gives its metrics at the end."""

    def __init__(self, phase: Phase, sft_weight: float) -> None:
        self._phase = phase
        self._sft_weight = sft_weight
        self._pairs: list[PairValues] = []
        self._answers: list[AnswerValues] = []
        self._scores: dict[int, PairValues] = {}
        self._tokens = self._separate = 0
        self._shares: dict[str, list[int]] = {}
        self._since = time.perf_counter()

    def add_pair(self, values: PairValues) -> None:
        self._pairs.append(values)
        self._scores[values.pair_id] = values

    def add_answer(self, values: AnswerValues) -> None:
        self._answers.append(values)

    def add_tokens(self, n_tokens: int, n_separate: int) -> None:
        """Tokens of a packed row, and those that rows of their own would have had."""
        self._tokens += n_tokens
        self._separate += n_separate

    def add_share(self, key: str, n: int, of: int) -> None:
        """Counts that become a share of the step, such as hits of a cache."""
        so_far = self._shares.setdefault(key, [0, 0])
        so_far[0] += n
        so_far[1] += of

    def gather(self) -> None:
        """Take over the other ranks' values: means are over pairs, and never over means of ranks."""
        self._pairs = ranks.gathered(self._pairs)
        self._answers = ranks.gathered(self._answers)
        counts = ranks.gathered([(self._tokens, self._separate, self._shares)])
        self._tokens, self._separate = sum(c[0] for c in counts), sum(c[1] for c in counts)
        self._shares = {
            key: [sum(shares[key][i] for *_, shares in counts if key in shares) for i in range(2)]
            for key in sorted({key for *_, shares in counts for key in shares})
        }

    def metrics(self, step: int) -> list[Metric]:
        """The step's metrics; empties the log."""
        now = time.perf_counter()
        values = self._of_pairs() | self._of_answers()
        n = len(self._pairs) + len(self._answers)
        unit = "examples" if self._phase == "sft" else "pairs"
        values[f"speed/{unit}_per_s"] = n / max(now - self._since, 1e-9)
        values |= {"speed/tokens": float(self._tokens), "speed/shared_tokens": float(self._separate - self._tokens)}
        values |= {key: hits / of for key, (hits, of) in self._shares.items() if of}
        self._pairs, self._answers, self._since = [], [], now
        self._tokens = self._separate = 0
        self._shares.clear()
        return [Metric(key, step, value) for key, value in values.items()]

    def take_scores(self) -> list[PairScore]:
        """How the reference ranked the pairs trained since the last call."""
        scores = [
            PairScore(v.pair_id, v.reference_chosen, v.reference_rejected, v.n_chosen, v.n_rejected)
            for v in self._scores.values()
        ]
        self._scores.clear()
        return scores

    def _of_pairs(self) -> dict[str, float]:
        if not self._pairs:
            return {}
        values = {"dpo/loss": fmean(pair.loss for pair in self._pairs)}
        if self._sft_weight > 0:
            values["dpo/sft_loss"] = fmean(pair.sft_loss for pair in self._pairs)
        for key, pairs in _by_level(self._pairs).items():
            values |= {f"{key}/{name}": fmean(getattr(pair, name) for pair in pairs) for name in PER_LEVEL}
            values[f"{key}/n"] = float(len(pairs))
            for kind in sorted({pair.kind for pair in pairs} - {""}):
                of_kind = [pair for pair in pairs if pair.kind == kind]
                values |= {f"{kind}/{key}/{name}": fmean(getattr(p, name) for p in of_kind) for name in PER_KIND}
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
