"""TOMATO (yale-nlp/TOMATO): one JSON file a motion type, `{id: {question, options, answer, key, ...}}`.

`answer` is the place of the right option. One option is often part of another ("Left." and "Left, then right."), and
the files hold between three and seven. Keys such as 0731-00 tell the footage before the dash.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, places
from tempo_core.benchmarks.rows import read as read_rows

TASKS = ("count", "direction", "rotation", "shape&trend", "velocity&frequency", "visual_cues")


def read(folder: Folder) -> Annotations:
    files = folder.some((f"{task}.json" for task in TASKS), "TOMATO")
    absent = [task for task in TASKS if task not in {path.stem for path in files}]
    notes = (f"motion types without a file: {', '.join(absent)}",) if absent else ()
    return Annotations(tuple(item for path in files for item in _task(path)), tuple(files), notes)


def _task(path: Path) -> Iterator[Item]:
    task = path.stem.replace("&", "_and_")
    for row in read_rows(path):
        options = row.texts("options")
        truth = places(options, options[row.number("answer", below=len(options))])
        video = VideoName.of(row.text("key"), row.text("demonstration_type"))
        group = video.stem.partition("-")[0]
        yield Item(video, row.text("question"), options, truth, (task,), group)


benchmark = FileBenchmark("tomato", read, figures.mean_of_tasks)
