"""VITATECS (lscpku/VITATECS): which of two captions fits, the true one or one changed in a single aspect of time.

One JSONL a aspect: src_dataset, video_name, caption, counterfactual, aspect. The file always names the true caption
first, so the order shown is drawn from the texts; always answering "A" must be at chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tempo_core.benchmarks import figures
from tempo_core.benchmarks.folders import Folder, VideoName
from tempo_core.benchmarks.in_files import FileBenchmark
from tempo_core.benchmarks.items import Annotations, Item
from tempo_core.benchmarks.rows import read as read_rows

ASPECTS = ("Direction", "Intensity", "Localization", "Sequence", "Compositionality", "Type")
SOURCES = ("MSRVTT", "VATEX")


def read(folder: Folder) -> Annotations:
    files = folder.some((f"{aspect}.jsonl" for aspect in ASPECTS), "VITATECS")
    absent = [aspect for aspect in ASPECTS if aspect not in {path.stem for path in files}]
    notes = (f"aspects without a file: {', '.join(absent)}",) if absent else ()
    return Annotations(tuple(item for path in files for item in _aspect(path)), tuple(files), notes)


def _aspect(path: Path) -> Iterator[Item]:
    for row in read_rows(path):
        true, changed = row.text("caption"), row.text("counterfactual")
        name, source = row.text("video_name"), row.one_of("src_dataset", SOURCES)
        aspect = row.one_of("aspect", (path.stem,))
        second = hashlib.sha256(f"{name}\n{true}\n{changed}".encode()).digest()[0] % 2
        options = (changed, true) if second else (true, changed)
        video = VideoName.of(name, source)
        yield Item(video, "Which caption fits the video?", options, (second,), (aspect.casefold(),), video.stem)


benchmark = FileBenchmark("vitatecs", read, figures.by_task)
