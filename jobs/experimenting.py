"""Queue an experiment: all its runs, each followed by its measurement; stop the rest of it, or go on with it.

What has to wait for something is queued by the job it waits for: `after_training` is called by the train task, so
that a run which failed is not measured and holds up nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from db import datasets, experiments, jobs, metrics, people, runs, sft_sets
from db.experiments import Asked, Experiment
from db.people import Person
from db.session import Database
from jobs import launch, payloads, starting
from jobs.payloads import EvaluatePayload
from tempo_core import benchmarks
from tempo_core.curriculum import TrainingPlan, training_plan
from tempo_core.errors import EmptyStage, TooFew
from tempo_core.experiments import Arm, Design, arms, cells
from tempo_core.types import PairRef
from tempo_core.video_llms import checkpoints

MEASURING_FIRST = 1
"""Priority of a measurement: before the runs that wait, so that every figure is there as early as it can be."""

MISSING = ("failed", "cancelled", "to measure")
"""Where a cell stands that `go_on` queues again."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """An experiment before anything is queued."""

    arms: tuple[Arm, ...]
    n_steps: Mapping[str, int | None]
    """Of one run of each arm; None where it follows from the reference once that arm starts."""
    n_runs: int
    training_s: float | None
    """By the pace of earlier runs of this model on these data; None where a phase of it has not run yet."""


def preview(session: Session, design: Design, base: Path, *, version_id: int, sft_set_id: int | None = None) -> Ahead:
    """How much work that would be.

    Raises:
        TempoError: What `queue` would refuse about the design and the pairs.
    """
    found, refs = arms(design), starting.refs(session, version_id)
    n_examples = None if sft_set_id is None else sft_sets.get(session, sft_set_id).n_items
    steps = {arm.name: _steps(arm, refs, n_examples) for arm in found}
    pace = metrics.pace(session, runs.alike(session, checkpoints.inspect(base).files_sha256, version_id))
    reference = steps[found[0].name]
    one_seed = [_seconds(reference if arm.match else steps[arm.name], pace) for arm in found]
    totals = {arm.name: None if arm.match else _total(steps[arm.name]) for arm in found}
    known = [seconds for seconds in one_seed if seconds is not None]
    training_s = sum(known) * len(design.seeds) if len(known) == len(found) else None
    return Ahead(found, totals, len(found) * len(design.seeds), training_s)


Steps = Mapping[str, int | None]
"""By phase; None: not known before the run starts."""


def _steps(arm: Arm, refs: Sequence[PairRef], n_examples: int | None) -> Steps:
    config = arm.config
    of_sft = config.sft_steps
    if of_sft is None and n_examples is not None:
        of_sft = n_examples // config.sft_examples_per_step
    return {phase: of_sft if phase == "sft" else _planned(arm, refs).n_steps for phase in arm.phases}


def _planned(arm: Arm, refs: Sequence[PairRef]) -> TrainingPlan:
    """Levels with fewer pairs than a step are left out, in every arm alike."""
    try:
        return training_plan(refs, arm.config, skip_small=True)
    except EmptyStage as error:
        raise EmptyStage(f"{arm.name} cannot be trained. {error}") from error


def _total(steps: Steps) -> int | None:
    known = [n for n in steps.values() if n is not None]
    return sum(known) if len(known) == len(steps) else None


def _seconds(steps: Steps, pace: Mapping[str, float]) -> float | None:
    known = [n * pace[phase] for phase, n in steps.items() if n is not None and phase in pace]
    return sum(known) if len(known) == len(steps) else None


def queue(
    database: Database,
    person: Person,
    name: str,
    design: Design,
    base: Path,
    *,
    version_id: int,
    sft_set_id: int | None = None,
    asked: Asked | None = None,
) -> int:
    """Queue every run of an experiment and return its id. Levels with fewer pairs than a step are left out.

    Raises:
        TempoError: The design, the model, the data or the name does not fit; nothing was queued.
    """
    people.require(person, "admin")
    asked = asked or Asked()
    for benchmark in asked.benchmarks:
        benchmarks.check(benchmark)
    found, checkpoint, code = arms(design), checkpoints.inspect(base), starting.code_version()
    with database.session() as session:
        if not datasets.get(session, version_id).n_held_out:
            raise TooFew(
                f"Dataset version {version_id} holds nothing out, so there is nothing to measure on. Freeze one of "
                "five videos or more."
            )
        refs = starting.refs(session, version_id)
        for arm in found:
            if set(arm.phases) != {"sft"}:
                _planned(arm, refs)
        phases = sorted({phase for arm in found for phase in arm.phases})
        sft_set_id = starting.checked_data(session, person, checkpoint, phases, version_id, sft_set_id)
        experiment_id = experiments.create(
            session, person, name, found, design.seeds, version_id=version_id, sft_set_id=sft_set_id, asked=asked
        )
        env = starting.environment() | {"skip_small": True, "smaller_step": False, "ranks": 1}
        for arm, config in cells(found, design.seeds):
            run_id = starting.queue_checked(
                session,
                person,
                config,
                checkpoint,
                version_id=version_id,
                sft_set_id=sft_set_id if "sft" in arm.phases else None,
                name=f"{name}: {arm.name}",
                env=env,
                code=code,
            )
            experiments.add_run(session, experiment_id, run_id, arm.name, config.seed)
    return experiment_id


def after_training(session: Session, run_id: int) -> None:
    """Queue the measurement of a run that has just been trained, if it belongs to an experiment."""
    found = experiments.of_run(session, run_id)
    if found is not None:
        _measure(session, found[0], run_id)


def _measure(session: Session, experiment: Experiment, run_id: int) -> None:
    """In the name of who queued the experiment, whatever their role is by now."""
    asked = experiment.asked
    payload = EvaluatePayload(
        run_id=run_id,
        version_id=experiment.version_id,
        benchmarks=asked.benchmarks,
        limit=asked.limit,
        data=asked.data,
        pictures=asked.pictures,
    )
    jobs.enqueue(
        session,
        payloads.kind_of(payload),
        payloads.as_json(payload),
        created_by=experiment.created_by,
        needs=payloads.needs_of(payload),
        again=True,
        priority=MEASURING_FIRST,
    )


def cancel_rest(database: Database, person: Person, experiment_id: int) -> int:
    """Take back what waits; how many runs. The one that trains goes on to its end and is measured."""
    with database.session() as session:
        people.require(person, "admin")
        waiting = [cell for cell in experiments.cells(session, experiment_id) if cell.state == "queued"]
        for cell in waiting:
            if cell.job_id is not None:
                jobs.cancel(session, cell.job_id)
    return len(waiting)


def go_on(database: Database, person: Person, experiment_id: int) -> int:
    """Queue what is missing: failed and cancelled runs go on from their checkpoints, trained ones are measured.

    Returns:
        How many runs were queued, for training or for their measurement.
    """
    with database.session() as session:
        people.require(person, "admin")
        experiment = experiments.get(session, experiment_id)
        missing = [cell for cell in experiments.cells(session, experiment_id) if cell.where in MISSING]
        for cell in missing:
            if cell.state == "succeeded":
                _measure(session, experiment, cell.run_id)
            else:
                launch.resume_run_in(session, person, cell.run_id)
    return len(missing)
