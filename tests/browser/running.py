"""A server in a process of its own, and what its database holds: the tests' view of the studio."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from db import pairs, reviews
from db.session import Database
from tempo_core.settings import Home

ROOT = Path(__file__).parent.parent.parent
HANG_MS = 60_000
"""Nothing here takes as long; it only keeps a fault from hanging the suite."""


class Studio:
    """One server process on a free port, and what is in its database. `environment` is added to this process's own."""

    def __init__(self, home: Home, environment: Mapping[str, str] | None = None) -> None:
        self.home, self.port, self.environment = home, free_port(), dict(environment or {})
        self.database = Database.open(home.database)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def review_url(self) -> str:
        # Until there is an overview the review page is the first one and lives at the root.
        return f"{self.url}/review" if (ROOT / "pages" / "overview.py").exists() else self.url

    def start(self, *, wait: bool = True) -> None:
        ours = {"TEMPO_HOME": str(self.home.root), "TEMPO_WORKER": "0", "OMP_NUM_THREADS": "1"}
        environment = os.environ | ours | self.environment
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                ROOT / "app.py",
                "--server.headless=true",
                f"--server.port={self.port}",
            ],
            cwd=self.home.root,
            env=environment,
            stdout=(self.home.root / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        if wait:
            wait_for(self.answers, "the server did not answer /health")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def acts(self, after: int = 0) -> list[tuple[str, str, str | None]]:
        """(act, verdict, reason) of every review row as they were written, without the first `after`."""
        with self.database.reading() as session:
            ids = [line.id for line in pairs.page(session, limit=1000)]
            lines = [line for pair_id in ids for line in reviews.history(session, pair_id)]
        return [(line.act, line.verdict, line.reason) for line in sorted(lines, key=lambda line: line.id)][after:]

    def tokens(self) -> list[str]:
        with self.database.reading() as session:
            ids = [line.id for line in pairs.page(session, limit=1000)]
            return [line.token for pair_id in ids for line in reviews.history(session, pair_id)]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.database.close()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            assert self.process is not None and self.process.poll() is None, "the server ended at start"
            return False


def free_port() -> int:
    """A port below those that the system gives to connections: one of them could take it before the server does."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(holds: Callable[[], bool], told: str, hang_s: float = 300) -> None:
    end = time.monotonic() + hang_s
    while not holds():
        assert time.monotonic() < end, told
        time.sleep(0.1)
