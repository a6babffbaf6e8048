"""A Postgres server from the system's package, for tests and measurements: in a folder of its own, on a socket only."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

USER = "tempo"
START_S = 60


class NoServer(Exception):
    """No Postgres server is installed here, or it does not start; the message says why."""


def programs() -> Path:
    """The folder of the newest server's programs."""
    found = [Path(path).resolve().parent for path in filter(None, [shutil.which("initdb")])]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number, reverse=True)
    for folder in found:
        if (folder / "postgres").exists():
            return folder
    raise NoServer("No Postgres server is installed (Debian: apt install postgresql).")


def _number(folder: Path) -> int:
    digits = re.sub(r"\D", "", folder.parent.name)
    return int(digits) if digits else 0


@dataclass
class Server:
    """One running server. Its databases are copies of each other, so that a filled one costs milliseconds."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> Server:
        """Raise `NoServer` where there is none. A commit waits for the disk, as for real data."""
        bin_, folder = programs(), Path(tempfile.mkdtemp(prefix="tempo-postgres-"))
        account = _account(folder)
        try:
            _make(bin_, folder, account)
        except (subprocess.CalledProcessError, OSError) as error:
            shutil.rmtree(folder)
            raise NoServer(f"Postgres could not be set up: {getattr(error, 'stderr', error)}") from None
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    bin_ / "postgres",
                    "-D",
                    folder / "data",
                    "-k",
                    folder,
                    "-c",
                    "listen_addresses=",
                ],
                stdout=log,
                stderr=log,
                **account,
            )
        server = cls(folder, process)
        server._wait()
        return server

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def create(self, name: str, template: str = "template0") -> str:
        """A new database, as a copy of one that nobody has open; its URL."""
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def stop(self) -> None:
        # At once: what it would still write is about to be removed.
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        shutil.rmtree(self.folder)

    def run(self, statements: str, name: str = "postgres") -> list[Any]:
        """Statements in a database, as its owner; the rows of the last one."""
        with psycopg.connect(self._address(name), autocommit=True) as connection:
            done = connection.execute(statements)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []

    def _address(self, name: str = "postgres") -> str:
        return f"host={self.folder} user={USER} dbname='{name}'"

    def _wait(self) -> None:
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s and self.process.poll() is None:
            try:
                psycopg.connect(self._address()).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        told = (self.folder / "log").read_text(errors="replace")[-500:]
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)
        raise NoServer(f"Postgres did not start: {told}")


def _account(folder: Path) -> dict[str, str | int]:
    """Postgres refuses to run as root: whom to run it as, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    owner = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return {"user": owner.pw_uid, "group": owner.pw_gid}


def _make(bin_: Path, folder: Path, account: dict[str, str | int]) -> None:
    subprocess.run(
        [bin_ / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
        check=True,
        capture_output=True,
        cwd=folder,
        **account,
    )  # type: ignore[call-overload]
