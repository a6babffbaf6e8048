"""Which file stands behind a signed number, and what it is. A path never comes from the browser.

The content type is ours: named by the file's first bytes, never by its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from db import artifacts, timelines, videos
from tempo_core import render
from tempo_core.errors import MediaError, Unknown
from tempo_core.measures import load_measures, measures_path, temporary_name
from ui import state

TO_TAKE_AWAY = ("export", "clip")
"""Kinds of artifacts that may be downloaded; a checkpoint or a log may not."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be sent. `download_as` makes the browser save it under that name."""

    path: Path
    media_type: str
    download_as: str | None = None


def clip(video_id: int) -> Found | None:
    """The video: its proxy if there is one, else the source, if it is a container that browsers know."""
    with state.database().reading() as session:
        try:
            card = videos.get(session, video_id)
            path = videos.path_of(session, video_id)
        except Unknown:
            return None
    proxy = state.home().proxy(card.sha256 or "")
    chosen = proxy if proxy.is_file() else path
    media_type = _container(chosen)
    return None if media_type is None else Found(chosen, media_type)


def sprite(timeline_id: int) -> Found | None:
    """One thumbnail per clip in one row, drawn from the stored scan once and kept."""
    with state.database().reading() as session:
        try:
            stored = timelines.get(session, timeline_id)
            card = videos.get(session, stored.video_id)
        except Unknown:
            return None
    path = state.home().cache / "sprites" / f"{stored.sha256}.jpg"
    if not path.is_file():
        try:
            measures = load_measures(measures_path(state.home().cache, card.sha256 or ""))
        except MediaError:
            return None
        _write(path, render.sprite(measures, stored.timeline))
    return Found(path, "image/jpeg")


def export(artifact_id: int) -> Found | None:
    """A file that was made to be taken away: an exported data set or a rendered clip, below the home folder."""
    with state.database().reading() as session:
        try:
            made = artifacts.get(session, artifact_id)
        except Unknown:
            return None
    root = state.home().root
    path = (root / made.rel_path).resolve()
    if made.kind not in TO_TAKE_AWAY or not path.is_relative_to(root) or not path.is_file():
        return None
    return Found(path, "application/octet-stream", download_as=path.name)


def _container(path: Path) -> str | None:
    """mp4/mov and webm by their first bytes; what a browser cannot play is not sent as a video."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return "video/webm" if head[:4] == b"\x1aE\xdf\xa3" else None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: two browsers may ask at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = temporary_name(path, id(content))
    unfinished.write_bytes(content)
    unfinished.replace(path)
