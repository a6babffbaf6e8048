"""Which checkpoint a stage goes on from, and how many are kept.

The one thing to know: a checkpoint counts only if it is whole (`sealed`), of the same stage with the same data and
settings, and of as many processes: their random numbers are part of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tempo_core.errors import DatasetDrift
from tempo_core.training import ranks, sealed


def newest(checkpoints: Path, ordinal: int, stage_sha256: str) -> tuple[Path, int] | None:
    """The newest complete, unchanged checkpoint of a stage, with its step over all stages.

    Raises:
        DatasetDrift: There is one, but of other data or settings.
    """
    found = []
    for path in checkpoints.glob("step-*"):
        sealed_checkpoint = sealed.read(path)
        if sealed_checkpoint and sealed_checkpoint[0]["stage"] == ordinal:
            if sealed_checkpoint[0]["stage_sha256"] != stage_sha256:
                raise drift(path)
            n_ranks = sealed_checkpoint[0].get("ranks", 1)
            if n_ranks != ranks.size():
                raise DatasetDrift(
                    f"{path} was trained by {n_ranks} processes together, and now there are {ranks.size()}. Resume "
                    f"with {n_ranks}, or remove the folder to train this stage again from its beginning."
                )
            found.append((int(sealed_checkpoint[0]["step"]), path.stat().st_mtime_ns, path))
    if not found:
        return None
    step, _, path = max(found)
    return path, step


def drift(path: Path) -> DatasetDrift:
    return DatasetDrift(
        f"{path} was trained with other pairs, another order or other settings than this run has. "
        "Start a new run, or restore the frozen dataset and its settings."
    )


def keep_newest(checkpoints: Path) -> None:
    """Two stay: should the newest turn out damaged, the one before it is there."""
    for path in sorted(checkpoints.glob("step-*"), key=lambda path: path.stat().st_mtime_ns)[:-2]:
        shutil.rmtree(path)


def free_name(checkpoints: Path, step: int) -> Path:
    # A folder cannot replace a full one, so a step that is reached twice gets a second name.
    attempt = 1
    while (path := checkpoints / f"step-{step:06d}-{attempt}").exists():
        attempt += 1
    return path
