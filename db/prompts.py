"""Prompts, each text kept once."""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import PromptRow


def id_of(session: Session, text: str, template: str = "") -> int:
    """The id of a prompt; `template` names where the text comes from ("describe", "caption_first", ...)."""
    sha256 = hashlib.sha256(f"{template}\n{text}".encode()).hexdigest()
    found = session.execute(select(PromptRow.id).where(PromptRow.sha256 == sha256)).scalar_one_or_none()
    if found is not None:
        return found
    row = PromptRow(sha256=sha256, template=template, text=text)
    session.add(row)
    session.flush()
    return row.id
