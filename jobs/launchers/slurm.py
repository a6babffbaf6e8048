"""A Slurm cluster, through its own four commands: sbatch, squeue, scancel, sinfo.

Partition, account and time limit are Slurm's to be told, by its own variables: SBATCH_PARTITION, SBATCH_ACCOUNT,
SBATCH_TIMELIMIT. The nodes see the same home and program at the same paths.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
import time

from jobs.launchers import base
from jobs.launchers.base import LauncherAway, LauncherRefused, Resources, State
from tempo_core.settings import Home

_TIMEOUT_S = 20.0
_STOP_S = 10.0
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")
_OVER = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL")

# Two minutes before the time limit Slurm sends USR1 to the shell alone: it asks the task to save and stop. The signal
# ends a `wait` as well, hence the loop; once it has waited, a shell may forget the task, and then says 127.
_SCRIPT = """#!/bin/sh
trap 'asked=1; kill -TERM $!' USR1 TERM
{command} &
code=127 asked=1
while [ -n "$asked" ]; do
    asked=
    wait $!
    told=$?
    [ $told -eq 127 ] || code=$told
done
exit $code
"""


class Slurm:
    """Finds its jobs by their name, which is the handle: nothing has to be kept between two commands."""

    name = "slurm"
    remote = True

    def __init__(self, home: Home) -> None:
        self.home = home

    def start(self, handle: str, argv: list[str], resources: Resources, env: dict[str, str]) -> None:
        log = base.log_of(self.home, handle)
        if log.exists() or self.alive(handle) != "gone":
            return
        options = [
            f"--job-name={handle}",
            f"--output={log}",
            f"--chdir={base.ROOT}",
            f"--cpus-per-task={resources.ranks}",
            "--ntasks=1",
            # The queue of the studio starts lost work again. With a second one that does so, two copies would run.
            "--no-requeue",
            "--signal=B:USR1@120",
        ]
        if resources.kind == "gpu" and self.capacity()["gpu"]:
            options.append(f"--gpus={resources.ranks}")
        if resources.kind == "cpu":
            env = env | {"CUDA_VISIBLE_DEVICES": ""}
        # The environment goes with the job: unlike Ray, Slurm shows it to nobody.
        _run(["sbatch", "--parsable", *options], script=_SCRIPT.format(command=shlex.join(argv)), env=os.environ | env)

    def alive(self, handle: str) -> State:
        states = _run(["squeue", "--noheader", f"--user={_me()}", f"--name={handle}", "--format=%T"]).split()
        living = [state for state in states if state not in _OVER]
        if not living:
            return "gone"
        return "pending" if all(state in _WAITING for state in living) else "running"

    def stop(self, handle: str, grace_s: float) -> None:
        mine = [f"--user={_me()}", f"--name={handle}"]
        if grace_s and self.alive(handle) == "running":
            _run(["scancel", "--batch", "--signal=USR1", *mine])
            self._wait(handle, grace_s)
        if self.alive(handle) != "gone":
            _run(["scancel", *mine])
            self._wait(handle, _STOP_S)

    def log(self, handle: str, offset: int) -> tuple[bytes, int]:
        return base.read_from(base.log_of(self.home, handle), offset)

    def capacity(self) -> dict[str, int]:
        """Of the nodes that answer. A node stands in a line for each of its partitions, hence the dictionary."""
        lines = _run(["sinfo", "--noheader", "--responding", "--Node", "--format=%N %c %G"]).splitlines()
        nodes = {line.split()[0]: line.split() for line in lines if len(line.split()) >= 3}
        gpus = [re.findall(r"gpu:(?:[^:,()]+:)?(\d+)", " ".join(words[2:])) for words in nodes.values()]
        return {
            "cpu": sum(int(words[1].rstrip("+")) for words in nodes.values()),
            "gpu": sum(int(number) for numbers in gpus for number in numbers),
        }

    def exit_code(self, handle: str) -> int | None:
        """Slurm's accounting would know it, where a site keeps one."""
        return None

    def _wait(self, handle: str, wait_s: float) -> None:
        end_s = time.monotonic() + wait_s
        while self.alive(handle) != "gone" and time.monotonic() < end_s:
            time.sleep(0.2)


def _me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _run(command: list[str], *, script: str | None = None, env: dict[str, str] | None = None) -> str:
    """What a command of Slurm prints."""
    try:
        done = subprocess.run(
            command, input=script, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise LauncherAway(
            f"{command[0]} is not on the PATH of this machine: start the studio on a machine that submits to Slurm, or "
            "set TEMPO_LAUNCHER=local."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LauncherAway(
            f"{command[0]} did not answer within {_TIMEOUT_S:g} s; Slurm's controller is busy."
        ) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[0]
        kind = LauncherRefused if command[0] == "sbatch" and "ontact" not in said else LauncherAway
        raise kind(f"{command[0]} says: {said}")
    return done.stdout
