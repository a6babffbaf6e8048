"""Which process a job is, whether it still runs, and how to end all of it.

A pid alone names nothing, since pids are used again: a process is a pid and its start time. A job's processes are
found by its process group and, because torchrun and others open sessions of their own, by the variables TEMPO_JOB and
TEMPO_HOME that every descendant inherits. Both, because another studio on this machine has a job 1 as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil

from db.jobs import Process, boot_id

TICKET = "TEMPO_JOB"
"""Environment variable `<job>.<attempt>.<token>` of a job's processes."""

HOME = "TEMPO_HOME"


def started(pid: int) -> int | None:
    """When this process began, in a unit of the machine; None when it is gone or only waits to be reaped."""
    with contextlib.suppress(psutil.Error, OSError):
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
        return _ticks(pid) if Path("/proc/self/stat").exists() else int(psutil.Process(pid).create_time() * 1000)
    return None


def _ticks(pid: int) -> int:
    # psutil counts from the wall clock, so a clock that jumps would change every process's start; these ticks
    # count from the boot. The name in brackets may hold spaces, hence the split after the last bracket.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def alive(pid: int | None, pid_started: int | None) -> bool:
    """Whether this very process still runs."""
    return pid is not None and pid_started is not None and started(pid) == pid_started


def age_s(pid: int) -> float:
    """How long this process has run; 0 where it is gone."""
    with contextlib.suppress(psutil.Error, OSError):
        return max(0.0, time.time() - float(psutil.Process(pid).create_time()))
    return 0.0


def holding(path: Path) -> list[psutil.Process]:
    """The processes of this user, without this one, that have a file open."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(file.path == str(path) for file in process.open_files()):
                found.append(process)
    return found


def lives(process: Process) -> bool:
    """Whether a process that holds a lease still runs. On another machine only the lease can tell."""
    return process.boot_id != boot_id() or alive(process.pid, process.pid_started)


def memory_bytes(pid: int) -> tuple[int, int]:
    """What a process and its descendants hold in memory, and what this machine has; shared pages count each time."""
    held = 0
    with contextlib.suppress(psutil.Error, OSError):
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                held += process.memory_info().rss
    return held, int(psutil.virtual_memory().total)


def of_job(home: Path, job_id: int, token: str | None = None) -> list[psutil.Process]:
    """Every process of a studio's job, or of one attempt when its token is given, without the one that asks."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            about = process.environ() if process.pid != os.getpid() else {}
            ticket = about.get(TICKET, "") if about.get(HOME) == str(home) else ""
            if ticket.startswith(f"{job_id}.") and (token is None or ticket.endswith(f".{token}")):
                found.append(process)
    return found


def end(home: Path, job_id: int, attempt: int, pid: int | None, pid_started: int | None) -> None:
    """Kill an attempt with all its descendants, and what earlier ones left; returns when none is left or after 5 s.

    Not what came later: a worker that was frozen may know of an old attempt only.
    """
    if pid is not None and started(pid) in (pid_started, None):
        # `None`: the leader is gone, its group may live on. A group keeps its number while it has a member, so the
        # number cannot belong to somebody else's process.
        _kill_group(pid)
    processes = [process for process in of_job(home, job_id) if _attempt(process) <= attempt]
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def _attempt(process: psutil.Process) -> int:
    """Which attempt a process of a job belongs to; 0, which no attempt has, when it is gone."""
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        return int(process.environ().get(TICKET, "").split(".")[1])
    return 0


def end_earlier(home: Path, job_id: int, token: str) -> None:
    """Kill what is left on this machine of the job's earlier attempts; a cluster may not have swept as `end` does."""
    now = {process.pid for process in of_job(home, job_id, token)}
    for process in of_job(home, job_id):
        if process.pid not in now:
            with contextlib.suppress(psutil.Error):
                process.kill()


def end_self(home: Path, job_id: int, token: str) -> None:
    """Kill this attempt's processes, this one last. Does not return."""
    for process in of_job(home, job_id, token):
        with contextlib.suppress(psutil.Error):
            process.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
