"""What a launcher is: it starts an attempt's process somewhere, says whether it is there, and ends it.

A launcher owns no truth. Whose job it is and what became of it stands in the job's row; that an attempt lives is told
by its heartbeats. `alive` only helps to see an end sooner than a lease does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tempo_core.errors import TempoError
from tempo_core.settings import Home

ROOT = Path(__file__).parent.parent.parent
"""Where the program lies; on every machine that runs jobs at the same place."""

State = Literal["pending", "running", "gone"]
"""`pending`: taken, and waiting for room. `gone`: ended, or never heard of."""

_HANDLE = re.compile(r"tempo-(\d+)-(\d+)(-[0-9a-f]+)?")


class LauncherRefused(TempoError):
    """A launcher that is not known, not safe or not able to run this."""


class LauncherAway(TempoError):
    """A launcher that cannot be asked now; the leases of its jobs run on."""

    error_class = "launcher_away"


@dataclass(frozen=True, slots=True)
class Resources:
    """What an attempt needs: a slot of the queue such as `gpu:0`, and how many processes train together."""

    slot: str
    ranks: int = 1

    @property
    def kind(self) -> str:
        """`gpu` or `cpu`."""
        return self.slot.partition(":")[0]


class Launcher(Protocol):
    """Local, Ray or Slurm. A handle is `tempo-<job>-<attempt>-<mark>`, drawn when the job is claimed.

    The mark tells this claim from those of another studio: its job 1 may run in the same cluster.
    """

    name: str
    remote: bool
    """Whether it is asked over a network, and therefore seldom."""

    def start(self, handle: str, argv: list[str], resources: Resources, env: dict[str, str]) -> None:
        """Start `argv` in ROOT with `env` beside its own environment. A second call for a handle starts nothing.

        Raises:
            LauncherAway: It cannot be asked.
            LauncherRefused: It was asked and says no.
        """

    def alive(self, handle: str) -> State:
        """Whether the attempt's first process is there; `LauncherAway` when that cannot be known."""

    def stop(self, handle: str, grace_s: float) -> None:
        """End all processes of the attempt: politely, by force after `grace_s`. Returns when they are gone.

        It gives up waiting after some seconds, and does not wait for what itself waits for room: an attempt that was
        taken back cannot write, its token is void.
        """

    def log(self, handle: str, offset: int) -> tuple[bytes, int]:
        """What was printed since `offset`, and the offset to ask with next."""

    def capacity(self) -> dict[str, int]:
        """Devices in all, busy or not: `{"cpu": 64, "gpu": 8}`."""

    def exit_code(self, handle: str) -> int | None:
        """How the first process of an attempt that is gone ended, -9 for signal 9; None where that is not known."""


def parts(handle: str) -> tuple[int, int]:
    """(job, attempt)."""
    match = _HANDLE.fullmatch(handle)
    if match is None:
        raise ValueError(f"{handle} is no handle of ours")
    return int(match[1]), int(match[2])


def log_path(home: Home, job_id: int, attempt: int) -> Path:
    """What an attempt prints, wherever it runs: the home is a folder that all machines see."""
    return home.runs / "jobs" / str(job_id) / f"attempt-{attempt}.log"


def log_of(home: Home, handle: str) -> Path:
    """The same by handle; its folder is made."""
    path = log_path(home, *parts(handle))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def read_from(path: Path, offset: int) -> tuple[bytes, int]:
    """The bytes of a file since `offset`, and where they end; nothing while there is no file."""
    if not path.exists():
        return b"", offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    return data, offset + len(data)
