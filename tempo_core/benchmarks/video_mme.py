"""Video-MME, without subtitles: three questions on each of its short, medium and long videos.

Rows of videoID, duration, task_type, question, options ("A. ..."), answer (a letter), as the hub's parquet or as JSON,
JSONL or CSV of the same fields. With subtitles it would be another benchmark.
"""

from __future__ import annotations

import ast

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, letters
from tempo_core.benchmarks.rows import Row
from tempo_core.benchmarks.rows import read as read_rows

FILES = (
    "test-00000-of-00001.parquet",
    "videomme.parquet",
    "videomme.json",
    "videomme.jsonl",
    "videomme.csv",
    "Video-MME.json",
    "Video-MME.jsonl",
)
DURATIONS = ("short", "medium", "long")


def read(folder: Folder) -> Annotations:
    files = folder.some(FILES, "Video-MME")[:1]
    return Annotations(tuple(_item(row) for row in read_rows(files[0])), tuple(files))


def _item(row: Row) -> Item:
    listed = _options(row)
    options = []
    for letter, text in zip(letters(listed), listed, strict=True):
        if not text.startswith(f"{letter}."):
            raise row.wrong("options", f"has {text!r} where option {letter} is due")
        options.append(text[2:].strip())
    truth = letters(listed).index(row.one_of("answer", letters(listed)))
    duration = row.one_of("duration", DURATIONS)
    task = row.text("task_type").casefold().replace(" ", "_")
    video = VideoName.of(row.text("videoID"))
    return Item(video, row.text("question"), tuple(options), (truth,), (duration, task), video.stem)


def _options(row: Row) -> tuple[str, ...]:
    """A list, or in CSV the text of one."""
    value = row.values.get("options")
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise row.wrong("options", "must be a list of options") from None
    return Row({"options": value}, row.place).texts("options")


benchmark = FileBenchmark("video_mme", read, figures.by_task)
