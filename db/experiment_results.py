"""The figures of an experiment, read from the single answers of its evaluations.

Scores of different settings (other questions, another prompt) are never put together: of each figure the settings
that most runs share count, and a run measured otherwise is missing there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from db import datasets, experiments
from db.experiments import Cell, Experiment
from db.tables import EvaluationItemRow, EvaluationRow, RunRow
from tempo_core.experiment_results import BASE, UNTRAINED, Answers, Figure, Key, figures


@dataclass(frozen=True, slots=True)
class _Line:
    id: int
    run_id: int | None
    moment: str
    key: Key
    settings_sha256: str
    dataset: str | None
    chance: float | None
    n_unparsed: int


def table(session: Session, experiment_id: int) -> tuple[Figure, ...]:
    """Every arm's figures after its last phase, the base first, each against the reference arm."""
    experiment = experiments.get(session, experiment_id)
    answers = _answers(session, experiment, experiments.cells(session, experiment_id))
    names = (BASE, *(arm.name for arm in experiment.arms))
    return figures({name: answers[name] for name in names if name in answers}, experiment.reference.name)


def stamp(session: Session, experiment_id: int) -> int:
    """Changes whenever the table does: the newest evaluation of its runs."""
    run_ids = [cell.run_id for cell in experiments.cells(session, experiment_id)]
    newest = select(EvaluationRow.id).where(EvaluationRow.run_id.in_(run_ids)).order_by(EvaluationRow.id.desc())
    return session.execute(newest.limit(1)).scalar() or 0


def _answers(session: Session, experiment: Experiment, cells: Sequence[Cell]) -> dict[str, dict[Key, Answers]]:
    """By arm and figure."""
    of_run = {cell.run_id: cell for cell in cells}
    lines = _common(_lines(session, experiment, of_run))
    items = _items(session, [line.id for line in lines])
    found: dict[str, dict[Key, dict[int, _Line]]] = {}
    for line in lines:
        if line.id not in items:
            continue
        cell = of_run.get(line.run_id or 0)
        arm, seed = (BASE, UNTRAINED) if cell is None else (cell.arm, cell.seed)
        found.setdefault(arm, {}).setdefault(line.key, {})[seed] = line
    return {arm: {key: _together(of_seed, items) for key, of_seed in keys.items()} for arm, keys in found.items()}


def _lines(session: Session, experiment: Experiment, of_run: Mapping[int, Cell]) -> list[_Line]:
    """The newest figure of each model, moment and metric, of the runs and of their base."""
    e, r = EvaluationRow, RunRow
    about = select(r.id, r.recipe, r.base_model_id).where(r.id.in_(list(of_run)))
    runs_of = {row.id: row for row in session.execute(about)}
    last = {run_id: experiments.last_moment(row.recipe) for run_id, row in runs_of.items()}
    bases = {row.base_model_id for row in runs_of.values()}
    query = select(
        e.id, e.run_id, e.moment, e.benchmark, e.metric, e.settings_sha256, e.settings, e.chance, e.n_unparsed
    ).where(or_(e.run_id.in_(list(of_run)), e.run_id.is_(None) & e.model_id.in_(list(bases))))
    held_out = datasets.get(session, experiment.version_id).content_sha256
    found: dict[tuple[Any, ...], _Line] = {}
    for row in session.execute(query.order_by(e.id)):
        dataset = row.settings.get("dataset")
        if (row.run_id is not None and row.moment != last[row.run_id]) or dataset not in (None, held_out):
            continue
        line = _Line(
            row.id, row.run_id, row.moment, (row.benchmark, row.metric), row.settings_sha256, dataset, row.chance,
            row.n_unparsed,
        )  # fmt: skip
        found[line.run_id, line.key, line.settings_sha256] = line
    return list(found.values())


def _common(lines: Iterable[_Line]) -> list[_Line]:
    """Of each figure the settings that most runs share; of equally many the newer."""
    lines = list(lines)
    counted: dict[Key, Counter[str]] = {}
    newest: dict[tuple[Key, str], int] = {}
    for line in lines:
        counted.setdefault(line.key, Counter())[line.settings_sha256] += line.run_id is not None
        newest[line.key, line.settings_sha256] = max(line.id, newest.get((line.key, line.settings_sha256), 0))
    chosen = {key: max(of, key=lambda sha: (of[sha], newest[key, sha])) for key, of in counted.items()}
    trained = {line.key for line in lines if line.run_id is not None}
    return [line for line in lines if line.key in trained and line.settings_sha256 == chosen[line.key]]


Items = dict[int, dict[str, tuple[str, float]]]
"""By evaluation: group and value of each item."""


def _items(session: Session, evaluation_ids: Sequence[int]) -> Items:
    i = EvaluationItemRow
    found: Items = {}
    query = select(i.evaluation_id, i.item, i.group_key, i.correct).where(i.evaluation_id.in_(list(evaluation_ids)))
    for evaluation_id, item, group, correct in session.execute(query.order_by(i.evaluation_id, i.item)):
        found.setdefault(evaluation_id, {})[item] = group, 0.0 if correct is None else correct
    return found


def _together(of_seed: Mapping[int, _Line], items: Items) -> Answers:
    """The seeds of an arm on the items that all of them answered."""
    answered = {seed: items[line.id] for seed, line in sorted(of_seed.items())}
    first = next(iter(answered.values()))
    shared = [item for item in first if all(item in other for other in answered.values())]
    return Answers(
        items=tuple(shared),
        groups=tuple(first[item][0] for item in shared),
        values={seed: tuple(of[item][1] for item in shared) for seed, of in answered.items()},
        chance=next(iter(of_seed.values())).chance,
        n_unparsed=sum(line.n_unparsed for line in of_seed.values()),
    )
