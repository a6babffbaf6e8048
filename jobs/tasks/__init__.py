"""The work itself, one module per kind, each with `run(database, job, report) -> dict`.

Modules are named here and imported only in the child: some of them bring torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.payloads import Payload
from tempo_core.settings import Home
from tempo_core.types import JsonDict

if TYPE_CHECKING:
    from db.session import Database
    from jobs.child import Report

TASKS: dict[str, str] = {
    "draw": "jobs.tasks.draw",
    "scan": "jobs.tasks.scan",
    "judge": "jobs.tasks.judge",
    "relink": "jobs.tasks.relink",
    "copies": "jobs.tasks.copies",
    "pair": "jobs.tasks.pair",
    "train": "jobs.tasks.train",
    "estimate": "jobs.tasks.estimate",
    "evaluate": "jobs.tasks.evaluate",
    "ask": "jobs.tasks.ask",
    "export": "jobs.tasks.export",
    "import": "jobs.tasks.import_pairs",
    "export_model": "jobs.tasks.export_model",
    "bundle": "jobs.tasks.bundle",
    "bring_back": "jobs.tasks.bring_back",
    "paper": "jobs.tasks.paper",
    "sft": "jobs.tasks.sft",
    "captions": "jobs.tasks.captions",
    "check": "jobs.tasks.check",
    "sleep": "jobs.tasks.sleep",
}


@dataclass(frozen=True, slots=True)
class JobRef:
    """One attempt at a job, as its task sees it."""

    id: int
    kind: str
    payload: Payload
    attempt: int
    """1 for the first; later attempts go on from what `folder` and the database hold."""
    token: str
    folder: Path
    """The job's own folder, the same in every attempt: logs, checkpoints."""
    home: Home
    n_oom: int = 0
    """How many attempts ran out of memory: use less of it, with the same effective batch."""


Task = Callable[["Database", JobRef, "Report"], JsonDict]
"""Its result is stored with the job's last state, in one transaction under the token."""


def load(kind: str) -> Task:
    """The task of this kind; importing it may take seconds."""
    task: Task = importlib.import_module(TASKS[kind]).run
    return task
