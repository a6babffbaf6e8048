"""Folders that are either complete and unchanged, or not there: checkpoints and the links of an adapter chain.

The one thing to know: `manifest.json` is written last and names size and sha256 of every file, and only then does the
folder get its name. Nothing in it is loaded before the manifest was checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tempo_core.errors import NoSpace, disk_is_full

MANIFEST = "manifest.json"
UNFINISHED = ".tmp-"
"""What the names of folders begin with that nobody finished."""

NOTHING_BYTES = 1_000_000
"""Our choice: a disk with less free than this is full, if a library that wrote to it failed and says no reason."""


def write(folder: Path, fill: Callable[[Path], None], about: Mapping[str, Any], *, n_bytes: int = 0) -> str:
    """Make a sealed folder and return the sha256 of its manifest.

    Args:
        fill: Writes the files into the (temporary) folder that it is given.
        about: What the folder is, kept in the manifest.
        n_bytes: About how much will be written; without room for it nothing is begun.

    Raises:
        NoSpace: The disk is full, or would be.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < n_bytes:
        raise NoSpace(f"{folder.parent} has {free:,} bytes free and {n_bytes:,} are needed. Make room, then resume.")
    temporary = folder.parent / f"{UNFINISHED}{folder.name}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        fill(temporary)
        text = json.dumps({"about": dict(about), "files": _listing(temporary)}, indent=1, sort_keys=True)
        for file in _files(temporary):
            _sync(file)
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        _sync(temporary / MANIFEST)
        _sync(temporary)
        os.replace(temporary, folder)
    except Exception as error:
        full = _is_full(error, folder.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        if full:
            raise NoSpace(f"The disk of {folder.parent} is full. Make room, then resume.") from error
        raise
    _sync(folder.parent)
    return hashlib.sha256(text.encode()).hexdigest()


def read(folder: Path) -> tuple[dict[str, Any], str] | None:
    """What the folder is and the sha256 of its manifest; None if it is unfinished, was changed, or is none of ours."""
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = json.loads(text)
        if manifest["files"] != _listing(folder):
            return None
        about: dict[str, Any] = manifest["about"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return about, hashlib.sha256(text).hexdigest()


def sweep(parent: Path) -> None:
    """Remove what a killed process left unfinished."""
    for folder in parent.glob(f"{UNFINISHED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _is_full(error: Exception, folder: Path) -> bool:
    # Torch's own error names no reason at all.
    return disk_is_full(error) or (isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < NOTHING_BYTES)


def _listing(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        file.relative_to(folder).as_posix(): {"sha256": _sha256(file), "bytes": file.stat().st_size}
        for file in _files(folder)
    }


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MANIFEST)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """A rename can reach the disk before the bytes do; after a power cut the name would stand for an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
