"""Questions tried on models that stay loaded, as files of one folder: a page writes questions, a job writes answers.

The one thing to know: text is written whole each time it grows and put in place at once, so whoever reads sees a
text as it was at some token, never half a write.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trial:
    """A question about a video of the library, put to every checkpoint of the job."""

    video_id: int
    question: str


@dataclass(frozen=True, slots=True)
class Said:
    """What one checkpoint has said so far. `finish` is "" while it speaks, then stop, length, stopped or error."""

    text: str = ""
    n_tokens: int = 0
    finish: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a trial is. `frames` are the numbers of the pictures that were shown."""

    said: tuple[Said, ...] = ()
    frames: tuple[int, ...] = ()
    strip: bytes = field(default=b"", repr=False)

    @property
    def done(self) -> bool:
        return bool(self.said) and all(one.finish for one in self.said)


# ---- what the page does ----------------------------------------------------------------------------------------------
def ask(folder: Path, trial: Trial) -> str:
    """Put a question; its id."""
    trial_id = f"{len(list(folder.glob('*.question'))):04d}-{uuid.uuid4().hex[:8]}"
    _write(folder / f"{trial_id}.question", json.dumps(asdict(trial)).encode())
    return trial_id


def stop(folder: Path, trial_id: str) -> None:
    """Ask the job to end this answer; the models stay loaded."""
    _write(folder / f"{trial_id}.stop", b"")


def look(folder: Path, trial_id: str, n_checkpoints: int) -> Seen:
    """What was said so far."""
    said = tuple(_said(folder / f"{trial_id}.{place}.said") for place in range(n_checkpoints))
    frames = _read(folder / f"{trial_id}.frames")
    return Seen(said, tuple(json.loads(frames)) if frames else (), _read(folder / f"{trial_id}.jpg"))


# ---- what the job does -----------------------------------------------------------------------------------------------
def waiting(folder: Path, n_checkpoints: int) -> list[str]:
    """Ids of the questions that are not answered, the oldest first."""
    ids = sorted(path.stem for path in folder.glob("*.question"))
    return [trial_id for trial_id in ids if not look(folder, trial_id, n_checkpoints).done]


def read(folder: Path, trial_id: str) -> Trial:
    return Trial(**json.loads(_read(folder / f"{trial_id}.question")))


def stopped(folder: Path, trial_id: str) -> bool:
    return (folder / f"{trial_id}.stop").exists()


def show(folder: Path, trial_id: str, numbers: Sequence[int], strip: bytes) -> None:
    """Keep which pictures are shown."""
    _write(folder / f"{trial_id}.jpg", strip)
    _write(folder / f"{trial_id}.frames", json.dumps(list(numbers)).encode())


def say(folder: Path, trial_id: str, place: int, said: Said) -> None:
    """Keep what one checkpoint, by its place in the job, has said so far."""
    _write(folder / f"{trial_id}.{place}.said", json.dumps(asdict(said)).encode())


def _said(path: Path) -> Said:
    kept = _read(path)
    return Said(**json.loads(kept)) if kept else Said()


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
