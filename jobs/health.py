"""Everything that the health page and `doctor` both say, from one list. No torch: versions are read from metadata."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import tempfile
from functools import cache
from pathlib import Path

from db import health, jobs
from db.health import Finding, Level
from db.session import Database
from jobs import launch, processes, space
from tempo_core.settings import Home

FAULTY_BEFORE = {
    "torch": ("2.10", "loading a checkpoint can run code"),
    "transformers": ("5.3", "a config.json can switch on remote code"),
}
"""Versions with known faults: below these a foreign model folder is not safe (docs/threats.md, T5)."""
NEEDED = {"streamlit": "1.67", "starlette": "0", "torch": "2.10", "transformers": "5.17", "trl": "1.16",
          "peft": "0.19", "sqlalchemy": "2.1", "av": "14", "moviepy": "2.2"}  # fmt: skip
"""As in requirements.txt: what the studio was tried with. Starlette comes with Streamlit."""


def findings(home: Home, database: Database | None) -> list[Finding]:
    """Every finding, the machine first, then the data, then the work. Nothing is made or changed.

    `database` is None where there is none yet.
    """
    found = [python(), packages(), disk(home), temp()]
    if home.database_url is None:
        found += [health.sqlite(), health.file_system(home.root)]
        found += [health.storage(home.database), health.backups(home.backups)]
    else:
        found.append(Finding("backup", "ok", "The database is a Postgres server.", "Back it up with pg_dump -Fc."))
    if database is None:
        return found
    leads = launch.worker_alive(database)
    with database.reading() as session:
        found += [] if database.is_sqlite else [health.server(session)]
        found += [*health.checked(session), health.folders(session), health.clock(session)]
        found += [worker(jobs.leader(session) if leads else None), health.queue(session, leads)]
        found += health.stalled(session)
    return found


def python() -> Finding:
    """Which one runs; with an older one than is needed the studio does not start at all."""
    fact = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores."
    return Finding("Python", "ok", fact)


def packages() -> Finding:
    """Versions, against those with known faults and those that are needed."""
    have = {name: _version(name) for name in NEEDED}
    faulty = [
        f"{name} {have[name]}: {why} before {floor}"
        for name, (floor, why) in FAULTY_BEFORE.items()
        if have[name] and _older(have[name] or "", floor)
    ]
    old = [f"{name} {version}" for name, version in have.items() if version and _older(version, NEEDED[name])]
    lacking = [name for name, version in have.items() if version is None]
    fact = ", ".join(f"{name} {version}" for name, version in have.items() if version) + "."
    install = "pip install -r requirements.txt brings what is needed."
    if faulty:
        return Finding("packages", "red", f"{'; '.join(faulty)}.", install)
    if old or lacking:
        said = ([f"older than needed: {', '.join(old)}"] if old else []) + (
            [f"not installed: {', '.join(lacking)}"] if lacking else []
        )
        return Finding("packages", "amber", f"{'; '.join(said).capitalize()}.", install)
    return Finding("packages", "ok", fact)


@cache
def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _older(version: str, floor: str) -> bool:
    return _numbers(version) < _numbers(floor)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def disk(home: Home) -> Finding:
    """Room where the studio keeps its files."""
    free = space.free_bytes(home.root)
    level: Level = "red" if free < space.FLOOR_BYTES else "amber" if free < space.TIGHT_BYTES else "ok"
    fact = f"{free / 1e9:.1f} GB are free where the studio keeps its files."
    if level == "ok":
        return Finding("disk", level, fact)
    start = f" No job starts below {space.FLOOR_BYTES / 1e6:.0f} MB." if level == "red" else ""
    way_out = "Delete old exports and runs, or move the studio (TEMPO_HOME) to a bigger disk."
    return Finding("disk", level, fact + start, way_out)


def temp() -> Finding:
    """Room for temporary files: models that are exported, videos that are composed."""
    folder = Path(tempfile.gettempdir())
    free = space.free_bytes(folder)
    fact = f"{free / 1e9:.1f} GB are free for temporary files."
    if free >= space.FLOOR_BYTES:
        return Finding("temporary files", "ok", fact)
    return Finding("temporary files", "amber", fact, f"Empty {folder}, or set TMPDIR to a folder with room.")


def worker(leader: jobs.Worker | None) -> Finding:
    """Who looks after the queue."""
    if leader is None:
        return Finding("worker", "ok", "None now; the next job starts one.")
    fact = f"Process {leader.process.pid} on {leader.process.host} leads"
    if leader.process.boot_id != jobs.boot_id():
        return Finding("worker", "ok", f"{fact}.")
    age_ms = processes.age_s(leader.process.pid) * 1000
    return Finding("worker", "ok", f"{fact}; it was started {health.age(age_ms)} ago.")
