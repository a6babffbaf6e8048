"""What this machine offers and what is missing: `python -m jobs doctor`. Exit code 1 when something is red.

The findings of the health page, and after them what takes seconds or what only a person at the machine can mend.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing

import av

from db import dialect, migrate
from db.health import Finding
from db.session import Database
from jobs import health, launchers
from jobs.launchers.base import LauncherAway
from tempo_core.errors import DatabaseBusy, TempoError
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.video_llms import checkpoints

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TORCH = """
import json, torch
n = torch.cuda.device_count()
print(json.dumps([torch.cuda.get_device_name(i) for i in range(n)] or ["CPU, %d threads" % torch.get_num_threads()]))
"""


def check(_: Namespace) -> int:
    """Print every finding; the exit code."""
    found = examine(Home.from_environment())
    for finding in found:
        print(told(finding))
    return 1 if any(finding.level == "red" for finding in found) else 0


def told(finding: Finding) -> str:
    """A finding as a line of the terminal, its way out below it."""
    line = f"{finding.level:6} {finding.what:18} {finding.fact}"
    return f"{line}\n{'':26}{finding.way_out}" if finding.way_out else line


def examine(home: Home) -> list[Finding]:
    """Every check. Nothing is made or changed."""
    file = database(home)
    # A database that is damaged or of another version cannot be asked for the queue.
    there = home.database_url is not None or home.database.exists()
    current = file.level == "ok" and not file.way_out and there
    opened = Database.of(home) if current else None
    try:
        found = [file, *health.findings(home, opened)]
    finally:
        if opened is not None:
            opened.close()
    checks: list[Callable[[], Finding]] = [_codecs, _embedded, _torch, _chromium]
    return [*found, *(one() for one in checks), _launcher(home)]


def database(home: Home) -> Finding:
    """Whether the file can be read, is whole, and of which revision it is."""
    if home.database_url is not None:
        return _server(home)
    if not home.database.exists():
        return Finding("database", "ok", f"No database yet at {home.database}; it is made at the first start.")
    try:
        dialect.refuse_unsafe(home.root)
        revision = migrate.revision_of(home.database)
        with closing(sqlite3.connect(f"{home.database.as_uri()}?mode=ro", uri=True)) as connection:
            damage = connection.execute("PRAGMA quick_check").fetchone()[0]
    except DatabaseBusy:
        return Finding("database", "amber", f"{home.database} is locked by another program.", "Try again.")
    except TempoError as error:
        return _refused(error)
    except sqlite3.Error as error:
        if "locked" in str(error):
            return Finding("database", "amber", f"{home.database} is locked by another program.", "Try again.")
        return Finding("database", "red", f"{home.database}: {error}", _RESTORE)
    if damage != "ok":
        return Finding("database", "red", f"{home.database} is damaged ({damage}).", _RESTORE)
    behind = "" if revision == migrate.HEAD else f"The next start brings it to {migrate.HEAD}, with a backup."
    return Finding("database", "ok", f"{revision}, at {home.database}.", behind)


def _server(home: Home) -> Finding:
    try:
        revision, name = migrate.look(home)
    except DatabaseBusy as error:
        return Finding("database", "red", str(error), "Start the server, or correct TEMPO_DATABASE_URL.")
    except TempoError as error:
        return _refused(error)
    if revision is None:
        return Finding("database", "ok", f"No tables yet at {name}.", "They are made at the first start.")
    behind = "" if revision == migrate.HEAD else f"The next start brings it to {migrate.HEAD}."
    return Finding("database", "ok", f"{revision}, at {name}.", behind)


def _refused(error: TempoError) -> Finding:
    """Its first sentence is the fact, the rest the way out."""
    fact, _, way_out = str(error).partition(". ")
    return Finding("database", "red", f"{fact.rstrip('.')}.", way_out)


_RESTORE = "Restore a backup: python -m jobs restore lists them."


def _codecs() -> Finding:
    libraries = ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items())
    lacking = [name for name in ("h264", "hevc", "vp9", "av1") if name not in av.codecs_available]
    if "libx264" not in av.codecs_available:
        lacking.append("libx264 (no clip can be exported)")
    if lacking:
        return Finding("video", "amber", f"PyAV {av.__version__} cannot read or write {', '.join(lacking)}")
    return Finding("video", "ok", f"PyAV {av.__version__}: {libraries}")


def _embedded() -> Finding:
    try:
        return Finding("demo model", "ok", f"{checkpoints.verify_manifest(EMBEDDED_MODEL)[:12]} as its manifest says")
    except (TempoError, OSError) as error:
        return Finding("demo model", "red", str(error))


def _torch() -> Finding:
    """In a process of its own: the import takes seconds and half a gigabyte."""
    done = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return Finding("torch", "red", f"cannot be imported: {last[0]}")
    return Finding("torch", "ok", ", ".join(json.loads(done.stdout)))


def _chromium() -> Finding:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        return Finding("Chromium", "amber", "not found; only the browser tests need it")
    return Finding("Chromium", "ok", found)


def _launcher(home: Home) -> Finding:
    """Where jobs run, and whether one could start now. Asked here only: a page would wait for a cluster's answer."""
    try:
        name = launchers.chosen()
        has = launchers.named(name, home).capacity()
    except TempoError as error:
        # A cluster that is away is waited for; settings that are refused keep the worker from starting.
        return Finding("launcher", "amber" if isinstance(error, LauncherAway) else "red", str(error))
    return Finding("launcher", "ok", f"{name}: {has['cpu']} CPUs, {has['gpu']} GPUs.")
