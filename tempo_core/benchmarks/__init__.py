"""What a model is measured on. A benchmark is one file and one line here."""

from __future__ import annotations

import importlib

from tempo_core.benchmarks.base import Benchmark
from tempo_core.errors import Unknown

BENCHMARKS = {
    "drawn_world": "tempo_core.benchmarks.drawn_world",
    "held_out_preference": "tempo_core.benchmarks.held_out_preference",
}


def load(name: str) -> Benchmark:
    """The benchmark of that name; its module is imported only now."""
    if name not in BENCHMARKS:
        raise Unknown(f"There is no benchmark {name!r}; known are {', '.join(BENCHMARKS)}.")
    benchmark: Benchmark = importlib.import_module(BENCHMARKS[name]).benchmark
    return benchmark
