"""How much room the disks have, and how little of it is too little to begin something."""

from __future__ import annotations

import shutil
from pathlib import Path

from tempo_core.errors import NoSpace

TIGHT_BYTES = 5_000_000_000
"""Our choice: with less free, a checkpoint or a proxy may no longer fit."""
FLOOR_BYTES = 200_000_000
"""Our choice: with less free, no job starts; the database and its log need the rest."""


def free_bytes(place: Path) -> int:
    """Of the disk that holds `place`, or would hold it."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(there).free


def require(place: Path) -> None:
    """Raise `NoSpace` where a job should not even begin."""
    free = free_bytes(place)
    if free < FLOOR_BYTES:
        raise NoSpace(
            f"{free / 1e6:.0f} MB are free on the disk of {place}; a job starts with at least "
            f"{FLOOR_BYTES / 1e6:.0f} MB. Free some space, then try again; nothing was begun."
        )
