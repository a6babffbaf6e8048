"""Which opinions count: of each person about each pair of a campaign the newest that was not taken back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, case, select
from sqlalchemy.orm import aliased

from db.tables import OpinionRow


def standing(*columns: Any) -> Select[Any]:
    """Select these columns of `OpinionRow` where the opinion counts; narrow it further as needed."""
    newer = aliased(OpinionRow)
    replaced = select(newer.id).where(
        newer.campaign_id == OpinionRow.campaign_id,
        newer.pair_id == OpinionRow.pair_id,
        newer.reviewer_id == OpinionRow.reviewer_id,
        newer.id > OpinionRow.id,
        newer.act != "undo",
        ~undone(newer),
    )
    return select(*columns).where(OpinionRow.act != "undo", ~undone(OpinionRow), ~replaced.exists())


def undone(opinion: Any) -> ColumnElement[bool]:
    """Whether somebody took this opinion back; a reason given later goes with the opinion it speaks about."""
    undo = aliased(OpinionRow)
    about = case((opinion.act == "reason", opinion.of_id), else_=opinion.id)
    return (
        select(undo.id)
        .where(
            undo.campaign_id == opinion.campaign_id,
            undo.pair_id == opinion.pair_id,
            undo.act == "undo",
            undo.of_id == about,
        )
        .exists()
    )
