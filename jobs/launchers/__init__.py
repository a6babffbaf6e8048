"""Where the processes of jobs run: on this machine, in a Ray cluster, or in a Slurm cluster.

TEMPO_LAUNCHER chooses for the jobs that start from now on; those that run stay with the launcher that started them.
`docs/growing.md` says when to take which.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from jobs.launchers import local, ray, slurm
from jobs.launchers.base import Launcher, LauncherRefused
from tempo_core.settings import Home

LAUNCHERS: dict[str, Callable[[Home], Launcher]] = {"local": local.Local, "ray": ray.Ray, "slurm": slurm.Slurm}


def chosen() -> str:
    """The name that TEMPO_LAUNCHER gives; `local` where it gives none.

    Raises:
        LauncherRefused: There is no such launcher.
    """
    name = os.environ.get("TEMPO_LAUNCHER") or "local"
    if name not in LAUNCHERS:
        raise LauncherRefused(f"TEMPO_LAUNCHER is {name!r}; it is one of {', '.join(LAUNCHERS)}.")
    return name


def named(name: str, home: Home) -> Launcher:
    """The launcher of this name for a studio's home.

    Raises:
        LauncherRefused: There is none, or its settings are not safe.
    """
    if name not in LAUNCHERS:
        raise LauncherRefused(f"No launcher is called {name!r}; there are {', '.join(LAUNCHERS)}.")
    return LAUNCHERS[name](home)
