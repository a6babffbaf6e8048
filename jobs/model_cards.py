"""What is stored about a run, gathered for the model card that leaves with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from statistics import fmean

from sqlalchemy.orm import Session

from db import datasets, evaluations, metrics, models, runs, sft_sets
from db.evaluations import EvaluationLine
from db.runs import RunCard, StageLine
from tempo_core import statistics
from tempo_core.errors import TooFew
from tempo_core.exchange.model_card import Change, Curve, Figure, LinkLine, RunFacts, Source
from tempo_core.recipes import RECIPES
from tempo_core.statistics import Comparison

LIBRARIES = ("python", "torch", "transformers", "trl", "peft", "accelerate")
AVERAGED = 5
"""So many steps at either end of a curve are averaged, where there are twice as many."""

CURVES = (
    "loss", "margin", "accuracy", "reward_chosen", "reward_rejected", "accuracy_per_token", "longer_wins", "sft_loss",
)  # fmt: skip


def facts(session: Session, run_id: int) -> RunFacts:
    """Everything the card of a run tells."""
    run = runs.get(session, run_id)
    links = finished(session, run)
    base = models.get(session, run.base_model_id)
    return RunFacts(
        run_id=run.id,
        name=run.name,
        recipe=run.recipe,
        phases=RECIPES.get(run.recipe, (run.recipe,)),
        state=run.state,
        base=Source(base.name, base.files_sha256),
        family=base.family,
        dataset=_dataset(session, run),
        sft_set=_sft_set(session, run),
        plan_sha256=run.training_plan_sha256,
        config=asdict(run.config),
        code_version=run.code_version,
        libraries={name: str(run.env[name]) for name in LIBRARIES if name in run.env},
        links=tuple(_link(stage) for stage in links),
        curves=tuple(_curves(session, run_id)),
        changes=tuple(_changes(session, run, links)),
    )


def finished(session: Session, run: RunCard) -> tuple[StageLine, ...]:
    """The links of a run that are there, in their order; none is an error."""
    found = runs.adapters(session, run.id)
    if not found:
        raise TooFew(f"Run {run.id} has finished no stage yet, so there is nothing to export. Wait, or resume it.")
    return found


def _dataset(session: Session, run: RunCard) -> Source | None:
    if run.dataset_version_id is None:
        return None
    card = datasets.get(session, run.dataset_version_id)
    return Source(card.name, card.content_sha256, card.n_pairs, card.number, card.n_held_out, card.stated)


def _sft_set(session: Session, run: RunCard) -> Source | None:
    if run.sft_set_id is None or "sft" not in RECIPES.get(run.recipe, ()):
        return None
    card = sft_sets.get(session, run.sft_set_id)
    return Source(card.name, card.content_sha256, card.n_items, card.number)


def _link(stage: StageLine) -> LinkLine:
    folder = str(stage.adapter).rstrip("/").rpartition("/")[2]
    return LinkLine(folder, stage.phase, stage.name, stage.n_items, str(stage.manifest_sha256))


def _curves(session: Session, run_id: int) -> list[Curve]:
    """The levels' curves, the easiest first; what belongs to no level goes by its phase."""
    found = []
    for key, points in metrics.series(session, run_id).items():
        level, _, name = key.partition("/")
        values = [value for _, value in points if value is not None]
        if name in CURVES and level not in ("speed", "cache", "canary") and values:
            n = min(AVERAGED, max(1, len(values) // 2))
            found.append(Curve(level, name, fmean(values[:n]), fmean(values[-n:]), len(points)))
    return sorted(found, key=lambda c: (not c.level[1:].isdigit(), c.level, CURVES.index(c.key)))


def _changes(session: Session, run: RunCard, links: tuple[StageLine, ...]) -> list[Change]:
    """The newest figures of the whole chain, each beside the base's on the same set with the same settings."""
    moment = "+".join(dict.fromkeys(stage.phase for stage in links))
    table = evaluations.table(session)
    after = _newest(line for line in table if line.run_id == run.id and line.moment == moment)
    of_base = [line for line in table if line.run_id is None and line.model_id == run.base_model_id]
    return [_change(session, line, of_base) for line in after]


def _newest(lines: Iterable[EvaluationLine]) -> list[EvaluationLine]:
    """One line for each metric: the table has the newest first."""
    found: dict[tuple[str, str, str], EvaluationLine] = {}
    for line in lines:
        found.setdefault((line.benchmark, line.split, line.metric), line)
    return sorted(found.values(), key=lambda line: (line.benchmark, line.split, line.id))


def _change(session: Session, after: EvaluationLine, of_base: list[EvaluationLine]) -> Change:
    asked = (after.benchmark, after.split, after.metric, after.settings_sha256)
    before = next(
        (line for line in of_base if (line.benchmark, line.split, line.metric, line.settings_sha256) == asked), None
    )
    found = None if before is None else _compared(session, before.id, after.id)
    return Change(
        benchmark=after.benchmark,
        metric=after.metric,
        n=after.n,
        before=None if before is None else Figure(before.value, before.low, before.high),
        after=Figure(after.value, after.low, after.high),
        difference=None if found is None else Figure(found.difference, found.low, found.high),
        verdict="not compared" if found is None else found.verdict,
        split=after.split,
    )


def _compared(session: Session, before_id: int, after_id: int) -> Comparison | None:
    before, after = evaluations.items(session, before_id), evaluations.items(session, after_id)
    groups = [item.group for item in before]
    if [item.item for item in before] != [item.item for item in after] or len(set(groups)) < 2:
        return None
    values = [[item.correct or 0.0 for item in items] for items in (before, after)]
    return statistics.paired_bootstrap(values[0], values[1], groups)
