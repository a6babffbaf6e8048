"""A Ray cluster of two nodes on this machine, with a login: for the contract of the launchers and for their figures."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from jobs.launchers.base import LauncherAway
from jobs.launchers.ray import Ray
from tempo_core.settings import Home

HANG_S = 180
_MARK = "TEMPO_RAY_CLUSTER"


@contextmanager
def two(n_cpus: int = 1) -> Iterator[dict[str, str]]:
    """Two nodes of `n_cpus` each; the variables that let a studio use them.

    The nodes inherit this process's environment, as they would on machines of their own. Ray's own ports listen on
    every interface whatever it is told, hence the login.
    """
    # Ray's sockets lie in it: their paths may have 107 bytes.
    folder, port, dashboard = Path(tempfile.mkdtemp(prefix="ray-")), _free_port(), _free_port()
    login = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env = os.environ | login | {_MARK: folder.name, "RAY_USAGE_STATS_ENABLED": "0"}
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={n_cpus}"]
    start += ["--object-store-memory=80000000"]
    head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    seen = {"TEMPO_RAY_ADDRESS": f"http://127.0.0.1:{dashboard}", **login}
    started = []
    try:
        with (folder / "ray.log").open("wb") as log:
            for more in ([*head, f"--temp-dir={folder}"], [f"--address=127.0.0.1:{port}"]):
                started.append(subprocess.Popen([*start, *more], env=env, stdout=log, stderr=log))
                _until_there(seen, n_cpus * len(started), folder / "ray.log")
        yield seen
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
        _end_all(folder.name)
        shutil.rmtree(folder, ignore_errors=True)


def _until_there(seen: dict[str, str], n_cpus: int, log: Path) -> None:
    before = {name: os.environ.get(name) for name in seen}
    os.environ.update(seen)
    try:
        ray, end_s = Ray(Home(log.parent)), time.monotonic() + HANG_S
        while time.monotonic() < end_s:
            with contextlib.suppress(LauncherAway):
                if ray.capacity()["cpu"] == n_cpus:
                    return
            time.sleep(0.2)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    raise RuntimeError(f"Ray did not start in {HANG_S} s: {log.read_text()[-2000:]}")


def _end_all(mark: str) -> None:
    mine = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark and process.pid != os.getpid():
                process.kill()
                mine.append(process)
    psutil.wait_procs(mine, timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
