"""What a model is measured on. A benchmark is one file and one line here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from tempo_core.benchmarks.base import Benchmark
from tempo_core.errors import Unknown

if TYPE_CHECKING:
    from tempo_core.benchmarks.in_files import FileBenchmark

BENCHMARKS = {
    "drawn_world": "tempo_core.benchmarks.drawn_world",
    "held_out_preference": "tempo_core.benchmarks.held_out_preference",
    "own_order": "tempo_core.benchmarks.own_order",
    "order_sensitivity": "tempo_core.benchmarks.order_sensitivity",
    "short_answers": "tempo_core.benchmarks.short_answers",
    "canary": "tempo_core.benchmarks.canary",
}
"""Asked about the held-out videos of a dataset version."""

IN_FILES = {
    "tempcompass": "tempo_core.benchmarks.tempcompass",
    "vinoground": "tempo_core.benchmarks.vinoground",
    "tvbench": "tempo_core.benchmarks.tvbench",
    "mvbench": "tempo_core.benchmarks.mvbench",
    "tomato": "tempo_core.benchmarks.tomato",
    "vitatecs": "tempo_core.benchmarks.vitatecs",
    "next_qa": "tempo_core.benchmarks.next_qa",
    "mlvu": "tempo_core.benchmarks.mlvu",
    "video_mme": "tempo_core.benchmarks.video_mme",
}
"""Asked about the videos of a local folder that holds the official annotation files."""


def load(name: str) -> Benchmark:
    """The benchmark of that name on held-out videos; its module is imported only now."""
    check(name)
    benchmark: Benchmark = importlib.import_module(BENCHMARKS[name]).benchmark
    return benchmark


def load_in_files(name: str) -> FileBenchmark:
    """The benchmark of that name on a folder of files."""
    check(name)
    benchmark: FileBenchmark = importlib.import_module(IN_FILES[name]).benchmark
    return benchmark


def named_in(folder: Path) -> tuple[str, ...]:
    """Benchmarks in files after which this folder, or one in it, is named: files of several are named alike."""
    inside = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    there = {_plain(part) for part in (folder.name, *inside)}
    return tuple(name for name in IN_FILES if _plain(name) in there)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def check(name: str) -> None:
    """Raises: Unknown, for a name in neither table."""
    if name not in BENCHMARKS and name not in IN_FILES:
        raise Unknown(f"There is no benchmark {name!r}; known are {', '.join((*BENCHMARKS, *IN_FILES))}.")
