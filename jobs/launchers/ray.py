"""A Ray cluster, through the documented HTTP form of its Jobs API.

Not through Ray's Python client: that one waits for ever on a dashboard that accepts and does not answer, and would
tie this program to the cluster's version. The cluster's nodes see the same home and program at the same paths.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobs.blotting import database_password
from jobs.launchers import base
from jobs.launchers.base import LauncherAway, LauncherRefused, Resources, State
from tempo_core.settings import Home

_ADDRESS = "http://127.0.0.1:8265"
_TIMEOUT_S = 10.0
"""The first job of a cluster took 4 s to submit on two busy cores."""
_STOP_S = 10.0
"""Ray asks politely, and uses force after RAY_JOB_STOP_WAIT_TIME_S (3 s) of its own."""
_TOLD = ("TEMPO_", "OMP_NUM_THREADS")
_STATES: dict[str, State] = {"PENDING": "pending", "RUNNING": "running"}


class Ray:
    """Talks to the dashboard at TEMPO_RAY_ADDRESS, by default Ray's own on this machine."""

    name = "ray"
    remote = True

    def __init__(self, home: Home) -> None:
        self.home = home
        self.address = _safe(os.environ.get("TEMPO_RAY_ADDRESS", _ADDRESS))

    def start(self, handle: str, argv: list[str], resources: Resources, env: dict[str, str]) -> None:
        if self.about(handle) is not None:
            return
        log = base.log_of(self.home, handle)
        asked = {
            "submission_id": handle,
            "entrypoint": f"cd {_word(base.ROOT)} && exec {shlex.join(argv)} >> {_word(log)} 2>&1",
            "runtime_env": {"env_vars": _environment(resources) | env},
            "entrypoint_num_cpus": resources.ranks,
        }
        if resources.kind == "gpu" and self.capacity()["gpu"]:
            asked["entrypoint_num_gpus"] = resources.ranks
        self._ask("/api/jobs/", asked)

    def alive(self, handle: str) -> State:
        info = self.about(handle)
        return "gone" if info is None else _STATES.get(info["status"], "gone")

    def stop(self, handle: str, grace_s: float) -> None:
        if self.alive(handle) == "gone":
            return
        self._ask(f"/api/jobs/{handle}/stop", {})
        end_s = time.monotonic() + grace_s + _STOP_S
        # An attempt that waits hears of it once it has room. It is not waited for: its token is void by then.
        while self.alive(handle) == "running" and time.monotonic() < end_s:
            time.sleep(0.2)

    def log(self, handle: str, offset: int) -> tuple[bytes, int]:
        data, end = base.read_from(base.log_of(self.home, handle), offset)
        if end:
            return data, end
        # Nothing of ours ran: Ray itself may say why, such as a runtime that could not be set up.
        info = self.about(handle) or {}
        said = str(info.get("message", "")).encode() if info.get("status") == "FAILED" else b""
        return said[offset:], len(said)

    def capacity(self) -> dict[str, int]:
        said = self._ask("/api/v0/nodes")
        try:
            totals = [node["resources_total"] for node in said["data"]["result"]["result"] if node["state"] == "ALIVE"]
            return {kind.lower(): round(sum(total.get(kind, 0) for total in totals)) for kind in ("CPU", "GPU")}
        except (KeyError, TypeError) as error:
            raise LauncherAway(self._stranger()) from error

    def exit_code(self, handle: str) -> int | None:
        code = (self.about(handle) or {}).get("driver_exit_code")
        return None if code is None else int(code)

    def about(self, handle: str) -> dict[str, Any] | None:
        """What Ray knows of an attempt, its node too; None when it knows nothing."""
        try:
            found: dict[str, Any] = self._ask(f"/api/jobs/{handle}")
        except _NotThere:
            return None
        return found

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self.address + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"} | _login(),
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise self._told(error, path) from error
        except (OSError, ValueError) as error:
            raise LauncherAway(
                f"Ray's dashboard at {self.address} cannot be reached: {error}. Start Ray (`ray start --head`), or set "
                "TEMPO_RAY_ADDRESS to where its dashboard listens."
            ) from error

    def _told(self, error: urllib.error.HTTPError, path: str) -> Exception:
        said = error.read(2_000).decode(errors="replace").strip().splitlines()[:1]
        if error.code == 404:
            return _NotThere(f"{path} is not known there. {self._stranger()}")
        if error.code in (401, 403):
            return LauncherAway(
                f"Ray at {self.address} asks for a login. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's "
                "token (or keep it in ~/.ray/auth_token)."
            )
        if error.code >= 500 and "already exists" not in "".join(said):
            return LauncherAway(f"Ray at {self.address} answers {error.code} to {path}: {''.join(said)}")
        return LauncherRefused(f"Ray at {self.address} refuses {path} ({error.code}): {''.join(said)}")

    def _stranger(self) -> str:
        return f"{self.address} is no dashboard of Ray: set TEMPO_RAY_ADDRESS to where it listens."


class _NotThere(LauncherAway):
    """Asked about a job: Ray knows none of this name. Asked anything else: it is not Ray that answers."""


def _safe(address: str) -> str:
    """The address without its last slash.

    Raises:
        LauncherRefused: No address, or that of another machine without a login. Whoever reaches a dashboard without
            one can run anything in the cluster (CVE-2023-48022).
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LauncherRefused(f"TEMPO_RAY_ADDRESS is {address!r}; it is a dashboard's address, such as {_ADDRESS}.")
    if not (_loopback(parts.hostname) or _login() or os.environ.get("TEMPO_INSECURE") == "1"):
        raise LauncherRefused(
            f"Ray's dashboard at {address} has no login: whoever reaches it runs what they like in the cluster. Start "
            "Ray with RAY_AUTH_MODE=token and set the same here, or let the dashboard listen on 127.0.0.1 and reach it "
            "through ssh -L. TEMPO_INSECURE=1 takes it as it is."
        )
    return address.rstrip("/")


def _word(path: Path) -> str:
    return shlex.quote(str(path))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _login() -> dict[str, str]:
    """The header that Ray's token login wants; its token lies where Ray's own commands look for it."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return {}
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    token = os.environ.get("RAY_AUTH_TOKEN") or (path.read_text().strip() if path.exists() else "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _environment(resources: Resources) -> dict[str, str]:
    """What the studio was told by its environment. Ray shows it on its dashboard, so no secret goes this way:
    a key such as TEMPO_SERVER_KEY must be known where the nodes are started.

    Raises:
        LauncherRefused: The address of the database holds a password.
    """
    told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD) and "KEY" not in name}
    if database_password():
        raise LauncherRefused(
            "TEMPO_DATABASE_URL holds a password, and Ray's dashboard shows the environment of its jobs. Keep the "
            "password in ~/.pgpass on every node and leave it out of the address."
        )
    return told | ({"CUDA_VISIBLE_DEVICES": ""} if resources.kind == "cpu" else {})
