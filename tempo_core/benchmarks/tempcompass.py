"""TempCompass (llyx97/TempCompass): multiple choice, yes or no, and caption matching over five aspects of time.

`{video: {aspect: [{question, answer}]}}` in three files, or the hub's copy: a folder for each of them with one parquet
of rows video_id, question, answer, dim. Videos were cut, reversed and joined from others, so the
leading digits of a name tell the footage. Captioning needs a judge and is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import YES_NO, Annotations, Item, lettered
from tempo_core.benchmarks.rows import Row, nested
from tempo_core.benchmarks.rows import read as read_rows

FILES = {"multi-choice.json": "multi_choice", "yes_no.json": "yes_no", "caption_matching.json": "caption_matching"}
HUB = "test-00000-of-00001.parquet"
ASPECTS = ("action", "direction", "speed", "order", "attribute_change")
_LABELLED = re.compile(r"(Option|Sentence|Caption) ([12AB]): *(.+)")


def read(folder: Folder) -> Annotations:
    copies = [path for path in folder.annotations.get(HUB, ()) if f"{path.parent.name}.json" in FILES]
    if copies and not any(folder.annotations.get(name) for name in FILES):
        return Annotations(tuple(item for path in copies for item in _copy(path)), tuple(copies))
    files = folder.some(FILES, "TempCompass")
    return Annotations(tuple(item for path in files for item in _file(path)), tuple(files))


def _copy(path: Path) -> Iterator[Item]:
    part = FILES[f"{path.parent.name}.json"]
    for row in read_rows(path):
        yield READ[part](row, row.text("video_id"), row.one_of("dim", ASPECTS))


def _file(path: Path) -> Iterator[Item]:
    part = FILES[path.name]
    whole = nested(path)
    for video in whole.values:
        aspects = whole.row(video)
        for aspect in aspects.values:
            if aspect not in ASPECTS:
                raise aspects.wrong(aspect, f"is no aspect of TempCompass; they are {', '.join(ASPECTS)}")
            for row in aspects.rows(aspect):
                yield READ[part](row, video, aspect)


def _footage(video: str) -> str:
    found = re.match(r"\d+", video)
    return found[0] if found else video


def _choice(row: Row, video: str, aspect: str) -> Item:
    question, options = lettered(row, "question")
    answer = row.text("answer")
    truth = tuple(i for i, option in enumerate(options) if answer == f"{chr(65 + i)}. {option}")
    if not truth:
        raise row.wrong("answer", f"is {answer!r}, which is no option of its question")
    return _item("multi_choice", question, options, truth, video, aspect)


def _yes_no(row: Row, video: str, aspect: str) -> Item:
    truth = YES_NO.index(row.one_of("answer", YES_NO))
    return replace(_item("yes_no", row.text("question"), YES_NO, (truth,), video, aspect), form="yes_no")


def _caption(row: Row, video: str, aspect: str) -> Item:
    """Two captions under "Option 1" and "Option 2", "Sentence A" and "B", or "Caption A" and "B"."""
    head, *lines = [line.strip() for line in row.text("question").strip().split("\n")]
    found = [_LABELLED.fullmatch(line) for line in lines]
    matches = [match for match in found if match is not None]
    if len(matches) != 2 or len(lines) != 2 or matches[0][1] != matches[1][1]:
        raise row.wrong("question", 'must end with two lines such as "Option 1: ..." and "Option 2: ..."')
    answer = row.text("answer")
    truth = tuple(i for i, line in enumerate(lines) if line == answer.strip())
    if not truth:
        raise row.wrong("answer", f"is {answer!r}, which is no option of its question")
    item = _item("caption_matching", head, tuple(match[3] for match in matches), truth, video, aspect)
    return replace(item, form="labels", labels=tuple(match[2] for match in matches), word=matches[0][1])


def _item(part: str, question: str, options: tuple[str, ...], truth: tuple[int, ...], video: str, aspect: str) -> Item:
    return Item(VideoName.of(video), question, options, truth, (aspect,), _footage(video), part)


READ: dict[str, Callable[[Row, str, str], Item]] = {
    "multi_choice": _choice,
    "yes_no": _yes_no,
    "caption_matching": _caption,
}

benchmark = FileBenchmark("tempcompass", read, figures.mean_of_tasks)
