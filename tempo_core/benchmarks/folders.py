"""A benchmark's folder as a person has it: annotation files by name and videos by stem, at any depth.

The one thing to know: a video is never guessed. Where two files, or two videos of the annotations, share a stem, the
folder that the annotations name must decide; if it does not, that is an error with both places.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tempo_core.benchmarks.rows import BadAnnotations
from tempo_core.errors import TooFew
from tempo_core.media import SUFFIXES

ANNOTATIONS = (".json", ".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class VideoName:
    """How annotations name a video: its stem, and the names of folders it may lie in."""

    stem: str
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, *folders: str) -> VideoName:
        """From "action_count/video_9804.mp4", or a name without suffix (which may hold dots)."""
        path = PurePosixPath(name.replace("\\", "/").strip())
        stem = path.stem if path.suffix.casefold() in SUFFIXES else path.name
        named = tuple(part for part in (path.parent.name, *folders) if part and part not in (".", ".."))
        return cls(stem, named)

    def __str__(self) -> str:
        return "/".join((*self.folders[:1], self.stem))


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies in a folder and below; links to other folders are not followed."""

    root: Path
    annotations: dict[str, list[Path]]
    videos: dict[str, list[Path]]

    @classmethod
    def open(cls, root: Path, name: str) -> Folder:
        """The folder itself, or the one of the benchmark's name directly in it."""
        root = root.expanduser()
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise BadAnnotations(f"{root} {what}. Name the folder that holds the benchmark's files and videos.")
        inside = [path for path in sorted(root.iterdir()) if path.is_dir() and _plain(path.name) == _plain(name)]
        root = (inside[0] if inside else root).resolve()
        found = cls(root, {}, {})
        for place, folders, files in os.walk(root):
            folders.sort()
            for file in sorted(files):
                path = Path(place, file)
                if path.suffix in ANNOTATIONS:
                    found.annotations.setdefault(file, []).append(path)
                elif path.suffix.casefold() in SUFFIXES:
                    found.videos.setdefault(path.stem, []).append(path)
        return found

    def one(self, name: str) -> Path | None:
        """The annotation file of that name, if there is one."""
        places = self.annotations.get(name, [])
        if len(places) > 1:
            told = " and ".join(str(path.relative_to(self.root)) for path in places)
            raise BadAnnotations(f"{name} is there more than once in {self.root}: {told}. Keep one.")
        return places[0] if places else None

    def some(self, names: Iterable[str], of: str) -> list[Path]:
        """Those of the named files that are there.

        Raises:
            TooFew: None of them is.
        """
        names = list(names)
        found = [path for name in names if (path := self.one(name)) is not None]
        if not found:
            raise TooFew(
                f"{self.root} holds no annotation file of {of}: looked for {_listed(names)} in it and below. Put the "
                "official files there; nothing is downloaded."
            )
        return found

    def find(self, wanted: Iterable[VideoName]) -> dict[VideoName, Path]:
        """Where the videos are; what is missing is left out.

        Raises:
            BadAnnotations: Two files could be the video.
        """
        names = list(dict.fromkeys(wanted))
        shared: dict[str, int] = {}
        for name in names:
            shared[name.stem] = shared.get(name.stem, 0) + 1
        found = {name: self._place(name, alone=shared[name.stem] == 1) for name in names}
        return {name: path for name, path in found.items() if path is not None}

    def _place(self, name: VideoName, *, alone: bool) -> Path | None:
        places = self.videos.get(name.stem, [])
        if alone and len(places) <= 1:
            return places[0] if places else None
        there = [path for path in places if set(name.folders) & set(path.relative_to(self.root).parts[:-1])]
        if len(there) > 1 or (len(places) > 1 and not name.folders):
            told = " and ".join(str(path.relative_to(self.root)) for path in (there or places)[:3])
            raise BadAnnotations(f"Two videos could be {name}: {told}. Keep one of them in {self.root}.")
        return there[0] if there else None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
