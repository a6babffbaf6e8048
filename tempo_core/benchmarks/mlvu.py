"""MLVU, the multiple-choice tasks of its dev set: seven JSON lists of video, question, candidates, answer as text.

Eight questions of the official files are faulty: three cannot be answered (the right text is no candidate, or all are
empty) and are left out, and say so; in five the right one stands twice, and either is right. 363 names of videos
repeat from task to task, so the folder decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, places
from tempo_core.benchmarks.rows import read as read_rows

TASKS = ("1_plotQA", "2_needle", "3_ego", "4_count", "5_order", "6_anomaly_reco", "7_topic_reasoning")


def read(folder: Folder) -> Annotations:
    files = folder.some((f"{task}.json" for task in TASKS), "MLVU")
    asked = [item for path in files for item in _task(path)]
    sound = tuple(item for item in asked if item is not None)
    faulty = len(asked) - len(sound)
    notes = (f"{faulty} questions without a right candidate are left out",) if faulty else ()
    return Annotations(sound, tuple(files), notes)


def _task(path: Path) -> Iterator[Item | None]:
    """None for a question that has no right candidate."""
    task = path.stem.partition("_")[2]
    for row in read_rows(path):
        options = row.texts("candidates")
        # A faulty row's answer may be empty as its candidates are.
        truth = places(options, str(row.values.get("answer") or ""))
        if not truth or not any(option.strip() for option in options):
            yield None
            continue
        video = VideoName.of(row.text("video"), path.stem, task)
        yield Item(video, row.text("question"), options, truth, (task,), str(video))


benchmark = FileBenchmark("mlvu", read, figures.mean_of_tasks)
