"""What stored probes say in words: short answers of a run against its base, and whether a model sees the video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import evaluations
from db.evaluations import EvaluationLine
from tempo_core import findings
from tempo_core.errors import TooFew
from tempo_core.findings import Finding

SHORT = (("short_answers", "accuracy"), ("tempcompass", "yes_no"), ("tempcompass", "multi_choice"))
"""Figures whose answers are a word or a letter."""


@dataclass(frozen=True, slots=True)
class Told:
    """A finding about the model of a run at a moment; `run_id` None is the base."""

    model_id: int
    run_id: int | None
    moment: str
    benchmark: str
    finding: Finding


def of_lines(session: Session, lines: Sequence[EvaluationLine]) -> list[Told]:
    """Every finding that these figures give, the newest figure of each model and moment; the gravest first."""
    found = [*_canaries(lines), *_short(session, lines)]
    return sorted(found, key=lambda told: ("red", "amber", "fine").index(told.finding.level))


def _canaries(lines: Sequence[EvaluationLine]) -> Iterator[Told]:
    shares: dict[tuple[int, int | None, str], dict[str, float]] = {}
    for line in _newest(line for line in lines if line.benchmark == "canary"):
        shares.setdefault((line.model_id, line.run_id, line.moment), {})[line.metric] = line.value
    for (model_id, run_id, moment), found in shares.items():
        yield Told(model_id, run_id, moment, "canary", findings.canary(found))


def _short(session: Session, lines: Sequence[EvaluationLine]) -> Iterator[Told]:
    asked = [line for line in lines if (line.benchmark, line.metric) in SHORT]
    bases = {(b.model_id, b.metric, b.settings_sha256): b.id for b in reversed(asked) if b.run_id is None}
    for line in _newest(asked):
        before = bases.get((line.model_id, line.metric, line.settings_sha256))
        if line.run_id is None or before is None:
            continue
        try:
            finding = findings.short_answers(evaluations.items(session, before), evaluations.items(session, line.id))
        except TooFew:
            # Of one video nothing can be told; the figures stand for themselves.
            continue
        yield Told(line.model_id, line.run_id, line.moment, line.benchmark, finding)


def _newest(lines: Iterable[EvaluationLine]) -> list[EvaluationLine]:
    """The table has the newest first."""
    found: dict[tuple[object, ...], EvaluationLine] = {}
    for line in lines:
        found.setdefault((line.model_id, line.run_id, line.moment, line.benchmark, line.metric), line)
    return list(found.values())
