"""What an evaluation is about: a base and, of a run, its model at each moment, with the version that it is asked on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import datasets, models, runs
from db.datasets import DatasetCard
from db.session import Database
from jobs.payloads import EvaluatePayload
from jobs.tasks import moments
from jobs.tasks.moments import Moment
from tempo_core.errors import TooFew
from tempo_core.video_llms import checkpoints


@dataclass(frozen=True, slots=True)
class Subject:
    """What all moments share."""

    base: Path
    family: str
    model_id: int
    moments: tuple[Moment, ...]
    version: DatasetCard | None
    """None where nothing is frozen, which benchmarks in files do not need."""
    trained_version_id: int | None


def of(database: Database, payload: EvaluatePayload, *, needs_version: bool) -> Subject:
    """The run or the model folder that the payload names.

    Raises:
        TooFew: The run has finished no stage, or a version is needed and nothing is frozen.
    """
    if payload.run_id is not None:
        with database.reading() as session:
            card = runs.get(session, payload.run_id)
            base = models.get(session, card.base_model_id)
            found = (moments.BASE, *moments.of_run(session, card, every_stage=payload.every_stage))
            version = _version(session, payload.version_id or card.dataset_version_id, needed=needs_version)
        return Subject(Path(base.path), base.family, base.id, found, version, card.dataset_version_id)
    checkpoint = checkpoints.inspect(Path(payload.model or ""))
    with database.session() as session:
        model_id = models.register(
            session, checkpoint.path, checkpoint.family, checkpoint.files_sha256, checkpoint.name
        )
        version = _version(session, payload.version_id, needed=needs_version)
    return Subject(checkpoint.path, checkpoint.family, model_id, (moments.BASE,), version, None)


def _version(session: Any, version_id: int | None, *, needed: bool) -> DatasetCard | None:
    if version_id is not None:
        return datasets.get(session, version_id)
    frozen = datasets.listing(session)
    if not frozen:
        if not needed:
            return None
        raise TooFew("Nothing is held out yet: freeze a dataset version of five videos or more, then evaluate.")
    return frozen[0]
