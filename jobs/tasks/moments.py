"""A model at a moment: the base, or a run's model after one of its phases. Loading one brings torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import runs
from db.runs import RunCard, StageLine
from tempo_core import video_llms
from tempo_core.errors import TooFew
from tempo_core.settings import Home


@dataclass(frozen=True, slots=True)
class Moment:
    """A model to measure: the base with the links merged that were there at this moment."""

    name: str
    run_id: int | None
    links: tuple[StageLine, ...]


BASE = Moment("base", None, ())


def of_run(session: Session, card: RunCard, *, every_stage: bool = False) -> tuple[Moment, ...]:
    """After each phase whose stages are all there; named by what was trained so far, such as "dpo" and "dpo+sft".

    With `every_stage` also between the stages of a phase, such as "dpo/l1".

    Raises:
        TooFew: The run has finished no stage.
    """
    found = runs.moments(session, card.id, every_stage=every_stage)
    if not found:
        raise TooFew(f"Run {card.id} has finished no stage yet, so there is nothing to measure. Wait, or resume it.")
    return tuple(Moment(name, card.id, links) for name, links in found)


def links(moment: Moment, home: Home) -> list[Any]:
    """The finished stages of a moment as links of a chain."""
    link = importlib.import_module("tempo_core.training.chain").Link
    return [link(s.ordinal, s.name, s.phase, home.root / str(s.adapter), str(s.manifest_sha256)) for s in moment.links]


def load(base: Path, moment: Moment, home: Home) -> Any:
    """The Video LLM of this moment, its links merged in their order."""
    if not moment.links:
        return video_llms.load(base)
    return importlib.import_module("tempo_core.training.chain").load(base, links(moment, home))
