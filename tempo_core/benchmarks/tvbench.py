"""TVBench (FunAILab/TVBench): ten tasks that one picture or the text alone does not answer.

Read in Tarsier's form (`TVBench.jsonl`: the question with its options in the text, the right letter as `reference`)
and in the hub's (one JSON list a task: video, question, candidates, answer as text). In 24 questions of Egocentric
Sequence options repeat; where the right one stands twice, either is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, lettered, letters, places
from tempo_core.benchmarks.rows import Row
from tempo_core.benchmarks.rows import read as read_rows

TASKS = (
    "action_antonym",
    "action_count",
    "action_localization",
    "action_sequence",
    "egocentric_sequence",
    "moving_direction",
    "object_count",
    "object_shuffle",
    "scene_transition",
    "unexpected_action",
)


def read(folder: Folder) -> Annotations:
    if (whole := folder.one("TVBench.jsonl")) is not None:
        return Annotations(tuple(_of_tarsier(row) for row in read_rows(whole)), (whole,))
    files = folder.some((f"{task}.json" for task in TASKS), "TVBench")
    return Annotations(tuple(item for path in files for item in _of_hub(path)), tuple(files))


def _of_tarsier(row: Row) -> Item:
    asked, answered = _turn(row, 0), _turn(row, 1)
    question, options = lettered(_with(asked, "text", "text"), "text")
    right = letters(options).index(answered.one_of("reference", letters(options)))
    task = row.text("dataset").rpartition("/")[2].strip().casefold().replace(" ", "_")
    if task not in TASKS:
        raise row.wrong("dataset", f"is {row.text('dataset')!r}, but TVBench's tasks are {', '.join(TASKS)}")
    truth = places(options, options[right])
    return _item(row, row.text("vid"), task, question.removeprefix("Question: "), options, truth)


def _turn(row: Row, n: int) -> Row:
    """The part of a turn of the conversation that holds its text; the video or the cue stands before it."""
    messages = row.rows("messages")
    if len(messages) != 2:
        raise row.wrong("messages", f"holds {len(messages)} turns, but must hold a question and an answer")
    parts = messages[n].rows("content")
    if len(parts) != 2:
        raise row.wrong("messages", f"holds a turn of {len(parts)} parts, but must hold two")
    return Row(parts[1].values, row.place)


def _with(row: Row, field: str, kind: str) -> Row:
    row.one_of("type", (kind,))
    row.text(field)
    return row


def _of_hub(path: Path) -> Iterator[Item]:
    for row in read_rows(path):
        options = row.texts("candidates")
        truth = places(options, row.text("answer"))
        if not truth:
            raise row.wrong("answer", f"is {row.text('answer')!r}, which is none of the candidates")
        yield _item(row, row.text("video"), path.stem, row.text("question"), options, truth)


def _item(row: Row, video: str, task: str, question: str, options: tuple[str, ...], truth: tuple[int, ...]) -> Item:
    name = VideoName.of(video, task)
    seconds = (row.seconds("start"), row.seconds("end")) if row.has("start") and row.has("end") else None
    return Item(name, question, options, truth, (task,), name.stem, seconds=seconds)


benchmark = FileBenchmark("tvbench", read, figures.mean_of_tasks)
