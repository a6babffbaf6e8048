"""Vinoground: 500 pairs of videos whose captions differ in order alone, four questions a pair.

`vinoground_textscore.json` asks which caption fits a video, `vinoground_videoscore.json` which half of two joined
videos fits a caption (idx such as 12_pos, video_name, question with its options, GT); `vinoground.csv` tells the
categories. A pair has **text** when both text questions are right, **video** when both video questions are, **group**
when all four are. The pair is the unit of every interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.figures import Answered
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, lettered, letters
from tempo_core.benchmarks.rows import Row
from tempo_core.benchmarks.rows import read as read_rows
from tempo_core.types import Asked, ItemScore, Score

FILES = {"vinoground_textscore.json": "text_questions", "vinoground_videoscore.json": "video_questions"}
FIGURES = {
    "text": (("text_questions",), 2, 0.25),
    "video": (("video_questions",), 2, 0.25),
    "group": (("text_questions", "video_questions"), 4, 0.0625),
}
"""Which questions must all be right, how many they are, and the share that independent guesses get."""


def read(folder: Folder) -> Annotations:
    files = folder.some(FILES, "Vinoground")
    table = folder.one("vinoground.csv")
    categories = _categories(table) if table is not None else {}
    items = tuple(_item(row, FILES[path.name], categories) for path in files for row in read_rows(path))
    notes = tuple(f"{name} is not there" for name in FILES if name not in {path.name for path in files})
    if table is None:
        notes += ("vinoground.csv is not there: no categories",)
    return Annotations(items, tuple(files) if table is None else (*files, table), notes)


def _categories(path: Path) -> dict[str, tuple[str, ...]]:
    """The major and the minor categories of each pair; `minor` holds several, with semicolons."""
    found = {}
    for row in read_rows(path):
        minor = str(row.values.get("minor") or "").split(";")
        found[row.text("index").strip()] = tuple(
            name.strip().casefold() for name in (row.text("major"), *minor) if name.strip()
        )
    return found


def _item(row: Row, part: str, categories: dict[str, tuple[str, ...]]) -> Item:
    pair, _, side = row.text("idx").rpartition("_")
    if not pair.isdecimal() or side not in ("pos", "neg"):
        raise row.wrong("idx", f"is {row.text('idx')!r}, but must be like 12_pos or 12_neg")
    if categories and pair not in categories:
        raise row.wrong("idx", f"is of pair {pair}, which vinoground.csv does not list")
    question, options = lettered(row, "question")
    truth = letters(options).index(row.one_of("GT", letters(options)))
    video = VideoName.of(row.text("video_name"))
    return Item(video, question, options, (truth,), categories.get(pair, ()), pair, part, unit=pair)


def scores(benchmark: str, answered: Sequence[Answered], seed: int) -> tuple[Score, ...]:
    """Text, video and group of the complete pairs, as a whole and by category; then the questions one by one."""
    return tuple(_scores(benchmark, answered, seed))


def _scores(benchmark: str, answered: Sequence[Answered], seed: int) -> Iterator[Score]:
    categories = sorted({task for a in answered for task in a.item.tasks})
    for metric, (parts, n, chance) in FIGURES.items():
        for category in ("", *categories):
            inside = [a for a in answered if a.item.part in parts and (not category or category in a.item.tasks)]
            units = _units(inside, n)
            if units:
                yield figures.scored(benchmark, f"{metric}/{category}".rstrip("/"), units, chance, seed)
    for part in FILES.values():
        inside = [a for a in answered if a.item.part == part]
        if inside:
            yield figures.accuracy(benchmark, part, inside, seed)


def _units(answered: Sequence[Answered], n: int) -> list[ItemScore]:
    """One score a pair that has all its questions: right if all are, unparsed if one of them is."""
    pairs: dict[str, list[Answered]] = {}
    for a in answered:
        pairs.setdefault(a.item.unit, []).append(a)
    return [_unit(pair, found) for pair, found in pairs.items() if len(found) == n]


def _unit(pair: str, found: Sequence[Answered]) -> ItemScore:
    values = [a.score.correct for a in found]
    right = None if None in values else float(all(values))
    return ItemScore(pair, pair, right, " | ".join(a.text for a in found), _together([a.asked for a in found]))


def _together(found: Sequence[Asked | None]) -> Asked | None:
    """The questions of a pair, one below the other."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    questions = "\n\n".join("\n".join((one.question, *one.options)) for one in known)
    return Asked(questions, (), " | ".join(one.truth for one in known), known[0].video, known[0].numbers)


benchmark = FileBenchmark("vinoground", read, scores)
