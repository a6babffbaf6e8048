"""A folder under one manifest: whole and unchanged, or refused. For bundles of runs and what comes back of them.

The one thing to know: the hashes tell damage and mix-ups. Who changes a file and its manifest both is not found out by
them; what a result claims is therefore checked against the run itself as well.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from tempo_core.errors import BundleRefused
from tempo_core.exchange.base import MANIFEST, write_file
from tempo_core.types import JsonDict

VERSION = 1


def seal(folder: Path, form: str, about: JsonDict) -> str:
    """List every file of the folder with its sha256, last of all; the sha256 of the list."""
    content = {"format": form, "format_version": VERSION, "about": about, "files": _files(folder)}
    text = json.dumps(content, ensure_ascii=False, indent=1).encode()
    write_file(folder / MANIFEST, text)
    return hashlib.sha256(text).hexdigest()


def about(folder: Path, form: str) -> JsonDict:
    """What the folder says of itself, unchecked.

    Raises:
        BundleRefused: There is no list, or it is of another format.
    """
    said: JsonDict = _manifest(folder, form)["about"]
    return said


def check(folder: Path, form: str) -> JsonDict:
    """What the folder is, after each listed file was found unchanged. Files that are not listed are nobody's business.

    Raises:
        BundleRefused: A file is missing, was changed, or lies elsewhere.
    """
    manifest = _manifest(folder, form)
    for name, sha256 in manifest["files"].items():
        path = _inside(folder, name)
        if not path.is_file():
            raise BundleRefused(f"{folder} lacks {name}. Copy the whole folder again.")
        if _sha256(path) != sha256:
            raise BundleRefused(f"{name} in {folder} is not what was written there. Copy the whole folder again.")
    said: JsonDict = manifest["about"]
    return said


def _manifest(folder: Path, form: str) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleRefused(f"{folder} has no {MANIFEST}: it is no {form}, or it was not finished.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found, version, known = content["format"], content["format_version"], isinstance(content["about"], dict)
        files = content["files"]
        known = known and isinstance(files, dict) and all(isinstance(sha256, str) for sha256 in files.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        found, version, known = "unknown", 0, False
    if not known or found != form:
        raise BundleRefused(f"{path} describes no {form}. Name the folder that TEMPO Studio wrote.")
    if version != VERSION:
        raise BundleRefused(f"{folder} has format version {version}, this code reads {VERSION}. Use the same commit.")
    return dict(content)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    path = folder.joinpath(*parts)
    if not parts or name.startswith("/") or ".." in parts or not path.resolve().is_relative_to(folder.resolve()):
        raise BundleRefused(f"The list of {folder} names {name}, which lies outside it. It was not written by us.")
    return path


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
