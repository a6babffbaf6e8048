"""Models that made or learned something here, known by the hash of their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.session import now_ms
from db.tables import ModelRow
from tempo_core.errors import Unknown


@dataclass(frozen=True, slots=True)
class ModelCard:
    id: int
    name: str
    path: Path
    family: str
    files_sha256: str


def register(session: Session, path: Path | str, family: str, files_sha256: str, name: str | None = None) -> int:
    """The id of a model's files; the same files at another path are the same model, lying there now.

    A model behind a server has its address for a path, and captions from a file have the file.
    """
    row = session.execute(select(ModelRow).where(ModelRow.files_sha256 == files_sha256)).scalar_one_or_none()
    if row is None:
        row = ModelRow(
            name=name or Path(path).name, path=str(path), family=family, files_sha256=files_sha256, created_ms=now_ms()
        )
        session.add(row)
    row.path = str(path)
    session.flush()
    return row.id


def get(session: Session, model_id: int) -> ModelCard:
    row = session.get(ModelRow, model_id)
    if row is None:
        raise Unknown(f"There is no model {model_id}.")
    return _card(row)


def listing(session: Session) -> list[ModelCard]:
    return [_card(row) for row in session.execute(select(ModelRow).order_by(ModelRow.id)).scalars()]


def _card(row: ModelRow) -> ModelCard:
    return ModelCard(row.id, row.name, Path(row.path), row.family, row.files_sha256)
