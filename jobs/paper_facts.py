"""What is stored about the runs of a paper, gathered from the database as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from db import evaluations, experiment_results, experiments, metrics, provenance, run_notes, runs, sheets, transfer
from db.evaluations import EvaluationLine
from db.runs import RunCard
from jobs import model_cards
from tempo_core.errors import TooFew
from tempo_core.paper.facts import Compared, DataFacts, Measured, PaperRun, Transferred

ALL = 1_000_000


def of_runs(session: Session, run_ids: Sequence[int]) -> list[PaperRun]:
    """Each run once, in the order asked.

    Raises:
        TooFew: No run was named, or one has finished no stage.
        Unknown: There is no such run.
    """
    if not run_ids:
        raise TooFew("A paper needs at least one run. Name finished runs by their numbers.")
    table = evaluations.table(session)
    versions: dict[int, DataFacts] = {}
    return [_run(session, run_id, table, versions) for run_id in dict.fromkeys(run_ids)]


def experiments_of(session: Session, run_ids: Sequence[int]) -> list[Compared]:
    """The experiments that these runs belong to, whole: an arm alone is compared with nothing."""
    found = [experiments.of_run(session, run_id) for run_id in run_ids]
    return [
        Compared(one.id, one.name, one.reference.name, experiment_results.table(session, one.id))
        for one in {which[0].id: which[0] for which in found if which is not None}.values()
    ]


def transferred(session: Session, run_ids: Sequence[int]) -> list[Transferred]:
    """The transfer matrices that one of these runs fills a cell of, whole; of one model alone there is none."""
    if transfer.n_models(session) < 2:
        return []
    found: list[Transferred] = []
    for benchmark, metric, moment in _shares(session, run_ids):
        cells = transfer.measured(transfer.matrix(session, benchmark, metric, moment))
        models = {name for cell in cells for name in (cell.written_by, cell.trains)}
        if len(models) > 1 and any(cell.run_id in run_ids for cell in cells):
            found += cells
    return found


def _shares(session: Session, run_ids: Sequence[int]) -> list[tuple[str, str, str]]:
    """(benchmark, metric, moment) of every figure of these runs that a matrix can be made of."""
    found: dict[tuple[str, str, str], None] = {}
    for sheet in sheets.listing(session):
        for metric in sheet.shares_of_items():
            moments = [c.moment for c in sheet.checkpoints if c.run_id in run_ids and sheet.line(c, metric)]
            found |= dict.fromkeys((sheet.benchmark, metric, moment) for moment in moments)
    return sorted(found)


def _run(session: Session, run_id: int, table: Sequence[EvaluationLine], versions: dict[int, DataFacts]) -> PaperRun:
    card = runs.get(session, run_id)
    version_id, facts = card.dataset_version_id, model_cards.facts(session, run_id)
    if version_id is not None and version_id not in versions:
        versions[version_id] = provenance.of_version(session, version_id)
    sft = [stage for stage in runs.stages(session, run_id) if stage.phase == "sft"]
    return PaperRun(
        run=facts,
        data=None if version_id is None else versions[version_id],
        series={key: tuple(points) for key, points in metrics.series(session, run_id).items()},
        planned=runs.planned(session, run_id),
        measured=tuple(_measured(card, table)),
        n_left_out=len(run_notes.left_out(session, run_id, limit=ALL)),
        notes=tuple(note.text for note in run_notes.listing(session, run_id)),
        env=card.env,
        n_sft_steps=sum((stage.last_step or 0) - (stage.first_step or 0) + 1 for stage in sft),
    )


def _measured(card: RunCard, table: Iterable[EvaluationLine]) -> list[Measured]:
    """The newest figure of each metric at each moment of the run, after those of its base under the same settings."""
    newest: dict[tuple[str, str, str, str], EvaluationLine] = {}
    lines = list(table)
    for line in lines:
        if line.run_id == card.id:
            newest.setdefault((line.moment, line.benchmark, line.split, line.metric), line)
    asked = {(e.benchmark, e.split, e.metric, e.settings_sha256) for e in newest.values()}
    before: dict[tuple[str, str, str, str], EvaluationLine] = {}
    for line in lines:
        key = (line.benchmark, line.split, line.metric, line.settings_sha256)
        if line.run_id is None and line.model_id == card.base_model_id and key in asked:
            before.setdefault(key, line)
    ordered = [*before.values(), *newest.values()]
    return [_one(line) for line in sorted(ordered, key=lambda e: (e.benchmark, e.run_id is not None, e.id))]


def _one(e: EvaluationLine) -> Measured:
    return Measured(
        run_id=e.run_id,
        model=f"base ({e.model})" if e.run_id is None else f"run {e.run_id}",
        moment=e.moment,
        benchmark=e.benchmark,
        split=e.split,
        metric=e.metric,
        value=e.value,
        low=e.low,
        high=e.high,
        n=e.n,
        n_groups=e.n_groups,
        n_unparsed=e.n_unparsed,
        chance=e.chance,
        dataset_sha256=e.settings.get("dataset"),
        contaminated=bool(e.settings.get("contaminated")),
    )
