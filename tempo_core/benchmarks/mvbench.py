"""MVBench (OpenGVLab/MVBench): twenty tasks, one JSON list each: video, question, candidates, answer (start, end).

An empty answer counts as wrong. Episodic Reasoning's videos are folders of pictures in the official download; they are
missing here unless made into videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, places
from tempo_core.benchmarks.rows import read as read_rows

TASKS = {
    "action_sequence": "Charades_v1_480",
    "action_prediction": "Charades_v1_480",
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw",
    "unexpected_action": "FunQA_test",
    "object_existence": "clevrer",
    "object_interaction": "Charades_v1_480",
    "object_shuffle": "perception",
    "moving_direction": "clevrer",
    "action_localization": "sta",
    "scene_transition": "scene_qa",
    "action_count": "perception",
    "moving_count": "clevrer",
    "moving_attribute": "clevrer",
    "state_change": "perception",
    "fine_grained_pose": "nturgbd",
    "character_order": "perception",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa",
    "counterfactual_inference": "clevrer",
}
"""Each task with the folder that the official download keeps its videos in; it decides where stems repeat."""


def read(folder: Folder) -> Annotations:
    files = folder.some((f"{task}.json" for task in TASKS), "MVBench")
    absent = [task for task in TASKS if task not in {path.stem for path in files}]
    notes = (f"tasks without a file: {', '.join(absent)}",) if absent else ()
    return Annotations(tuple(item for path in files for item in _task(path)), tuple(files), notes)


def _task(path: Path) -> Iterator[Item]:
    for row in read_rows(path):
        options = row.texts("candidates")
        truth = places(options, row.text("answer"))
        if not truth:
            raise row.wrong("answer", f"is {row.text('answer')!r}, which is none of the candidates")
        video = VideoName.of(row.text("video"), TASKS[path.stem])
        seconds = (row.seconds("start"), row.seconds("end")) if row.has("start") and row.has("end") else None
        yield Item(video, row.text("question"), options, truth, (path.stem,), str(video), seconds=seconds)


benchmark = FileBenchmark("mvbench", read, figures.mean_of_tasks)
