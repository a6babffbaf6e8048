"""Videos as files from elsewhere name them, found in the library: by their bytes, else by their path below a scanned
folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from db import timelines, videos

_NAMED = 5
"""So many videos are named in a message; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A video of the library with its current timeline."""

    video_id: int
    timeline_id: int


def matched(session: Session, sha256s: dict[str, str | None]) -> tuple[dict[str, Shown], dict[str, str]]:
    """Each named video in the library, and why the others are not there."""
    found: dict[str, Shown] = {}
    left_out: dict[str, str] = {}
    for named, sha256 in sha256s.items():
        match = _shown(session, named, sha256)
        if isinstance(match, Shown):
            found[named] = match
        else:
            left_out[named] = match
    return found, left_out


def _shown(session: Session, named: str, sha256: str | None) -> Shown | str:
    """By the file's bytes where there is a file, else by its path below a scanned folder."""
    if sha256 is not None:
        video_id = videos.by_sha(session, sha256)
        ids = [] if video_id is None else [video_id]
    else:
        ids = videos.by_rel_path(session, Path(named).as_posix())
    if len(ids) > 1:
        return f"{len(ids)} scanned videos have this path; say which with --videos FOLDER"
    if not ids:
        return "it was not scanned" if sha256 else "there is no such file, and no scanned video has this path"
    card = videos.get(session, ids[0])
    timeline = timelines.current(session, ids[0])
    if card.status != "ok":
        return f"the scan could not use it ({card.reason})"
    # A video that is too poor in events for pairs may well be asked about: it only needs something to show.
    if timeline is None or not timeline.timeline:
        return "the scan found no clip in it"
    return Shown(ids[0], timeline.id)


def refusal(left_out: dict[str, str], n_videos: int) -> str:
    """How many of the file's videos cannot be used, the first with their reasons, and the ways out."""
    named = "; ".join(f"{video}: {why}" for video, why in list(left_out.items())[:_NAMED])
    more = f"; and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    return (
        f"{len(left_out)} of {n_videos} videos cannot be used ({named}{more}). Scan their folder first "
        "(python -m jobs scan FOLDER), say where they lie with --videos FOLDER, or leave them out with --skip-missing."
    )
