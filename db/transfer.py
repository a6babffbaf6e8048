"""Do the pairs that one model wrote teach another? Rows are the models that wrote, columns the models that trained.

A cell is the paired difference of a trained model to its own base, on the questions that both were asked. Only
matched cells may be compared: pairs about the same videos, plans and seeds, as many of them, and the same recipe.
A cell that does not match says in what it differs; one without a run says whether it can be queued.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import datasets, evaluations, models, runs, samplings
from db.evaluations import EvaluationLine
from db.models import ModelCard
from db.runs import RunCard
from db.tables import DatasetItemRow, EvaluationItemRow, ModelRow, PairRow, ResponseRow, RunRow
from tempo_core import comparisons, video_llms
from tempo_core.comparisons import Compared, NotPaired
from tempo_core.errors import TooFew
from tempo_core.exchange.model_card import Figure
from tempo_core.paper.facts import Transferred
from tempo_core.recipes import RECIPES, RunConfig

BASE, SFT = "base", "sft"
"""The two rows that no model wrote: the base itself, and fine-tuning alone."""

ENGINE = (
    "preset", "positions", "dtype", "attention", "feature_bytes", "micro_batch", "gradient_checkpointing",
    "checkpoint_every",
)  # fmt: skip
"""Settings of a run that say how it is computed, not what is trained."""


@dataclass(frozen=True, slots=True)
class Written:
    """The training side of a frozen version. Hashes are of what it holds, whoever wrote it."""

    version_id: int
    sources: tuple[int, ...]
    """Ids of the models that gave the chosen responses; 0 stands for pairs of which none is known."""
    n_pairs: int
    videos: str
    plans: str
    seeds: str
    asked: str
    """Input and sampling of the responses."""

    def differs(self, other: Written) -> Iterator[str]:
        if self.n_pairs != other.n_pairs:
            yield f"{self.n_pairs} pairs, not {other.n_pairs}"
        for name in ("videos", "plans", "seeds"):
            if getattr(self, name) != getattr(other, name):
                yield f"other {name}"
        if self.asked != other.asked:
            yield "asked on another input or with other sampling"


@dataclass(frozen=True, slots=True)
class Cell:
    """One model trained on one source.

    `found` is None where nothing is measured; then `run_id` says whether a run waits for its measurement, and
    `version_id` which frozen version a missing run would train on (None: such pairs are not frozen yet).
    """

    row: str
    column: int
    run_id: int | None = None
    run_state: str = ""
    line: EvaluationLine | None = None
    base: EvaluationLine | None = None
    found: Compared | None = None
    differs: tuple[str, ...] = ()
    version_id: int | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """`cells` by (row, column): a row is "base", "sft" or the id of the model that wrote the pairs, as text.

    `like` is the run that all others are matched with; None: no run was trained on pairs of one model yet.
    """

    benchmark: str
    metric: str
    moment: str
    like: RunCard | None
    rows: Mapping[str, str]
    columns: tuple[ModelCard, ...]
    cells: Mapping[tuple[str, int], Cell]


@dataclass(frozen=True, slots=True)
class _Known:
    """What all cells are made from."""

    benchmark: str
    metric: str
    moment: str
    lines: Sequence[EvaluationLine]
    written: Mapping[int, Written]
    cards: Sequence[RunCard]
    """The newest first."""


def matrix(session: Session, benchmark: str, metric: str, moment: str = "dpo", like: int | None = None) -> Matrix:
    """The matrix of one figure, from stored runs and evaluations.

    Args:
        moment: After which phases a run counts, as `EvaluationLine.moment` names them: "dpo", "dpo+sft", "sft+dpo".
        like: The run that others must match. By default the first of the design that fills the most cells.

    Example:
        found = transfer.matrix(session, "drawn_world", "swap", "dpo")
        found.cells[str(source_model_id), trained_model_id].found  # difference, low, high, n, n_groups, verdict
    """
    cards = _cards(session)
    found = [facts(session, version) for version in _versions(cards)]
    written = {w.version_id: w for w in found if len(w.sources) == 1 and w.sources[0]}
    lines = [line for line in evaluations.table(session, benchmark) if line.metric == metric]
    known = _Known(benchmark, metric, moment, lines, written, cards)
    reference = _reference(known, like)
    columns = _columns(session, known)
    rows = {BASE: "base", SFT: "SFT only"} | {str(w.sources[0]): "" for w in written.values()}
    rows |= {key: models.get(session, int(key)).name for key in rows if key.isdigit()}
    fill = partial(_cell, session, known, reference)
    cells = {(row, column.id): fill(row, column.id) for row in rows for column in columns}
    return Matrix(benchmark, metric, moment, reference, rows, columns, cells)


def facts(session: Session, version_id: int) -> Written:
    """What the training side of a version holds."""
    i, p, r = DatasetItemRow, PairRow, ResponseRow
    query = (
        select(p.model_id, p.video_id, p.plan_id, r.seed, p.input, r.sampling_id)
        .select_from(i)
        .join(p, p.id == i.pair_id)
        .join(r, r.id == p.rejected_id)
        .where(i.dataset_version_id == version_id, i.split == "train")
    )
    found = session.execute(query).all()
    hashed = [_hash(row[k] for row in found) for k in (1, 2, 3)]
    drawn = {number: _drawn(session, number) for number in {row[5] for row in found}}
    asked = _hash((row[4], drawn[row[5]]) for row in found)
    sources = tuple(sorted({row[0] or 0 for row in found}))
    return Written(version_id, sources, len(found), hashed[0], hashed[1], hashed[2], asked)


def _drawn(session: Session, sampling_id: int) -> tuple[tuple[str, Any], ...]:
    """How answers were drawn. Where text stands after a video is a trait of the model that wrote, not of the asking."""
    settings = samplings.settings_of(session, sampling_id)
    return tuple(sorted((name, value) for name, value in settings.items() if name != "positions"))


def _hash(values: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(sorted({repr(value) for value in values})).encode()).hexdigest()


def _cards(session: Session) -> list[RunCard]:
    """Every run, the newest first."""
    ids = session.execute(select(RunRow.id)).scalars().all()
    return sorted(runs.of_ids(session, ids).values(), key=lambda card: -card.id)


def _versions(cards: Sequence[RunCard]) -> list[int]:
    return sorted({card.dataset_version_id for card in cards if card.dataset_version_id is not None})


def _columns(session: Session, known: _Known) -> tuple[ModelCard, ...]:
    """Every model that was trained, or wrote pairs that were trained on and can be trained itself.

    A model behind a server writes pairs, and so does, in a way, a file that was imported: those are rows alone.
    """
    ids = {card.base_model_id for card in known.cards} | {w.sources[0] for w in known.written.values()}
    cards = [models.get(session, number) for number in sorted(ids)]
    return tuple(card for card in cards if card.family in video_llms.FAMILIES)


# ---- which runs match ------------------------------------------------------------------------------------------------
def _design(known: _Known, card: RunCard) -> tuple[Any, ...]:
    """What matched cells have in common."""
    w = known.written[card.dataset_version_id or 0]
    return (card.recipe, tuple(_recipe(card.config).items()), w.n_pairs, w.videos, w.plans, w.seeds, w.asked)


def _recipe(config: RunConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in ENGINE}


def _taught(known: _Known) -> list[RunCard]:
    """Runs on pairs of one model that have this moment, or will."""
    return [
        card for card in known.cards
        if card.dataset_version_id in known.written and _reaches(card, known.moment) and _counts(known, card)
    ]  # fmt: skip


def _counts(known: _Known, card: RunCard, moment: str | None = None) -> bool:
    """A run that ended early counts where it was measured; otherwise its cell is missing and can be queued anew."""
    if card.state not in ("failed", "cancelled"):
        return True
    return any(line.run_id == card.id and line.moment == (moment or known.moment) for line in known.lines)


def _reaches(card: RunCard, moment: str) -> bool:
    """Whether a run of this recipe passes through the moment."""
    phases = RECIPES[card.recipe]
    return any("+".join(phases[: i + 1]) == moment for i in range(len(phases)))


def _reference(known: _Known, like: int | None) -> RunCard | None:
    taught = _taught(known)
    if like is not None:
        return next((card for card in taught if card.id == like), None)
    if not taught:
        return None
    cells: dict[tuple[Any, ...], set[tuple[int, int]]] = {}
    for card in taught:
        source = known.written[card.dataset_version_id or 0].sources[0]
        cells.setdefault(_design(known, card), set()).add((source, card.base_model_id))
    fullest = max(len(found) for found in cells.values())
    return next(card for card in reversed(taught) if len(cells[_design(known, card)]) == fullest)


def _differs(known: _Known, card: RunCard, reference: RunCard) -> Iterator[str]:
    if card.recipe != reference.recipe:
        yield f"recipe {card.recipe}, not {reference.recipe}"
    mine, theirs = _recipe(card.config), _recipe(reference.config)
    for name in mine:
        if name != "recipe" and mine[name] != theirs[name]:
            yield f"{name} {mine[name]}, not {theirs[name]}"
    if card.sft_set_id != reference.sft_set_id and "sft" in known.moment:
        yield "another SFT set"
    yield from known.written[card.dataset_version_id or 0].differs(known.written[reference.dataset_version_id or 0])


# ---- cells -----------------------------------------------------------------------------------------------------------
def _cell(session: Session, known: _Known, reference: RunCard | None, row: str, column: int) -> Cell:
    if row == BASE:
        line = next((e for e in known.lines if e.model_id == column and e.run_id is None), None)
        return Cell(row, column, line=line, base=line)
    tried = [_measured(session, known, reference, row, card) for card in _of_cell(known, row, column)]
    best = min(tried, key=lambda cell: (bool(cell.differs), cell.found is None), default=None)
    if best is not None and not best.differs:
        return best
    return replace(best or Cell(row, column), version_id=_buildable(session, known, reference, row))


def _of_cell(known: _Known, row: str, column: int) -> list[RunCard]:
    if row == SFT:
        return [c for c in known.cards if c.base_model_id == column and c.recipe == "sft" and _counts(known, c, SFT)]
    return [
        card for card in _taught(known)
        if card.base_model_id == column and str(known.written[card.dataset_version_id or 0].sources[0]) == row
    ]  # fmt: skip


def _measured(session: Session, known: _Known, reference: RunCard | None, row: str, card: RunCard) -> Cell:
    """The newest figure of the run that its base has too, in the same settings."""
    differs = tuple(_differs(known, card, reference)) if row != SFT and reference is not None else ()
    empty = Cell(row, card.base_model_id, card.id, card.state, differs=differs)
    moment = SFT if row == SFT else known.moment
    for line in known.lines:
        if line.run_id != card.id or line.moment != moment:
            continue
        base = next((e for e in known.lines if _is_base(e, line)), None)
        if base is not None:
            return replace(empty, line=line, base=base, found=_compared(session, base, line),
                           differs=differs + _other_questions(session, known, reference, line))  # fmt: skip
    return empty


def _is_base(line: EvaluationLine, of: EvaluationLine) -> bool:
    return line.run_id is None and line.model_id == of.model_id and line.settings_sha256 == of.settings_sha256


def _compared(session: Session, base: EvaluationLine, line: EvaluationLine) -> Compared | None:
    try:
        return comparisons.compare(evaluations.items(session, base.id), evaluations.items(session, line.id))
    except (NotPaired, TooFew):
        return None


def _other_questions(
    session: Session, known: _Known, reference: RunCard | None, line: EvaluationLine
) -> tuple[str, ...]:
    """Two versions with the same held-out videos ask the same questions; differences on others are not comparable."""
    if reference is None or line.run_id == reference.id:
        return ()
    theirs = next((e for e in known.lines if e.run_id == reference.id and e.moment == known.moment), None)
    if theirs is None or _questions(session, theirs.id) == _questions(session, line.id):
        return ()
    return ("asked other questions",)


def _questions(session: Session, evaluation_id: int) -> str:
    i = EvaluationItemRow
    return _hash(session.execute(select(i.item).where(i.evaluation_id == evaluation_id)).scalars())


def _buildable(session: Session, known: _Known, reference: RunCard | None, row: str) -> int | None:
    """A frozen version with pairs of this source that match the reference's; for SFT alone the reference's own."""
    if reference is None or reference.dataset_version_id is None:
        return None
    if row == SFT:
        return reference.dataset_version_id
    theirs = known.written[reference.dataset_version_id]
    for card in datasets.listing(session):
        own = known.written.get(card.id) or facts(session, card.id)
        if [str(source) for source in own.sources] == [row] and not any(own.differs(theirs)):
            return card.id
    return None


def n_models(session: Session) -> int:
    """How many models are known here: a matrix needs two."""
    return int(session.execute(select(func.count()).select_from(ModelRow)).scalar_one())


def counted(found: Matrix) -> Counter[str]:
    """How many cells are compared, differ, or are missing."""
    told: Counter[str] = Counter()
    for cell in found.cells.values():
        if cell.row != BASE:
            told["missing" if cell.found is None else "differs" if cell.differs else "matched"] += 1
    return told


def measured(found: Matrix) -> tuple[Transferred, ...]:
    """The cells that hold a difference, as a table tells them; those that are not matched say so."""
    return tuple(_transferred(found, cell) for cell in found.cells.values() if cell.found is not None)


def column_name(found: Matrix, model_id: int) -> str:
    """A column's model, with its number where two have one name."""
    names = [card.name for card in found.columns]
    name = next(card.name for card in found.columns if card.id == model_id)
    return name if names.count(name) == 1 else f"{name} ({model_id})"


def _transferred(found: Matrix, cell: Cell) -> Transferred:
    if cell.found is None or cell.line is None or cell.base is None or cell.run_id is None:
        raise ValueError(f"nothing is measured in the cell {cell.row}, {cell.column}")
    return Transferred(
        benchmark=found.benchmark,
        metric=found.metric,
        moment=cell.line.moment,
        written_by=found.rows[cell.row],
        trains=column_name(found, cell.column),
        run_id=cell.run_id,
        before=cell.base.value,
        after=cell.line.value,
        difference=Figure(cell.found.difference, cell.found.low, cell.found.high),
        n=cell.found.n,
        n_groups=cell.found.n_groups,
        verdict=cell.found.verdict,
        differs=cell.differs,
    )
