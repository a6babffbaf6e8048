"""Benchmarks over a local folder: the official annotation files, and whichever of their videos are there.

The one thing to know: nothing is downloaded and nothing is passed over in silence. Opening a folder tells which
videos are missing, what was left out and why; the settings of every score hold it, so a partial score says so and is
not compared with a whole one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tempo_core.benchmarks import answers, figures, items
from tempo_core.benchmarks.base import AskedModel
from tempo_core.benchmarks.figures import Answered
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.items import Annotations, Item
from tempo_core.benchmarks.shown import LONG_SIDE, N_PICTURES, Shown, shown
from tempo_core.errors import MediaError, TooFew
from tempo_core.media import sha256_of
from tempo_core.types import JsonDict, Progress, Question, Report, Sampling, Score, Video

MAX_NEW_TOKENS = 32
_GREEDY = Sampling(input="video", temperature=0.0, repetition_penalty=1.0, max_new_tokens=MAX_NEW_TOKENS)
_BATCH = 16
Watch = Callable[[Path, Shown], None]
_NAMED = 50
"""Missing videos that are kept by name with a score; the job's log names all."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores, and the videos that could not be read (their questions are in no score) with the reason."""

    scores: tuple[Score, ...]
    unreadable: dict[str, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """A benchmark with what a folder holds of it: `asked` are the questions whose videos are there."""

    name: str
    annotations: Annotations
    asked: tuple[Item, ...]
    videos: dict[VideoName, Path]
    missing: tuple[str, ...]
    n_pictures: int
    limit: int | None
    figures: Callable[[str, Sequence[Answered], int], tuple[Score, ...]]

    @property
    def n_named(self) -> int:
        return len(self.videos) + len(self.missing)

    def told(self) -> str:
        """What is there, in a sentence."""
        found = f"{len(self.videos)} of {self.n_named} videos found"
        asked = f"{len(self.asked)} of {len(self.annotations.items)} questions are asked"
        return "; ".join((f"{self.name}: {found}, {asked}", *self.annotations.notes))

    def settings(self) -> JsonDict:
        """Everything that a score depends on beside the model; equal settings can be compared."""
        digest = hashlib.sha256()
        for path in self.annotations.files:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        asked = hashlib.sha256("\n".join(sorted(item.id for item in self.asked)).encode())
        return {
            "annotations": digest.hexdigest(),
            "asked": asked.hexdigest(),
            "coverage": {
                "videos": self.n_named,
                "found": len(self.videos),
                "missing": list(self.missing[:_NAMED]),
                "questions": len(self.annotations.items),
                "asked": len(self.asked),
                "notes": list(self.annotations.notes),
            },
            "engine": "tempo",
            "prompt": items.PROMPT_VERSION,
            "parser": answers.PARSER_VERSION,
            "pictures": self.n_pictures,
            "long_side": LONG_SIDE,
            "max_new_tokens": MAX_NEW_TOKENS,
            "limit": self.limit,
        }

    def among(self, videos: Iterable[Video]) -> tuple[str, ...]:
        """Which of its videos are among these, by their bytes. Only files of the same size are read."""
        others = list(videos)
        known = {video.sha256 for video in others}
        sizes = {video.path.stat().st_size for video in others if video.path.exists()}
        whole = all(video.path.exists() for video in others)
        suspects = {name: path for name, path in self.videos.items() if not whole or path.stat().st_size in sizes}
        return tuple(str(name) for name, path in suspects.items() if sha256_of(path) in known)

    def ask(self, model: AskedModel, seed: int, report: Report, watch: Watch = lambda *_: None) -> Measured:
        """Ask every question and score the answers; each video is read once.

        Args:
            watch: Told each video with the pictures that are shown of it.

        Raises:
            TooFew: No video could be read.
        """
        answered: list[Answered] = []
        unreadable: dict[str, str] = {}
        for item_list in self._by_video():
            video, seconds = item_list[0].video, item_list[0].seconds
            try:
                pictures = shown(self.videos[video], self.n_pictures, seconds, _side(model))
            except MediaError as error:
                unreadable[str(video)] = str(error)
                continue
            watch(self.videos[video], pictures)
            answered += self._about(model, item_list, pictures)
            report(Progress(len(answered), len(self.asked), self.name))
        if not answered:
            first = next(iter(unreadable.values()), "")
            raise TooFew(f"{self.name}: none of the {len(self.videos)} videos could be read. {first}")
        return Measured(self.figures(self.name, answered, seed), unreadable)

    def _by_video(self) -> Iterator[list[Item]]:
        grouped: dict[Any, list[Item]] = {}
        for item in self.asked:
            grouped.setdefault((item.video, item.seconds), []).append(item)
        yield from grouped.values()

    def _about(self, model: AskedModel, asked: Sequence[Item], pictures: Shown) -> Iterator[Answered]:
        frames = model.shown(pictures.pixels, pictures.numbers, pictures.duration_s)
        for start in range(0, len(asked), _BATCH):
            batch = asked[start : start + _BATCH]
            said = model.answer([Question(item.prompt(), frames) for item in batch], _GREEDY, 0)
            for item, answer in zip(batch, said, strict=True):
                asked_of = item.asked(str(self.videos[item.video]), pictures.numbers)
                yield Answered(item, answer.text, item.parse(answer.text), asked_of)


@dataclass(frozen=True, slots=True)
class FileBenchmark:
    """A benchmark: how its official files are read, and which figures are made of the answers."""

    name: str
    read: Callable[[Folder], Annotations]
    figures: Callable[[str, Sequence[Answered], int], tuple[Score, ...]] = field(default=figures.by_task)

    def parse(self, root: Path) -> tuple[Folder, Annotations]:
        """Read the annotation files alone.

        Raises:
            BadAnnotations: A file is not in its documented form.
            TooFew: There is none.
        """
        folder = Folder.open(root, self.name)
        found = self.read(folder)
        identified = items.identified(self.name, found.items)
        return folder, Annotations(identified, found.files, found.notes)

    def open(self, root: Path, *, limit: int | None = None, n_pictures: int = N_PICTURES) -> Opened:
        """What can be asked of a folder.

        Args:
            limit: At most about this many questions, drawn by their ids: the same ones every time. Questions of one
                unit stay together.

        Raises:
            TooFew: None of the videos is there.
        """
        folder, annotations = self.parse(root)
        named = dict.fromkeys(item.video for item in annotations.items)
        videos = folder.find(named)
        missing = tuple(str(name) for name in named if name not in videos)
        if not videos:
            raise TooFew(
                f"{self.name}: none of the {len(named)} videos that its questions are about lies in {folder.root}. "
                f"The first would be {missing[0]}, as .mp4, .webm, .gif or any other video."
            )
        there = [item for item in annotations.items if item.video in videos]
        asked = tuple(_limited(there, limit))
        return Opened(self.name, annotations, asked, videos, missing, n_pictures, limit, self.figures)


def _limited(found: Sequence[Item], limit: int | None) -> list[Item]:
    if limit is None or len(found) <= limit:
        return list(found)
    units: dict[str, list[Item]] = {}
    for item in found:
        units.setdefault(item.unit or item.id, []).append(item)
    chosen: set[str] = set()
    for name in sorted(units, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(chosen) >= limit:
            break
        chosen |= {item.id for item in units[name]}
    return [item for item in found if item.id in chosen]


def _side(model: Any) -> int:
    """The smaller of ours and the model's own."""
    own = getattr(model, "long_side", None)
    return LONG_SIDE if own is None else min(LONG_SIDE, int(own))
