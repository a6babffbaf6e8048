"""A folder that a person named: is it one, may we read it, and which videos are in it? The same for page and command.

Each refusal says what to do. Whether a file is a video is decided by its content, when it is scanned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tempo_core.errors import TempoError

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "mp4", "m4v", "mov", "mj2", "mkv", "webm", "avi", "3gp", "3g2", "mpg", "mpeg", "ts", "m2ts", "mts", "ogv",
        "wmv", "flv", "gif",
    )
)  # fmt: skip
"""What a folder is searched for."""
MOST_VIDEOS = 100_000
"""In one folder; each costs a row, a measurement file and a second of work or more."""
MOST_FILES = 200_000
"""Looked at before the first video must have been found: a whole disk is rarely what was meant."""


class NoVideos(TempoError):
    """A folder in which there is nothing to scan, or too much."""


def folder(named: str) -> Path:
    """The folder, with every link of its path resolved.

    Raises:
        NoVideos: It does not exist, is no folder, or may not be read.
    """
    path = Path(named.strip()).expanduser()
    if not named.strip():
        raise NoVideos("No folder was named. Type the path of one with videos, such as /data/videos.")
    try:
        if not path.exists():
            raise NoVideos(f"{path} does not exist on this machine. {_nearest(path)}Name a folder that holds videos.")
        if not path.is_dir():
            raise NoVideos(f"{path} is a file, no folder. Name the folder that holds it: {path.parent}")
    except PermissionError:
        raise _unreadable(path) from None
    except OSError as error:
        raise NoVideos(f"{path} cannot be looked at ({error.strerror}). Name a folder that holds videos.") from None
    if not os.access(path, os.R_OK | os.X_OK):
        raise _unreadable(path)
    return path.resolve()


def found(root: Path) -> list[Path]:
    """Every candidate below the folder, in the order of names.

    Raises:
        NoVideos: There is none, or there are too many.
    """
    paths = sorted(_candidates(root))
    if not paths:
        raise NoVideos(
            f"{root} holds no video. Files ending in {', '.join(sorted(SUFFIXES))} are looked for, in subfolders too."
        )
    if len(paths) > MOST_VIDEOS:
        raise NoVideos(
            f"{root} holds {len(paths):,} videos, at most {MOST_VIDEOS:,} are taken. Scan its subfolders one by one."
        )
    return paths


def worth_scanning(named: str) -> Path:
    """`folder`, and there is at least one candidate in it; a page may ask this before it queues the scan."""
    root, looked = folder(named), 0
    for here, _, names in os.walk(root):
        if any(_is_candidate(Path(here, name)) for name in names):
            return root
        looked += len(names)
        if looked > MOST_FILES:
            raise NoVideos(f"No video is among the first {looked:,} files below {root}. Name a folder nearer to them.")
    found(root)
    return root


def _candidates(root: Path) -> Iterator[Path]:
    for here, _, names in os.walk(root):
        yield from (path for name in names if _is_candidate(path := Path(here, name)))


def _is_candidate(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _nearest(path: Path) -> str:
    """How much of a mistyped path exists."""
    there = next((parent for parent in path.absolute().parents if parent.is_dir()), None)
    return "" if there is None or there == there.parent else f"The part {there} does. "


def _unreadable(path: Path) -> NoVideos:
    return NoVideos(
        f"{path} may not be read by the user who runs the studio. Change its permissions (chmod -R o+rX), or name "
        "another folder."
    )
