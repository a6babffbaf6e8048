"""How answers were drawn, each set of settings kept once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import SamplingRow, canonical
from tempo_core.errors import Unknown
from tempo_core.types import JsonDict, Sampling


def id_of(session: Session, sampling: Sampling, extra: Mapping[str, Any] | None = None) -> int:
    """`extra` holds what else shaped the answers: library versions, picture size, backend."""
    return id_of_settings(session, asdict(sampling) | dict(extra or {}))


def id_of_settings(session: Session, settings: JsonDict) -> int:
    """As `id_of`, for settings that another studio wrote down, and for texts that no model drew."""
    sha256 = hashlib.sha256(canonical(settings).encode()).hexdigest()
    found = session.execute(select(SamplingRow.id).where(SamplingRow.sha256 == sha256)).scalar_one_or_none()
    if found is not None:
        return found
    row = SamplingRow(sha256=sha256, settings=settings)
    session.add(row)
    session.flush()
    return row.id


def settings_of(session: Session, sampling_id: int) -> JsonDict:
    row = session.get(SamplingRow, sampling_id)
    if row is None:
        raise Unknown(f"There is no sampling {sampling_id}.")
    return row.settings
