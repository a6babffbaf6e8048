"""Files we made below TEMPO_HOME (proxies, sprites, clips, exports), known by id, so that no URL holds a path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db import people
from db.people import Person
from db.session import now_ms
from db.tables import ArtifactRow
from tempo_core.errors import Unknown


@dataclass(frozen=True, slots=True)
class Artifact:
    id: int
    kind: str
    sha256: str
    rel_path: str
    size_bytes: int
    video_id: int | None
    plan_id: int | None
    run_id: int | None
    dataset_version_id: int | None
    job_id: int | None
    created_ms: int


def record(
    session: Session,
    kind: str,
    sha256: str,
    rel_path: str,
    size_bytes: int,
    *,
    video_id: int | None = None,
    plan_id: int | None = None,
    run_id: int | None = None,
    dataset_version_id: int | None = None,
    job_id: int | None = None,
) -> int:
    """Keep a file's place; a file written again at the same place keeps its id."""
    row = session.execute(select(ArtifactRow).where(ArtifactRow.rel_path == rel_path)).scalar_one_or_none()
    if row is None:
        row = ArtifactRow(kind=kind, rel_path=rel_path)
        session.add(row)
    row.kind, row.sha256, row.size_bytes, row.created_ms = kind, sha256, size_bytes, now_ms()
    row.video_id, row.plan_id, row.run_id = video_id, plan_id, run_id
    row.dataset_version_id, row.job_id = dataset_version_id, job_id
    session.flush()
    return row.id


def offer(session: Session, person: Person, rel_path: str, content: bytes) -> int:
    """A file that a page makes to be taken away, below the home folder; the caller writes it. Its id."""
    people.require(person, "admin")
    return record(session, "export", hashlib.sha256(content).hexdigest(), rel_path, len(content))


def get(session: Session, artifact_id: int) -> Artifact:
    row = session.execute(_columns().where(ArtifactRow.id == artifact_id)).one_or_none()
    if row is None:
        raise Unknown(f"There is no artifact {artifact_id}.")
    return Artifact(*row)


def listing(
    session: Session,
    kind: str | None = None,
    *,
    video_id: int | None = None,
    plan_id: int | None = None,
    run_id: int | None = None,
    dataset_version_id: int | None = None,
) -> list[Artifact]:
    """The newest first."""
    a, query = ArtifactRow, _columns().order_by(ArtifactRow.id.desc())
    wanted = [
        (a.kind, kind),
        (a.video_id, video_id),
        (a.plan_id, plan_id),
        (a.run_id, run_id),
        (a.dataset_version_id, dataset_version_id),
    ]
    conditions: list[Any] = [column == value for column, value in wanted if value is not None]
    return [Artifact(*row) for row in session.execute(query.where(*conditions))]


def _columns() -> Select[Any]:
    a = ArtifactRow
    columns: tuple[Any, ...] = (
        a.id, a.kind, a.sha256, a.rel_path, a.size_bytes, a.video_id, a.plan_id, a.run_id, a.dataset_version_id,
        a.job_id, a.created_ms,
    )  # fmt: skip
    return select(*columns)
