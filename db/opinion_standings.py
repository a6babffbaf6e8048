"""Which opinions count: of each person about each pair of a campaign the newest that was not taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, case, select
from sqlalchemy.orm import Session, aliased

from db.tables import OpinionRow

_NEWER, _UNDO, _UNDO_OF_NEWER = aliased(OpinionRow), aliased(OpinionRow), aliased(OpinionRow)
"""Made once: an alias costs more than the query it is for."""


def _undone(opinion: Any, undo: Any) -> ColumnElement[bool]:
    """Whether somebody took this opinion back; a reason given later goes with the opinion it speaks about."""
    about = case((opinion.act == "reason", opinion.of_id), else_=opinion.id)
    here = undo.campaign_id == opinion.campaign_id, undo.pair_id == opinion.pair_id
    return select(undo.id).where(*here, undo.act == "undo", undo.of_id == about).exists()


_REPLACED = (
    select(_NEWER.id)
    .where(
        _NEWER.campaign_id == OpinionRow.campaign_id,
        _NEWER.pair_id == OpinionRow.pair_id,
        _NEWER.reviewer_id == OpinionRow.reviewer_id,
        _NEWER.id > OpinionRow.id,
        _NEWER.act != "undo",
        ~_undone(_NEWER, _UNDO_OF_NEWER),
    )
    .exists()
)
_STANDS: tuple[Any, ...] = (OpinionRow.act != "undo", ~_undone(OpinionRow, _UNDO), ~_REPLACED)


def standing(*columns: Any) -> Select[Any]:
    """Select these columns of `OpinionRow` where the opinion counts; narrow it further as needed."""
    return select(*columns).where(*_STANDS)


@dataclass(frozen=True, slots=True)
class Opinion:
    """One that counts."""

    origin: int
    verdict: str
    dwell_ms: int | None


Given = dict[int, dict[int, Opinion]]
"""Pair -> reader -> the opinion that counts."""

_ROWS: Any = select(
    OpinionRow.id, OpinionRow.pair_id, OpinionRow.reviewer_id, OpinionRow.act, OpinionRow.verdict, OpinionRow.of_id,
    OpinionRow.dwell_ms,
)  # fmt: skip


def of_campaign(session: Session, campaign_id: int) -> Given:
    """As `standing`, for a whole campaign: read in one go and folded here, which is ten times faster than in SQL."""
    stacks: dict[tuple[int, int], list[Opinion]] = {}
    rows = session.execute(_ROWS.where(OpinionRow.campaign_id == campaign_id).order_by(OpinionRow.id))
    for opinion_id, pair_id, reader, act, verdict, of_id, dwell_ms in rows:
        stack = stacks.setdefault((pair_id, reader), [])
        if act == "undo":
            stack[:] = [entry for entry in stack if entry.origin != of_id]
        elif act != "reason":
            stack.append(Opinion(opinion_id, verdict, dwell_ms))
    found: Given = {}
    for (pair_id, reader), stack in stacks.items():
        if stack:
            found.setdefault(pair_id, {})[reader] = stack[-1]
    return found
