"""What every export format shares: its input, what is left out and why, and a folder that appears whole or not at all.

Text of models and people is data: it goes into JSON strings and typed columns and is never interpreted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError

from tempo_core.errors import FolderTaken, NoSpace, disk_is_full
from tempo_core.types import FilterVerdict, JsonDict

MANIFEST = "manifest.json"
SPLITS = ("train", "held_out")

NO_UNICODE = "a text is no valid Unicode"

MEDIA_TAG = re.compile(r"<\s*/?\s*(?:video|image|audio|mask)\s*>", re.IGNORECASE)
"""Trainers count these in answers too, and then drop the row or attach the wrong video."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a pair comes from. `reviewer` is an id, never a name; `seed` is the plan's."""

    model: str = ""
    model_sha256: str = ""
    input: str = ""
    timeline_sha256: str = ""
    n_clips: int | None = None
    seed: int | None = None
    law: str | None = None
    attempt: int = 0
    aliases: tuple[int, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    filters: tuple[FilterVerdict, ...] = ()
    review: str = "accepted"
    reviewer: str = ""
    edited: bool = False
    bulk: bool = False


@dataclass(frozen=True, slots=True)
class ExportPair:
    """One pair of a frozen version, with the texts that were accepted."""

    uid: str
    video: Path
    video_sha256: str
    prompt: str
    chosen: str
    rejected: str
    kind: str
    magnitude: int | None
    difficulty: float | None
    level: int | None
    order: tuple[int, ...] | None
    """The plan's order; None for imported pairs."""
    split: str
    provenance: Provenance = Provenance()
    fault: str = ""
    """Why it cannot be exported, found where its files lie: the video is gone or is not the one that was scanned."""
    clips: tuple[Path, Path] | None = None
    """The clean and the perturbed order as rendered files, for formats that need them."""


@dataclass(frozen=True, slots=True)
class ForeignPair:
    """A pair as a file tells it. `video` is a name that only leads to bytes; `extra` is kept and never used."""

    video: str
    prompt: str
    chosen: str
    rejected: str
    extra: Mapping[str, Any] = field(default_factory=dict)


class Unreadable(ValueError):
    """Why one record holds no pair; it is skipped by name and the file is read on."""


@dataclass(frozen=True, slots=True)
class Version:
    """The frozen version that is exported, and what its publisher says about it."""

    name: str
    number: int
    content_sha256: str
    licence: str = "other"
    language: str = "en"
    videos_from: str = ""
    """Where the videos come from and under which licence, in the publisher's words."""
    stated: tuple[str, ...] = ()
    """What samples showed of pairs that were accepted unread, a sentence each."""
    funnel: Mapping[str, int] = field(default_factory=dict)
    """What became of all pairs that were made, by words: "made", "refused by length_ratio", "rejected by a person"."""
    agreement: str = ""
    """How far reviewers agree, a sentence; empty where nobody judged what another one did."""


@dataclass(frozen=True, slots=True)
class Skipped:
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `n_pairs + len(skipped)` is the number of pairs in the version."""

    folder: Path
    n_pairs: int
    skipped: tuple[Skipped, ...]
    files: Mapping[str, str]
    """sha256 of each file by its name."""


def usable(
    pairs: Iterable[ExportPair], video_root: Path | None, *, tags_count: bool
) -> tuple[list[ExportPair], tuple[Skipped, ...]]:
    """The pairs a trainer will keep, with video paths relative to `video_root`, and the others with the reason.

    Args:
        video_root: None: the deepest folder that holds all the videos.
        tags_count: Whether the format counts media tags inside texts.
    """
    pairs = list(pairs)
    root = video_root or _common_folder([pair.video for pair in pairs])
    kept, skipped = [], []
    for pair in pairs:
        place = _below(pair.video, root)
        outside = "the video lies outside the video folder" if place is None else None
        reason = pair.fault or _fault(pair, tags_count) or outside
        if reason is not None or place is None:
            skipped.append(Skipped(pair.uid, reason or ""))
        else:
            kept.append(replace(pair, video=Path(place)))
    return kept, tuple(skipped)


@contextmanager
def bundle(folder: Path, *, replace_export: bool = True, n_bytes: int = 0) -> Iterator[Path]:
    """A working folder that takes its name only when everything in it is written.

    Args:
        replace_export: Whether an export that lies there already may be replaced.
        n_bytes: About how much will be written; without room for it nothing is begun.

    Raises:
        FolderTaken: The folder holds something that is no export, or cannot be written to.
        NoSpace: The disk is full, or would be; what was begun is removed.
    """
    _check_free(folder, replace_export)
    _check_room(folder, n_bytes)
    partial, old = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "old"))
    with full_disk_is_told(folder):
        shutil.rmtree(partial, ignore_errors=True)
        _put_back(old, folder)
        try:
            partial.mkdir(parents=True)
            yield partial
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            _put_back(old, folder)
            shutil.rmtree(partial, ignore_errors=True)


def _put_back(old: Path, folder: Path) -> None:
    """An export that stopped between the two renames left the one before under its second name."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Write through to the disk: a renamed folder must not hold empty files after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_is_told(path.parent), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_manifest(
    folder: Path, form: str, version: Version, pairs: Sequence[ExportPair], skipped: Sequence[Skipped]
) -> dict[str, str]:
    """List what the bundle holds, last of all. Returns the sha256 of each file."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    content = {
        "format": form,
        "format_version": 1,
        "version": asdict(version),
        "n_pairs": len(pairs),
        "by_split": {split: sum(pair.split == split for pair in pairs) for split in SPLITS},
        "skipped": [asdict(one) for one in skipped],
        "files": files,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    write_file(folder / MANIFEST, text.encode())
    return {**files, MANIFEST: hashlib.sha256(text.encode()).hexdigest()}


def sync_all(folder: Path) -> None:
    """Write every file through to the disk that somebody else wrote into the folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def json_line(content: JsonDict) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _fault(pair: ExportPair, tags_count: bool) -> str | None:
    texts = (pair.prompt, pair.chosen, pair.rejected)
    if pair.split not in SPLITS:
        return f"split {pair.split!r} is neither train nor held_out"
    return text_fault(*texts, tags_count=tags_count) or (None if _is_unicode(str(pair.video)) else NO_UNICODE)


def text_fault(prompt: str, chosen: str, rejected: str, *, tags_count: bool = True) -> str | None:
    """What makes the texts of a pair useless to a trainer, on the way out and on the way in."""
    texts = (prompt, chosen, rejected)
    if not all(text.strip() for text in texts):
        return "a text is empty"
    if chosen.strip() == rejected.strip():
        return "chosen and rejected are the same"
    if tags_count and any(MEDIA_TAG.search(text) for text in texts):
        return "media tag in a text"
    return None if _is_unicode("".join(texts)) else NO_UNICODE


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _common_folder(videos: Sequence[Path]) -> Path | None:
    folders = {str(video.parent) for video in videos if video.is_absolute()}
    return Path(os.path.commonpath(folders)) if folders else None


def _below(video: Path, root: Path | None) -> str | None:
    """POSIX path below the root; what is relative already must only not climb out."""
    if video.is_absolute():
        if root is None or not video.is_relative_to(root):
            return None
        video = video.relative_to(root)
    return None if ".." in video.parts else PurePosixPath(*video.parts).as_posix()


def _check_free(folder: Path, replace_export: bool) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and not replace_export:
        raise FolderTaken(
            f"{folder} is not empty, and nothing is overwritten. Choose a folder that does not exist yet."
        )
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise FolderTaken(f"{folder} holds something that is no export. Choose a folder that does not exist yet.")


def _check_room(folder: Path, n_bytes: int) -> None:
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free < n_bytes:
        raise NoSpace(
            f"The disk of {folder} has {free:,} bytes free and about {n_bytes:,} are needed; nothing was exported. "
            "Make room, or choose a folder on another disk."
        )


@contextmanager
def full_disk_is_told(folder: Path) -> Iterator[None]:
    """Turn what writing raises on a full or closed disk into errors that say what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if disk_is_full(error):
            raise NoSpace(
                f"The disk of {folder} is full; nothing was exported or kept. Make room, then try again."
            ) from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise FolderTaken(f"{folder} cannot be made ({error.strerror}). Choose another folder.") from error
        raise
