"""Folders that moved: which files are not where they were seen, and where they lie now.

A video is its bytes, so a moved or renamed file is found by its size and then its hash. Only places change: videos,
timelines, pairs and frozen versions stay as they are.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from db import videos
from db.session import now_ms
from db.tables import LibraryRow, LocationRow, VideoRow
from db.withdrawals import stays_withdrawn
from tempo_core.errors import TempoError

Hash = Callable[[Path], str]
"""sha256 of a file's bytes, as hex."""


class NothingFound(TempoError):
    """A folder to relink from or to that cannot be right; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A library as it stands on this machine: `n_missing` of its `n_files` files are not there."""

    library_id: int
    name: str
    root: Path
    there: bool
    n_files: int
    n_missing: int
    examples: tuple[str, ...]
    """The first few missing files, as paths below the folder."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A file that is not where it was seen. Without a library it was lost by an earlier scan."""

    video_id: int
    library_id: int | None
    rel_path: str
    sha256: str
    size_bytes: int


@dataclass(slots=True)
class Relinked:
    """`found` maps each file that was found to its path below the new folder; `missing` were not."""

    found: dict[Lost, str] = field(default_factory=dict)
    missing: list[Lost] = field(default_factory=list)
    n_hashed: int = 0


def folders(session: Session, n_examples: int = 5) -> list[Folder]:
    """Every library with what is missing of it; one look at the disk per file."""
    places: dict[int, list[str]] = defaultdict(list)
    query = select(LocationRow.library_id, LocationRow.rel_path).order_by(LocationRow.rel_path)
    for library_id, rel_path in session.execute(query):
        places[library_id].append(rel_path)
    return [_folder(*library, places[library[0]], n_examples) for library in videos.libraries(session)]


def _folder(library_id: int, name: str, root: Path, rel_paths: Sequence[str], n_examples: int) -> Folder:
    there = root.is_dir()
    # Of a folder that is gone no file needs a look of its own.
    gone = [path for path in rel_paths if not there or not (root / path).is_file()]
    return Folder(library_id, name, root, there, len(rel_paths), len(gone), tuple(gone[:n_examples]))


def lost(session: Session, old: Path) -> list[Lost]:
    """The files below `old` that are not there any more, and the videos that a scan already gave up."""
    rows = session.execute(
        select(VideoRow.id, LibraryRow.id, LibraryRow.root, LocationRow.rel_path, VideoRow.sha256, VideoRow.size_bytes)
        .join(LocationRow, LocationRow.video_id == VideoRow.id)
        .join(LibraryRow, LibraryRow.id == LocationRow.library_id)
        .where(VideoRow.sha256.is_not(None), VideoRow.size_bytes.is_not(None))
        .order_by(LibraryRow.id, LocationRow.rel_path)
    ).all()
    known = sorted({str(row.root) for row in rows})
    below = [row for row in rows if (Path(row.root) / row.rel_path).is_relative_to(old)]
    if not below and not any(Path(root).is_relative_to(old) for root in known):
        said = ", ".join(known[:5]) or "none yet"
        raise NothingFound(f"No video was seen in {old}. Folders that hold videos: {said}. Name one of these as OLD.")
    gone = [
        Lost(row[0], row[1], row.rel_path, row.sha256 or "", row.size_bytes or 0)
        for row in below
        if not (Path(row.root) / row.rel_path).is_file()
    ]
    given_up = [
        Lost(id_, None, name, sha256 or "", size or 0)
        for id_, name, sha256, size in session.execute(
            select(VideoRow.id, VideoRow.name, VideoRow.sha256, VideoRow.size_bytes)
            .where(VideoRow.status == "missing", VideoRow.sha256.is_not(None), VideoRow.size_bytes.is_not(None))
            .where(~select(LocationRow.video_id).where(LocationRow.video_id == VideoRow.id).exists())
        )
    ]
    if not gone and not given_up:
        raise NothingFound(f"Nothing is missing from {old}: all {len(below)} files that were seen are there.")
    return gone + given_up


def matches(wanted: Sequence[Lost], new: Path, hash_of: Hash) -> Iterator[tuple[Lost, str | None, int]]:
    """Each lost file with its path below `new`, or None, and how many files were hashed so far.

    Only files of the right size are read: first the one at the same place, then those of the same name, then others.
    A file is read once.
    """
    by_size = _files_by_size(new, {file.size_bytes for file in wanted})
    hashes: dict[str, str] = {}
    for file in wanted:
        candidates = sorted(by_size[file.size_bytes], key=lambda path: _unlike(file.rel_path, path))
        found = None
        for path in candidates:
            if path not in hashes:
                hashes[path] = hash_of(new / path)
            if hashes[path] == file.sha256:
                found = path
                break
        yield file, found, len(hashes)


def _unlike(before: str, now: str) -> tuple[bool, bool, str]:
    """Sorts the likeliest place of a moved file first: the same path below a folder above, then the same name."""
    same_path = before == now or before.endswith("/" + now) or now.endswith("/" + before)
    return not same_path, Path(before).name != Path(now).name, now


def _files_by_size(new: Path, sizes: set[int]) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for folder, _, names in os.walk(new):
        for name in names:
            path = Path(folder, name)
            try:
                size = path.stat().st_size if not path.is_symlink() else -1
            except OSError:
                continue
            if size in sizes:
                found[size].append(str(path.relative_to(new)))
    return found


def relink(session: Session, old: Path, new: Path, done: Relinked) -> None:
    """Write down where the files lie now. A library whose folder is gone moves there as a whole."""
    if not done.found:
        n = len(done.missing)
        raise NothingFound(
            f"None of the {n} missing files of {old} is in {new}: no file there has the same bytes. Nothing was "
            "changed. Choose the folder that holds the videos themselves, or one above it."
        )
    target = _moved_as_a_whole(session, done, new) or videos.library(session, new)
    for file, rel_path in done.found.items():
        _move(session, file, target, rel_path)
    _drop_empty(session, old, target)


def _moved_as_a_whole(session: Session, done: Relinked, new: Path) -> int | None:
    """The one library of all found files, now at `new`, if its folder is gone and no other library lies there."""
    of = {file.library_id for file in done.found if file.library_id is not None}
    taken = session.execute(select(LibraryRow.id).where(LibraryRow.root == str(new))).scalar_one_or_none()
    if len(of) != 1 or taken is not None:
        return None
    row = session.get_one(LibraryRow, of.pop())
    if Path(row.root).is_dir():
        return None
    row.root = str(new)
    session.flush()
    return row.id


def _move(session: Session, file: Lost, library_id: int, rel_path: str) -> None:
    p = LocationRow
    if file.library_id is not None:
        here = (p.library_id == file.library_id, p.rel_path == file.rel_path)
        session.execute(delete(p).where(*here, p.video_id == file.video_id))
    place = session.get(p, (library_id, rel_path))
    if place is None:
        session.add(p(library_id=library_id, rel_path=rel_path, video_id=file.video_id, seen_ms=now_ms()))
        session.flush()
    else:
        before, place.video_id, place.seen_ms = place.video_id, file.video_id, now_ms()
        session.flush()
        if before != file.video_id:
            videos.missing_without_place(session, before)
    row = session.get_one(VideoRow, file.video_id)
    if row.status == "missing" or row.reason == "withdrawn":
        for name, value in stays_withdrawn(row, {"status": "ok", "reason": None, "message": None}).items():
            setattr(row, name, value)
        session.flush()


def _drop_empty(session: Session, old: Path, target: int) -> None:
    """Libraries below the old folder that hold nothing any more."""
    n_left = select(func.count()).where(LocationRow.library_id == LibraryRow.id).scalar_subquery()
    for id_, root in session.execute(select(LibraryRow.id, LibraryRow.root).where(n_left == 0)).all():
        if id_ != target and Path(root).is_relative_to(old):
            session.execute(delete(LibraryRow).where(LibraryRow.id == id_))
