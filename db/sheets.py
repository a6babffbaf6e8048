"""Which figures may stand beside each other: a sheet is one benchmark, asked in one way, of every checkpoint.

A checkpoint is a base model, or a run's model after one of its phases. Figures of two sheets are never subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from db import evaluations, runs
from db.evaluations import EvaluationLine
from db.runs import RunCard
from tempo_core import comparisons


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`moment` is "base", or what was trained so far, such as "dpo" or "sft+dpo"."""

    model_id: int
    model: str
    run_id: int | None
    moment: str

    @property
    def key(self) -> str:
        """How an address names it: base-1, or 3-dpo for run 3 after its DPO."""
        return f"base-{self.model_id}" if self.run_id is None else f"{self.run_id}-{self.moment}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """`lines` holds the newest figure of each (checkpoint key, metric)."""

    benchmark: str
    settings: Mapping[str, Any]
    settings_sha256: str
    checkpoints: tuple[Checkpoint, ...]
    metrics: tuple[str, ...]
    lines: Mapping[tuple[str, str], EvaluationLine]

    @property
    def key(self) -> str:
        """How an address names it."""
        return f"{self.benchmark}-{self.settings_sha256[:8]}"

    def line(self, checkpoint: Checkpoint, metric: str) -> EvaluationLine | None:
        return self.lines.get((checkpoint.key, metric))

    def is_share(self, metric: str) -> bool:
        """Whether the figure is a share; others, such as a number of words, have no percentage points."""
        bounds = [(line.low, line.high) for (_, name), line in self.lines.items() if name == metric]
        return all(low >= 0 and high <= 1 for low, high in bounds)

    def shares_of_items(self) -> tuple[str, ...]:
        """The figures of the benchmark as a whole that are shares, question by question."""
        wholes = comparisons.wholes(self.benchmark, self.metrics)
        return tuple(m for m in wholes if self.is_share(m) and not m.endswith(comparisons.MEAN_OF_TASKS))

    def has(self, *checkpoints: Checkpoint) -> bool:
        keys = {checkpoint.key for checkpoint in self.checkpoints}
        return all(checkpoint.key in keys for checkpoint in checkpoints)


def listing(session: Session) -> list[Sheet]:
    """Every sheet, the one with the newest figure first."""
    return sheets(evaluations.table(session))


def sheets(lines: Sequence[EvaluationLine]) -> list[Sheet]:
    """Sheets of lines that come the newest first."""
    grouped: dict[tuple[str, str], list[EvaluationLine]] = {}
    for line in lines:
        grouped.setdefault((line.benchmark, line.settings_sha256), []).append(line)
    return [_sheet(found) for found in grouped.values()]


def _sheet(found: Sequence[EvaluationLine]) -> Sheet:
    newest: dict[tuple[str, str], EvaluationLine] = {}
    checkpoints: dict[str, Checkpoint] = {}
    for line in found:
        checkpoint = Checkpoint(line.model_id, line.model, line.run_id, line.moment)
        checkpoints.setdefault(checkpoint.key, checkpoint)
        newest.setdefault((checkpoint.key, line.metric), line)
    # As they were recorded: the whole before its tasks.
    metrics = dict.fromkeys(line.metric for line in sorted(newest.values(), key=lambda line: line.id))
    ordered = sorted(checkpoints.values(), key=lambda c: (c.run_id or 0, c.model_id, len(c.moment)))
    first = found[0]
    return Sheet(first.benchmark, first.settings, first.settings_sha256, tuple(ordered), tuple(metrics), newest)


def checkpoints(found: Iterable[Sheet]) -> tuple[Checkpoint, ...]:
    """Every checkpoint of some sheets, bases first, then run by run."""
    known = {checkpoint.key: checkpoint for sheet in found for checkpoint in sheet.checkpoints}
    return tuple(sorted(known.values(), key=lambda c: (c.run_id or 0, c.model_id, len(c.moment))))


def available(session: Session) -> tuple[Checkpoint, ...]:
    """Every checkpoint that can be asked something: what runs left behind, and their bases; measured or not."""
    cards = [line.run for line in runs.listing(session)]
    bases = {card.base_model_id: Checkpoint(card.base_model_id, card.base_model, None, "base") for card in cards}
    trained = [
        Checkpoint(card.base_model_id, card.base_model, card.id, moment)
        for card in reversed(cards) for moment, _ in runs.moments(session, card.id)
    ]  # fmt: skip
    return (*bases.values(), *trained)


def seeds(session: Session, found: Iterable[Checkpoint]) -> dict[str, tuple[int, ...]]:
    """For each checkpoint of a run: the runs among these that differ from it in the seed alone, itself included."""
    trained = [checkpoint for checkpoint in found if checkpoint.run_id is not None]
    cards = runs.of_ids(session, {checkpoint.run_id for checkpoint in trained if checkpoint.run_id is not None})
    alike: dict[tuple[str, ...], list[int]] = {}
    for checkpoint in trained:
        card = cards[checkpoint.run_id or 0]
        alike.setdefault(_but_seed(card, checkpoint.moment), []).append(card.id)
    return {c.key: tuple(alike[_but_seed(cards[c.run_id or 0], c.moment)]) for c in trained}


def _but_seed(card: RunCard, moment: str) -> tuple[str, ...]:
    config = asdict(replace(card.config, seed=0))
    of = (moment, card.base_model_id, card.dataset_version_id, card.sft_set_id, sorted(config.items(), key=str))
    return tuple(str(part) for part in of)
