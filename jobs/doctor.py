"""What this machine offers and what is missing: `python -m jobs doctor`. Exit code 1 when something is refused.

A warning names something that works less well or not at all without it; only what keeps the studio from starting is
refused.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import av
from sqlalchemy.exc import DatabaseError

from db import dialect, migrate
from db.session import Database
from jobs import launch
from tempo_core.errors import TempoError
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.video_llms import checkpoints

Status = Literal["ok", "warn", "refuse"]

_PACKAGES = ("streamlit", "sqlalchemy", "torch", "transformers", "trl", "peft", "av", "scenedetect-headless", "moviepy")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TIGHT_BYTES, _TOO_FEW_BYTES = 5e9, 5e8
_TORCH = """
import json, torch
n = torch.cuda.device_count()
print(json.dumps([torch.cuda.get_device_name(i) for i in range(n)] or ["CPU, %d threads" % torch.get_num_threads()]))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor."""

    what: str
    status: Status
    text: str


def check(_: Namespace) -> int:
    """Print every finding; the exit code."""
    found = examine(Home.from_environment())
    for finding in found:
        print(f"{finding.status:7} {finding.what:12} {finding.text}")
    return 1 if any(finding.status == "refuse" for finding in found) else 0


def examine(home: Home) -> list[Finding]:
    """Every check, in the order in which a start would meet them. Nothing is made or changed."""
    checks: list[Callable[[Home], Finding]] = [
        _python, _packages, _sqlite, _disk, database, _codecs, _embedded, _torch, _chromium, _worker,
    ]  # fmt: skip
    return [one(home) for one in checks]


def _python(_: Home) -> Finding:
    ok = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    return Finding("Python", "ok" if ok else "refuse", text if ok else f"{text}; 3.11 or newer is needed")


def _packages(_: Home) -> Finding:
    have, lacking = [], []
    for name in _PACKAGES:
        try:
            have.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        return Finding("packages", "warn", f"{', '.join(lacking)} not installed; run `make run` or `make test`")
    return Finding("packages", "ok", ", ".join(have))


def _sqlite(_: Home) -> Finding:
    verdict = dialect.sqlite_verdict()
    return Finding("SQLite", verdict.status, verdict.text)


def _disk(home: Home) -> Finding:
    there = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    status: Status = "refuse" if free < _TOO_FEW_BYTES else "warn" if free < _TIGHT_BYTES else "ok"
    return Finding("disk", status, f"{free / 1e9:.1f} GB free at {home.root}")


def database(home: Home) -> Finding:
    if not home.database.exists():
        return Finding("database", "ok", f"none yet at {home.database}; it is made at the first start")
    try:
        dialect.refuse_unsafe(home.root)
        with closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as connection:
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            damage = connection.execute("PRAGMA quick_check").fetchone()[0]
    except (TempoError, sqlite3.Error) as error:
        return Finding("database", "refuse", f"{home.database}: {error}")
    if damage != "ok":
        return Finding("database", "refuse", f"{home.database} is damaged ({damage}); restore one of {home.backups}")
    behind = "" if revision == migrate.HEAD else f"; the next start brings it to {migrate.HEAD}, with a backup"
    return Finding("database", "ok", f"revision {revision} at {home.database}{behind}")


def _codecs(_: Home) -> Finding:
    libraries = ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items())
    lacking = [name for name in ("h264", "hevc", "vp9", "av1") if name not in av.codecs_available]
    if "libx264" not in av.codecs_available:
        lacking.append("libx264 (no clip can be exported)")
    if lacking:
        return Finding("video", "warn", f"PyAV {av.__version__} cannot read or write {', '.join(lacking)}")
    return Finding("video", "ok", f"PyAV {av.__version__}: {libraries}")


def _embedded(_: Home) -> Finding:
    try:
        return Finding("demo model", "ok", f"{checkpoints.verify_manifest(EMBEDDED_MODEL)[:12]} as its manifest says")
    except (TempoError, OSError) as error:
        return Finding("demo model", "refuse", str(error))


def _torch(_: Home) -> Finding:
    """In a process of its own: the import takes seconds and half a gigabyte."""
    done = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return Finding("torch", "refuse", f"cannot be imported: {last[0]}")
    return Finding("torch", "ok", ", ".join(json.loads(done.stdout)))


def _chromium(_: Home) -> Finding:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        return Finding("Chromium", "warn", "not found; only the browser tests need it")
    return Finding("Chromium", "ok", found)


def _worker(home: Home) -> Finding:
    if not home.database.exists():
        return Finding("worker", "ok", "none yet; the first job starts one")
    try:
        alive = launch.worker_alive(Database.open(home.database))
    except (TempoError, DatabaseError) as error:
        return Finding("worker", "warn", f"cannot be asked for: {error.args[0]}")
    return Finding("worker", "ok", "leads" if alive else "none now; the next job starts one")
