"""Training runs: their settings, stored training order, stages, checkpoints and adapters. Metrics are in `metrics`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from db import dialect, people
from db.people import Person
from db.session import now_ms
from db.tables import (
    CheckpointRow,
    JobAttemptRow,
    MetricRow,
    ModelRow,
    PairScoreRow,
    PlannedPairRow,
    RunRow,
    RunStageRow,
    SftSetRow,
    canonical,
)
from db.timelines import config_sha256
from tempo_core.errors import DatasetDrift, TempoError, Unknown
from tempo_core.recipes import RECIPES, RunConfig
from tempo_core.types import PlannedPair, level_key

FINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class RunCard:
    id: int
    name: str
    recipe: str
    preset: str
    state: str
    error_class: str | None
    error: str | None
    dataset_version_id: int | None
    curriculum_id: int | None
    sft_set_id: int | None
    base_model_id: int
    base_model: str
    parent_run_id: int | None
    config: RunConfig
    config_sha256: str
    training_plan_sha256: str | None
    code_version: str
    env: dict[str, Any]
    job_id: int | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in a list; `last` holds the newest value of each metric, with its step."""

    run: RunCard
    n_steps: int
    last: dict[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class StageLine:
    """One link of the chain of adapters. `adapter` is its folder below TEMPO_HOME once it is there."""

    ordinal: int
    phase: str
    name: str
    levels: tuple[int | None, ...]
    n_items: int
    first_step: int | None = None
    last_step: int | None = None
    state: str = "queued"
    reason: str | None = None
    adapter: str | None = None
    manifest_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    run_id: int
    stage: int
    step: int
    attempt: int
    rel_path: str
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class Attempt:
    attempt: int
    started_ms: int
    ended_ms: int | None
    exit_code: int | None
    error_class: str | None
    resumed_from_step: int | None
    log_path: str | None


@dataclass(frozen=True, slots=True)
class PairScore:
    """How a model ranks a pair: log-probabilities of its answers on the clean video; `margin` is per token."""

    margin: float | None
    chosen_log_prob: float | None = None
    rejected_log_prob: float | None = None


def create(
    session: Session,
    person: Person,
    config: RunConfig,
    base_model_id: int,
    *,
    name: str = "",
    dataset_version_id: int | None = None,
    curriculum_id: int | None = None,
    sft_set_id: int | None = None,
    parent_run_id: int | None = None,
    job_id: int | None = None,
    code_version: str = "",
    env: Mapping[str, Any] | None = None,
) -> int:
    people.require(person, "admin")
    phases = RECIPES[config.recipe]
    if set(phases) != {"sft"} and dataset_version_id is None:
        raise TempoError(f"The recipe {config.recipe} trains on pairs: freeze a data set first, and name its version.")
    if "sft" in phases and sft_set_id is None:
        raise TempoError(f"The recipe {config.recipe} has an SFT phase: choose an SFT set.")
    settings = asdict(config)
    row = RunRow(
        name=name or config.recipe,
        recipe=config.recipe,
        preset=config.preset,
        dataset_version_id=dataset_version_id,
        curriculum_id=curriculum_id,
        sft_set_id=sft_set_id,
        base_model_id=base_model_id,
        parent_run_id=parent_run_id,
        config=settings,
        config_sha256=config_sha256(settings),
        seed=config.seed,
        code_version=code_version,
        env=dict(env or {}),
        job_id=job_id,
        state="queued",
        created_by=person.id,
        created_ms=now_ms(),
    )
    session.add(row)
    session.flush()
    return row.id


def attach_job(session: Session, run_id: int, job_id: int) -> None:
    session.execute(update(RunRow).where(RunRow.id == run_id).values(job_id=job_id))


def get(session: Session, run_id: int) -> RunCard:
    found = _cards(session, RunRow.id == run_id)
    if not found:
        raise Unknown(f"There is no run {run_id}.")
    return found[0]


def of_ids(session: Session, run_ids: Collection[int]) -> dict[int, RunCard]:
    """These runs by id; ids that name none are left out."""
    return {card.id: card for card in _cards(session, RunRow.id.in_(run_ids), limit=len(run_ids))}


def of_job(session: Session, job_id: int) -> RunCard | None:
    found = _cards(session, RunRow.job_id == job_id)
    return found[0] if found else None


def alike(session: Session, model_sha256: str, version_id: int, limit: int = 30) -> list[int]:
    """The newest finished runs of this model on this dataset version: how long another one will take."""
    r = RunRow
    query = (
        select(r.id)
        .join(ModelRow, ModelRow.id == r.base_model_id)
        .where(ModelRow.files_sha256 == model_sha256, r.dataset_version_id == version_id, r.state == "succeeded")
    )
    return list(session.execute(query.order_by(r.id.desc()).limit(limit)).scalars())


def listing(session: Session, limit: int = 50) -> list[RunLine]:
    """The newest runs with their last values."""
    cards = _cards(session, None, limit)
    return [RunLine(card, _n_steps(session, card.id), last_values(session, card.id)) for card in cards]


def _cards(session: Session, condition: Any, limit: int = 50) -> list[RunCard]:
    r = RunRow
    query = select(r, ModelRow.name).join(ModelRow, ModelRow.id == r.base_model_id).order_by(r.id.desc()).limit(limit)
    if condition is not None:
        query = query.where(condition)
    rows = session.execute(query.execution_options(populate_existing=True))
    return [
        RunCard(
            row.id, row.name, row.recipe, row.preset, row.state, row.error_class, row.error, row.dataset_version_id,
            row.curriculum_id, row.sft_set_id, row.base_model_id, model, row.parent_run_id, config_of(row.config),
            row.config_sha256, row.training_plan_sha256, row.code_version, row.env, row.job_id, row.created_ms,
            row.started_ms, row.ended_ms,
        )
        for row, model in rows
    ]  # fmt: skip


def config_of(stored: Mapping[str, Any]) -> RunConfig:
    """Settings that this version no longer has are left out; what an old run did stays readable."""
    known = {field.name for field in fields(RunConfig)}
    return RunConfig(**{name: value for name, value in stored.items() if name in known})


def _n_steps(session: Session, run_id: int) -> int:
    last = session.execute(select(func.max(PlannedPairRow.step)).where(PlannedPairRow.run_id == run_id)).scalar_one()
    return 0 if last is None else last + 1


def last_values(session: Session, run_id: int) -> dict[str, tuple[int, float]]:
    """(step, value) of the newest value of each metric."""
    m = MetricRow
    told = select(m.key, func.max(m.step).label("step")).where(m.run_id == run_id, m.value.is_not(None))
    last = told.group_by(m.key).subquery()
    newest = select(m.key, m.step, m.value).join(last, (last.c.key == m.key) & (last.c.step == m.step))
    return {
        key: (step, value)
        for key, step, value in session.execute(newest.where(m.run_id == run_id))
        if value is not None
    }


def settle_sft_steps(session: Session, run_id: int, n_steps: int, told: Mapping[str, Any]) -> RunCard:
    """Write down how many SFT steps a run takes that were to follow from another run; `told` says how that came."""
    card = get(session, run_id)
    settings = asdict(replace(card.config, sft_steps=n_steps))
    values = {"config": settings, "config_sha256": config_sha256(settings), "env": {**card.env, "matched": dict(told)}}
    session.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
    return get(session, run_id)


def set_state(
    session: Session, run_id: int, state: str, *, error_class: str | None = None, error: str | None = None
) -> None:
    """Move a run on; the times it began and ended are set once each, a restart clears the end."""
    times: dict[str, Any] = {"ended_ms": now_ms() if state in FINAL else None}
    if state == "running":
        times["started_ms"] = func.coalesce(RunRow.started_ms, now_ms())
    change = update(RunRow).where(RunRow.id == run_id)
    changed = change.values(state=state, error_class=error_class, error=error, **times).returning(RunRow.id)
    if session.execute(changed, execution_options={"synchronize_session": False}).first() is None:
        raise Unknown(f"There is no run {run_id}.")


def store_plan(session: Session, run_id: int, planned: Sequence[PlannedPair], sha256: str) -> None:
    """Write the training order before step 0. A restart must plan the same order, else `DatasetDrift`."""
    before = get(session, run_id).training_plan_sha256
    if before == sha256:
        return
    if before is not None:
        raise DatasetDrift(
            f"Run {run_id} was planned as {before[:12]}, and would now train in another order ({sha256[:12]}). "
            "Its data or settings changed; start a new run."
        )
    if planned:
        session.execute(insert(PlannedPairRow), [{"run_id": run_id, **asdict(place)} for place in planned])
    session.execute(update(RunRow).where(RunRow.id == run_id).values(training_plan_sha256=sha256))


def planned(session: Session, run_id: int) -> tuple[PlannedPair, ...]:
    p = PlannedPairRow
    query = select(p.ordinal, p.step, p.stage, p.pair_id, p.level, p.difficulty).where(p.run_id == run_id)
    return tuple(PlannedPair(*row) for row in session.execute(query.order_by(p.ordinal)))


def set_stages(session: Session, run_id: int, stages: Iterable[StageLine]) -> None:
    """Write the chain of stages; stages that are known keep what they reached."""
    s = RunStageRow
    known = set(session.execute(select(s.ordinal).where(s.run_id == run_id)).scalars())
    for stage in stages:
        if stage.ordinal not in known:
            session.add(RunStageRow(run_id=run_id, **(asdict(stage) | {"levels": list(stage.levels)})))
    session.flush()


def set_stage(session: Session, run_id: int, ordinal: int, state: str, **reached: Any) -> None:
    """Move a stage on; `reached` may hold first_step, last_step, reason, adapter, manifest_sha256."""
    s = RunStageRow
    change = update(s).where(s.run_id == run_id, s.ordinal == ordinal).values(state=state, **reached)
    if session.execute(change.returning(s.ordinal), execution_options={"synchronize_session": False}).first() is None:
        raise Unknown(f"Run {run_id} has no stage {ordinal}.")


def stages(session: Session, run_id: int) -> tuple[StageLine, ...]:
    s = RunStageRow
    columns: tuple[Any, ...] = (
        s.ordinal, s.phase, s.name, s.levels, s.n_items, s.first_step, s.last_step, s.state, s.reason, s.adapter,
        s.manifest_sha256,
    )  # fmt: skip
    rows = session.execute(select(*columns).where(s.run_id == run_id).order_by(s.ordinal))
    return tuple(StageLine(**(dict(row._mapping) | {"levels": tuple(row.levels)})) for row in rows)


def moments(
    session: Session, run_id: int, *, every_stage: bool = False
) -> tuple[tuple[str, tuple[StageLine, ...]], ...]:
    """The run after each phase whose stages are all there, with the links up to it: "dpo", then "dpo+sft".

    With `every_stage` also between the stages of a phase: "dpo/l1".
    """
    finished = [stage for stage in stages(session, run_id) if stage.adapter is not None]
    found = []
    for i, stage in enumerate(finished):
        name = "+".join(dict.fromkeys(before.phase for before in finished[: i + 1]))
        ends = i + 1 == len(finished) or finished[i + 1].phase != stage.phase
        if ends or every_stage:
            found.append((name if ends else f"{name}/{stage.name}", tuple(finished[: i + 1])))
    return tuple(found)


def outline(session: Session, run_id: int) -> tuple[StageLine, ...]:
    """Every stage of a run, those that still wait too: they follow from its recipe and its stored plan."""
    begun, card = stages(session, run_id), get(session, run_id)
    expected = tuple(_expected(session, card)) if card.training_plan_sha256 is not None else ()
    known = tuple(
        replace(stage, levels=stage.levels or (expected[i].levels if i < len(expected) else ()))
        for i, stage in enumerate(begun)
    )
    return known + expected[len(begun) :]


def _expected(session: Session, card: RunCard) -> Iterator[StageLine]:
    """The chain before any of it has begun. Steps count from 1 over all stages, as the trainer counts them."""
    ordinal, step = 0, 1
    for phase in RECIPES[card.recipe]:
        for name, levels, n_items, n_steps in _of_phase(session, card, phase):
            ordinal += 1
            yield StageLine(ordinal, phase, name, levels, n_items, step, step + n_steps - 1)
            step += n_steps


def _of_phase(session: Session, card: RunCard, phase: str) -> Iterator[tuple[str, tuple[int | None, ...], int, int]]:
    """Name, levels, rows and steps of each stage of a phase."""
    config = card.config
    if phase == "sft":
        n = session.execute(select(SftSetRow.n_items).where(SftSetRow.id == card.sft_set_id)).scalar_one_or_none() or 0
        n_steps = n // config.sft_examples_per_step if config.sft_steps is None else config.sft_steps
        yield "sft", (), n_steps * config.sft_examples_per_step, n_steps
        return
    p = PlannedPairRow
    counted = select(p.stage, p.level, func.count(), func.min(p.step), func.max(p.step)).where(p.run_id == card.id)
    rows = session.execute(counted.group_by(p.stage, p.level).order_by(p.stage, p.level.nulls_first())).all()
    for _, group in groupby(rows, key=lambda row: row[0]):
        of_stage = list(group)
        levels = tuple(row[1] for row in of_stage)
        name = level_key(levels[0]) if len(levels) == 1 else "all"
        n_steps = max(row[4] for row in of_stage) - min(row[3] for row in of_stage) + 1
        yield name, levels, sum(row[2] for row in of_stage), n_steps


def adapters(session: Session, run_id: int) -> tuple[StageLine, ...]:
    """The finished links of the chain, in the order in which they are merged; those of parent runs come first."""
    parent = get(session, run_id).parent_run_id
    before = adapters(session, parent) if parent is not None else ()
    return before + tuple(stage for stage in stages(session, run_id) if stage.adapter is not None)


def identity(session: Session, run_id: int) -> str:
    """What knows a planned run again when its result comes from elsewhere: this run, its data, order and settings."""
    card, created = get(session, run_id), select(RunRow.created_ms).where(RunRow.id == run_id)
    base = select(ModelRow.files_sha256).where(ModelRow.id == card.base_model_id)
    content = [
        run_id, session.execute(created).scalar_one(), session.execute(base).scalar_one(), card.config_sha256,
        card.training_plan_sha256, card.dataset_version_id, card.sft_set_id,
    ]  # fmt: skip
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def forget_outcome(session: Session, run_id: int) -> None:
    """Remove what an attempt that was not finished left of itself: stages, curves, margins, checkpoints."""
    for table in (RunStageRow, MetricRow, PairScoreRow, CheckpointRow):
        session.execute(delete(table).where(table.run_id == run_id))


def trained_with(session: Session, run_id: int, env: Mapping[str, Any]) -> None:
    """Correct what a run says of its libraries and processes, where it was trained elsewhere."""
    card = get(session, run_id)
    session.execute(update(RunRow).where(RunRow.id == run_id).values(env={**card.env, **env}))


def record_checkpoint(session: Session, checkpoint: Checkpoint) -> None:
    """Only for a checkpoint that is whole on disk; the same step again replaces it."""
    values = asdict(checkpoint) | {"complete": True, "created_ms": now_ms()}
    fresh = {name: value for name, value in values.items() if name not in ("run_id", "step")}
    written = dialect.insert_for(session)(CheckpointRow).values(**values)
    session.execute(written.on_conflict_do_update(index_elements=["run_id", "step"], set_=fresh))


def checkpoints(session: Session, run_id: int) -> list[Checkpoint]:
    """The whole ones, the newest first: where to resume from is the first."""
    c = CheckpointRow
    query = select(c.run_id, c.stage, c.step, c.attempt, c.rel_path, c.manifest_sha256).where(c.run_id == run_id)
    return [Checkpoint(*row) for row in session.execute(query.where(c.complete == 1).order_by(c.step.desc()))]


def forget_checkpoints(session: Session, run_id: int, steps: Sequence[int]) -> None:
    """For checkpoints whose files were removed."""
    session.execute(delete(CheckpointRow).where(CheckpointRow.run_id == run_id, CheckpointRow.step.in_(list(steps))))


def attempts(session: Session, run_id: int) -> list[Attempt]:
    """The attempts of the run's job, oldest first, each with its log."""
    a = JobAttemptRow
    columns: tuple[Any, ...] = (
        a.attempt, a.started_ms, a.ended_ms, a.exit_code, a.error_class, a.resumed_from_step, a.log_path,
    )  # fmt: skip
    query = select(*columns).join(RunRow, RunRow.job_id == a.job_id).where(RunRow.id == run_id).order_by(a.attempt)
    return [Attempt(*row) for row in session.execute(query)]


def score_pairs(session: Session, run_id: int, moment: str, scores: Mapping[int, PairScore]) -> None:
    """Keep how the model ranks pairs at a moment ("before", "final", a stage's name); again replaces."""
    if not scores:
        return
    rows = [
        {"run_id": run_id, "moment": moment, "pair_id": pair_id, **asdict(score)} for pair_id, score in scores.items()
    ]
    written = dialect.insert_for(session)(PairScoreRow)
    fresh = {name: written.excluded[name] for name in ("margin", "chosen_log_prob", "rejected_log_prob")}
    session.execute(written.on_conflict_do_update(index_elements=["run_id", "moment", "pair_id"], set_=fresh), rows)


def scores(session: Session, run_id: int, moment: str) -> dict[int, PairScore]:
    s = PairScoreRow
    query = select(s.pair_id, s.margin, s.chosen_log_prob, s.rejected_log_prob)
    rows = session.execute(query.where(s.run_id == run_id, s.moment == moment).order_by(s.pair_id))
    return {pair_id: PairScore(*values) for pair_id, *values in rows}
