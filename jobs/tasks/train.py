"""Train the run whose row holds everything: plan, data, settings. A second attempt goes on where the first came to.

The order is: verify the frozen data, leave out what is too long, store the plan, then train. The training room is
reached by name, so that this module can be read without torch.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import metrics, models, run_notes, runs
from db.runs import Checkpoint, PairScore, RunCard, StageLine
from db.session import Database
from jobs import experimenting
from jobs.child import Report
from jobs.payloads import TrainPayload
from jobs.starting import pair_ref
from jobs.tasks import JobRef, matched
from jobs.tasks.material import NO_PAIRS, data, measured
from tempo_core.curriculum import TrainingPlan, training_plan
from tempo_core.pictures import Pictures
from tempo_core.settings import Home
from tempo_core.types import Example, JsonDict, Metric, PreferencePair, Progress

FEWEST_STEPS = {"skip_small": False, "smaller_step": False}


def folder_of(home: Home, run_id: int) -> Path:
    return home.runs / f"run-{run_id}"


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Train to the end, or to the checkpoint at which a person stopped it."""
    payload = job.payload
    if not isinstance(payload, TrainPayload):
        raise ValueError(f"train was given {type(payload).__name__}")
    ready = prepared(database, job, payload.run_id)
    card = ready.card
    events = _events(database, report, card, job)
    if _rank() == 0:
        with database.session() as session:
            ready.store(session)
        for text in ready.plan.notes:
            events.note(text, "plan")
    trained = importlib.import_module("tempo_core.training.recipe").train(
        base=ready.base,
        pairs=ready.pairs,
        plan=ready.plan,
        examples=ready.examples,
        config=card.config,
        folder=folder_of(job.home, card.id),
        pictures=Pictures(job.home.cache, ready.long_side).get,
        cache=job.home.cache,
        events=events,
        save_memory=job.n_oom > 0,
    )
    if _rank() == 0:
        with database.session() as session:
            experimenting.after_training(session, card.id)
    return {"run_id": card.id, "stages": [link.name for link in trained.chain], "too_long": len(ready.too_long)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before its first step: verified data, and the order of training without what is too long."""

    card: RunCard
    base: Path
    pairs: dict[int, PreferencePair]
    examples: list[Example]
    plan: TrainingPlan
    long_side: int | None
    too_long: dict[int, int]

    def store(self, session: Session) -> None:
        """Write the order down, and what was left out."""
        runs.store_plan(session, self.card.id, self.plan.planned, self.plan.sha256)
        run_notes.leave_out(session, self.card.id, self.too_long, len(self.pairs))


def prepared(database: Database, job: JobRef, run_id: int) -> Prepared:
    """Everything that a run trains with; of it only a number of steps that follows from another arm is written."""
    with database.reading() as session:
        card = runs.get(session, run_id)
        base = Path(models.get(session, card.base_model_id).path)
        pairs, examples = data(session, card.recipe, card.dataset_version_id, card.sft_set_id)
    card = matched.settled(database, job, card, base)
    long_side, too_long = measured(base, pairs, card.config.max_tokens)
    return Prepared(card, base, pairs, examples, plan_of(card, pairs, too_long), long_side, too_long)


def plan_of(card: RunCard, pairs: Mapping[int, PreferencePair], too_long: Mapping[int, int]) -> TrainingPlan:
    """The order in which a run trains the pairs that are not too long."""
    trainable = [pair_ref(pair) for pair_id, pair in pairs.items() if pair_id not in too_long]
    return training_plan(trainable, card.config, **_mercy(card)) if pairs else NO_PAIRS


def _events(database: Database, report: Report, card: RunCard, job: JobRef) -> Any:
    if _rank():
        return importlib.import_module("tempo_core.training.report").Mute()
    curves = importlib.import_module("tempo_core.training.tensorboard")
    files = curves.EventFiles(folder_of(job.home, card.id) / "tensorboard")
    return _Recorded(database, report, card.id, job.attempt, job.home, files)


def _mercy(card: RunCard) -> dict[str, bool]:
    """What the user allowed where a level has too few pairs; without it that is an error."""
    return {name: bool(card.env.get(name, default)) for name, default in FEWEST_STEPS.items()}


def _rank() -> int:
    """0, or this process's number among those that torchrun started; the first one alone writes."""
    return int(os.environ.get("RANK", "0"))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Everything that training says, written to the database under the job's fence."""

    database: Database
    report: Report
    run_id: int
    attempt: int
    home: Home
    files: Any
    """The same metrics for TensorBoard."""

    def metrics(self, values: Sequence[Metric]) -> None:
        with self.database.session() as session:
            metrics.record(session, self.run_id, values, self.attempt)
        self.files.write(values)

    def stage_started(self, ordinal: int, name: str, phase: str, n_pairs: int, first_step: int, last_step: int) -> None:
        print(f"stage {ordinal}: {phase} {name}, {n_pairs} rows, steps {first_step} to {last_step}", flush=True)
        with self.database.session() as session:
            runs.set_stages(session, self.run_id, [StageLine(ordinal, phase, name, (), n_pairs, first_step, last_step)])
            runs.set_stage(session, self.run_id, ordinal, "running")

    def stage_ended(self, ordinal: int, link: Any) -> None:
        adapter = str(Path(link.path).relative_to(self.home.root))
        with self.database.session() as session:
            runs.set_stage(session, self.run_id, ordinal, "succeeded", adapter=adapter, manifest_sha256=link.sha256)
            # The link replaces them; their folders go with the stage.
            replaced = [c.step for c in runs.checkpoints(session, self.run_id) if c.stage == ordinal]
            runs.forget_checkpoints(session, self.run_id, replaced)

    def checkpoint(self, step: int, stage: int, path: Path, manifest_sha256: str) -> None:
        rel_path = str(path.relative_to(self.home.root))
        with self.database.session() as session:
            runs.record_checkpoint(
                session, Checkpoint(self.run_id, stage, step, self.attempt, rel_path, manifest_sha256)
            )

    def progress(self, progress: Progress) -> None:
        self.report.tell(progress)

    def should_stop(self) -> bool:
        return self.report.should_stop()

    def resumed(self, step: int) -> None:
        if step:
            print(f"going on after step {step}", flush=True)
        with self.database.session() as session:
            metrics.resumed(session, self.run_id, step)
        self.files.resumed(step)

    def note(self, text: str, kind: str = "note") -> None:
        print(text, flush=True)
        with self.database.session() as session:
            run_notes.add(session, self.run_id, kind, text, self.attempt)

    def pair_scores(self, moment: str, scores: Sequence[Any]) -> None:
        rows = {score.pair_id: PairScore(score.margin, score.chosen, score.rejected) for score in scores}
        with self.database.session() as session:
            runs.score_pairs(session, self.run_id, moment, rows)
