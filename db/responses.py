"""Captions and answers, each once per recipe: what was asked of which model, how, with which seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import ColumnElement, bindparam, func, insert, select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import CaptionRow, ResponseRow
from tempo_core.types import Answer


@dataclass(frozen=True, slots=True)
class CaptionRecipe:
    """What makes the captions of one timeline."""

    timeline_id: int
    model_id: int
    prompt_id: int
    sampling_id: int
    seed: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes one answer. `plan_id` None is the clean order, `timeline_id` None an imported answer."""

    video_id: int
    timeline_id: int | None
    plan_id: int | None
    model_id: int
    prompt_id: int
    sampling_id: int
    seed: int


def captions_known(session: Session, recipe: CaptionRecipe) -> dict[int, Answer]:
    """The stored caption of each clip, by clip index."""
    c = CaptionRow
    query = select(c.clip_idx, c.text, c.n_tokens, c.finish).where(
        c.timeline_id == recipe.timeline_id,
        c.model_id == recipe.model_id,
        c.prompt_id == recipe.prompt_id,
        c.sampling_id == recipe.sampling_id,
        c.seed == recipe.seed,
    )
    return {index: Answer(text, n, cast(Any, finish)) for index, text, n, finish in session.execute(query)}


def record_captions(
    session: Session, recipe: CaptionRecipe, answers: Mapping[int, Answer], job_id: int | None = None
) -> int:
    """Keep new captions by clip index; known ones stay as they are. Returns how many were new."""
    known = captions_known(session, recipe)
    new = [
        CaptionRow(
            timeline_id=recipe.timeline_id,
            model_id=recipe.model_id,
            prompt_id=recipe.prompt_id,
            sampling_id=recipe.sampling_id,
            seed=recipe.seed,
            clip_idx=index,
            text=answer.text,
            n_tokens=answer.n_tokens,
            finish=answer.finish,
            job_id=job_id,
            created_ms=now_ms(),
        )
        for index, answer in answers.items()
        if index not in known
    ]
    session.add_all(new)
    session.flush()
    return len(new)


def record(session: Session, recipe: Recipe, answer: Answer, job_id: int | None = None) -> int:
    """Keep an answer; a recipe that is known keeps its first answer."""
    return record_many(session, {recipe: answer}, job_id)[recipe]


def record_many(session: Session, answers: Mapping[Recipe, Answer], job_id: int | None = None) -> dict[Recipe, int]:
    """As `record`, for all answers of a video in one statement; their ids."""
    ids = {recipe: row_id for recipe, (row_id, _) in known(session, answers).items()}
    new = [recipe for recipe in answers if recipe not in ids]
    if new:
        rows = [_values(recipe, answers[recipe], job_id) for recipe in new]
        ids |= zip(new, session.scalars(_INSERT, rows), strict=True)
    return ids


def _values(recipe: Recipe, answer: Answer, job_id: int | None) -> dict[str, Any]:
    return {
        "video_id": recipe.video_id,
        "timeline_id": recipe.timeline_id,
        "plan_id": recipe.plan_id,
        "model_id": recipe.model_id,
        "prompt_id": recipe.prompt_id,
        "sampling_id": recipe.sampling_id,
        "seed": recipe.seed,
        "text": answer.text,
        "n_tokens": answer.n_tokens,
        "finish": answer.finish,
        "log_prob": answer.log_prob,
        "job_id": job_id,
        "created_ms": now_ms(),
    }


def find(session: Session, recipe: Recipe) -> tuple[int, Answer] | None:
    """(id, answer) of a recipe, if it was answered."""
    return known(session, [recipe]).get(recipe)


def known(session: Session, recipes: Iterable[Recipe]) -> dict[Recipe, tuple[int, Answer]]:
    """Which of these recipes were answered already: what a resumed job need not ask again.

    One query for all orders of a timeline, and all seeds, that were asked alike.
    """
    asked: dict[Recipe, dict[tuple[int | None, int], Recipe]] = {}
    for recipe in recipes:
        asked.setdefault(replace(recipe, plan_id=None, seed=0), {})[recipe.plan_id, recipe.seed] = recipe
    found: dict[Recipe, tuple[int, Answer]] = {}
    for alike, several in asked.items():
        values = {
            "video_id": alike.video_id,
            "timeline_id": alike.timeline_id or 0,
            "model_id": alike.model_id,
            "prompt_id": alike.prompt_id,
            "sampling_id": alike.sampling_id,
            "plans": sorted({plan_id or 0 for plan_id, _ in several}),
            "seeds": sorted({seed for _, seed in several}),
        }
        for plan_id, seed, row_id, text, n_tokens, finish, log_prob in session.execute(_KNOWN, values):
            if (plan_id, seed) in several:
                found[several[plan_id, seed]] = (row_id, Answer(text, n_tokens, cast(Any, finish), log_prob))
    return found


def _or_zero(column: Any) -> ColumnElement[int]:
    """As the unique index over recipes spells it, so that it is used."""
    return func.coalesce(column, 0)


_INSERT = insert(ResponseRow).returning(ResponseRow.id, sort_by_parameter_order=True)
_R = ResponseRow
# Built once: building it for each of thousands of answers costs more than the query.
_KNOWN = select(_R.plan_id, _R.seed, _R.id, _R.text, _R.n_tokens, _R.finish, _R.log_prob).where(
    _R.video_id == bindparam("video_id"),
    _or_zero(_R.timeline_id) == bindparam("timeline_id"),
    _or_zero(_R.plan_id).in_(bindparam("plans", expanding=True)),
    _R.model_id == bindparam("model_id"),
    _R.prompt_id == bindparam("prompt_id"),
    _R.sampling_id == bindparam("sampling_id"),
    _R.seed.in_(bindparam("seeds", expanding=True)),
)


def count(session: Session) -> int:
    return session.execute(select(func.count()).select_from(ResponseRow)).scalar_one()
