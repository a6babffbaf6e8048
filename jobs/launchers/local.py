"""Processes of this machine, in a session of their own; several ranks are torchrun's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from db import jobs
from jobs import processes
from jobs.launchers import base
from jobs.launchers.base import LauncherAway, Resources, State
from tempo_core.settings import Home


class Local:
    """Remembers what it started; of what an earlier worker started, a file beside the log tells which process it is."""

    name = "local"
    remote = False

    def __init__(self, home: Home) -> None:
        self.home = home
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, handle: str, argv: list[str], resources: Resources, env: dict[str, str]) -> None:
        if self._file(handle).exists():
            return
        with base.log_of(self.home, handle).open("ab") as log:
            child = subprocess.Popen(
                argv,
                cwd=base.ROOT,
                env=os.environ | env | devices(resources),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Those seen to have ended are of no more use.
        self._children = {key: one for key, one in self._children.items() if one.returncode is None} | {handle: child}
        self._file(handle).write_text(f"{child.pid} {processes.started(child.pid) or 0} {jobs.boot_id()}")

    def alive(self, handle: str) -> State:
        child = self._children.get(handle)
        if child is not None:
            return "running" if child.poll() is None else "gone"
        pid, pid_started = self._process(handle)
        return "running" if processes.alive(pid, pid_started) else "gone"

    def stop(self, handle: str, grace_s: float) -> None:
        pid, pid_started = self._process(handle)
        if grace_s and pid is not None and self.alive(handle) == "running":
            # Not the group: torchrun hands the signal on, and the first rank tells the others.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            end_s = time.monotonic() + grace_s
            while self.alive(handle) == "running" and time.monotonic() < end_s:
                time.sleep(0.05)
        processes.end(self.home.root, *base.parts(handle), pid, pid_started)
        child = self._children.get(handle)
        if child is not None:
            child.wait()

    def log(self, handle: str, offset: int) -> tuple[bytes, int]:
        return base.read_from(base.log_of(self.home, handle), offset)

    def capacity(self) -> dict[str, int]:
        return {"cpu": os.cpu_count() or 1, "gpu": len(list(Path("/dev").glob("nvidia[0-9]*")))}

    def exit_code(self, handle: str) -> int | None:
        child = self._children.get(handle)
        return None if child is None else child.poll()

    def _process(self, handle: str) -> tuple[int | None, int | None]:
        """(pid, start) of the attempt's first process; (None, None) when none was ever started."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid, pid_started, boot_id = self._file(handle).read_text().split()
            if boot_id != jobs.boot_id():
                raise LauncherAway(f"{handle} was started by another machine, or before this one was restarted.")
            return int(pid), int(pid_started)
        return None, None

    def _file(self, handle: str) -> Path:
        return base.log_of(self.home, handle).with_name(f"{handle}.pid")


def devices(resources: Resources) -> dict[str, str]:
    """Which devices a process sees: none in a CPU slot, its own where each GPU is a slot, else what the user lets it.

    One process sees one GPU: with several, the trainers refuse to start.
    """
    kind, _, number = resources.slot.partition(":")
    if kind == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    if sum(name.startswith("gpu") for name in os.environ.get("TEMPO_SLOTS", "").split(",")) > 1:
        return {"CUDA_VISIBLE_DEVICES": number}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if resources.ranks > 1 or seen == "":
        return {}
    return {"CUDA_VISIBLE_DEVICES": seen.split(",")[0] if seen else number}
