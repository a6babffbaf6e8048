"""Experiments: which arms and seeds belong together, which run each cell is, and how far they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import people, runs
from db.people import Person
from db.session import now_ms
from db.tables import EvaluationRow, ExperimentRow, ExperimentRunRow, RunRow, UserRow
from tempo_core.errors import BadSettings, Unknown
from tempo_core.experiments import Arm
from tempo_core.recipes import RECIPES

LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Asked:
    """What every run of an experiment is measured on, so that all answer the same questions."""

    benchmarks: tuple[str, ...] = ()
    """All on held-out videos when empty."""
    limit: int | None = None
    data: str | None = None
    """The folder of benchmarks in files."""
    pictures: int = 16


@dataclass(frozen=True, slots=True)
class Experiment:
    id: int
    name: str
    arms: tuple[Arm, ...]
    """The first is the reference."""
    seeds: tuple[int, ...]
    version_id: int
    sft_set_id: int | None
    asked: Asked
    created_ms: int
    created_by: int
    by: str

    @property
    def reference(self) -> Arm:
        return self.arms[0]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of an experiment."""

    arm: str
    seed: int
    run_id: int
    state: str
    error: str | None
    job_id: int | None
    measured: bool

    @property
    def where(self) -> str:
        """Where it stands, in a word; a run that trained is done only once it is measured."""
        return "to measure" if self.state == "succeeded" and not self.measured else self.state


def create(
    session: Session,
    person: Person,
    name: str,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    version_id: int,
    sft_set_id: int | None,
    asked: Asked,
) -> int:
    """Raises: BadSettings, for a name that is empty, too long or taken."""
    people.require(person, "admin")
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise BadSettings(f"The name has {len(name)} characters; it may have 1 to {LONGEST_NAME}.")
    if session.execute(select(ExperimentRow.id).where(ExperimentRow.name == name)).first() is not None:
        raise BadSettings(f"There is an experiment {name!r} already. Give this one another name.")
    settings = {
        "arms": [asdict(arm) for arm in arms],
        "seeds": list(seeds),
        "version_id": version_id,
        "sft_set_id": sft_set_id,
        "asked": asdict(asked),
    }
    row = ExperimentRow(name=name, settings=settings, created_by=person.id, created_ms=now_ms())
    session.add(row)
    session.flush()
    return row.id


def add_run(session: Session, experiment_id: int, run_id: int, arm: str, seed: int) -> None:
    session.add(ExperimentRunRow(experiment_id=experiment_id, run_id=run_id, arm=arm, seed=seed))
    session.flush()


def get(session: Session, experiment_id: int) -> Experiment:
    found = [one for one in listing(session) if one.id == experiment_id]
    if not found:
        raise Unknown(f"There is no experiment {experiment_id}.")
    return found[0]


def listing(session: Session) -> list[Experiment]:
    """The newest first."""
    query = select(ExperimentRow, UserRow.name).join(UserRow, UserRow.id == ExperimentRow.created_by)
    return [_value(row, by) for row, by in session.execute(query.order_by(ExperimentRow.id.desc()))]


def of_run(session: Session, run_id: int) -> tuple[Experiment, Arm, int] | None:
    """The experiment that a run belongs to, with its arm and seed."""
    e = ExperimentRunRow
    found = session.execute(select(e.experiment_id, e.arm, e.seed).where(e.run_id == run_id)).first()
    if found is None:
        return None
    experiment = get(session, found.experiment_id)
    return experiment, next(arm for arm in experiment.arms if arm.name == found.arm), found.seed


def cells(session: Session, experiment_id: int) -> tuple[Cell, ...]:
    """Every run, in the order in which they were queued."""
    e = ExperimentRunRow
    query = select(e.arm, e.seed, e.run_id, RunRow.state, RunRow.error, RunRow.recipe, RunRow.job_id)
    query = query.join(RunRow, RunRow.id == e.run_id).where(e.experiment_id == experiment_id).order_by(e.run_id)
    rows = session.execute(query).all()
    known = _measured(session, [row.run_id for row in rows])
    asked = get(session, experiment_id).asked.benchmarks
    return tuple(
        Cell(
            row.arm, row.seed, row.run_id, row.state, row.error, row.job_id,
            measured=_complete(known.get((row.run_id, last_moment(row.recipe)), set()), asked),
        )
        for row in rows
    )  # fmt: skip


def last_moment(recipe: str) -> str:
    """What an evaluation calls the moment after all phases of a recipe."""
    return "+".join(dict.fromkeys(RECIPES[recipe]))


def _measured(session: Session, run_ids: Sequence[int]) -> dict[tuple[int, str], set[str]]:
    """The benchmarks with figures, by run and moment."""
    e = EvaluationRow
    query = select(e.run_id, e.moment, e.benchmark).where(e.run_id.in_(list(run_ids))).distinct()
    found: dict[tuple[int, str], set[str]] = {}
    for run_id, moment, benchmark in session.execute(query):
        found.setdefault((run_id or 0, moment), set()).add(benchmark)
    return found


def _complete(known: set[str], asked: Sequence[str]) -> bool:
    return set(asked) <= known if asked else bool(known)


def _value(row: ExperimentRow, by: str) -> Experiment:
    settings = row.settings
    return Experiment(
        id=row.id,
        name=row.name,
        arms=tuple(_arm(stored) for stored in settings["arms"]),
        seeds=tuple(settings["seeds"]),
        version_id=settings["version_id"],
        sft_set_id=settings["sft_set_id"],
        asked=Asked(**(settings["asked"] | {"benchmarks": tuple(settings["asked"]["benchmarks"])})),
        created_ms=row.created_ms,
        created_by=row.created_by,
        by=by,
    )


def _arm(stored: Mapping[str, Any]) -> Arm:
    return Arm(**(dict(stored) | {"config": runs.config_of(stored["config"])}))
