"""NExT-QA, multiple choice (doc-doc/NExT-QA): five answers, questions of cause, time and description.

`val.csv`: video, question, answer 0-4, qid, type, a0..a4; `map_vid_vidorID.json` tells where each video lies.
"""

from __future__ import annotations

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item, places
from tempo_core.benchmarks.rows import Row, nested
from tempo_core.benchmarks.rows import read as read_rows

TYPES = {
    "CW": "causal",
    "CH": "causal",
    "TN": "temporal",
    "TC": "temporal",
    "TP": "temporal",
    "DC": "descriptive",
    "DL": "descriptive",
    "DO": "descriptive",
}


def read(folder: Folder) -> Annotations:
    (table,) = folder.some(("val.csv",), "NExT-QA")
    places = folder.one("map_vid_vidorID.json")
    where = nested(places) if places is not None else None
    items = tuple(_item(row, where) for row in read_rows(table))
    return Annotations(items, (table,) if places is None else (table, places))


def _item(row: Row, where: Row | None) -> Item:
    options = tuple(row.text(f"a{i}") for i in range(5))
    kind = row.one_of("type", tuple(TYPES))
    name = row.text("video")
    # Some copies keep the map's folders ("0101/2909445186"), some all videos together.
    video = VideoName.of(where.text(name) if where is not None else name)
    truth = places(options, options[row.number("answer", below=5)])
    return Item(video, row.text("question"), options, truth, (TYPES[kind], kind), name)


benchmark = FileBenchmark("next_qa", read, figures.by_task)
