"""A writer of reviews is killed.

Each round starts a process that decides about pairs as the desk does and says each token once it is committed; it is
killed with SIGKILL in the middle of its work, and the file is checked.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.trust import databases
from benchmarks.trust.reviewers import Writer
from benchmarks.trust.rows import Row, none_of

N_PAIRS = 5


def measure(scratch: Path, effort: float) -> list[Row]:
    rows = []
    for synchronous, n in (("FULL", 100), ("NORMAL", 50)):
        path = databases.with_pairs(scratch / synchronous, N_PAIRS)
        rows += killed(path, max(3, round(n * effort)), synchronous)
    return rows


def killed(path: Path, n_rounds: int, synchronous: str = "FULL", seed: int = 0) -> list[Row]:
    """What became of the reviews and of the file over so many killed writers."""
    rng, damaged = random.Random(seed), 0
    writer = Writer(path, N_PAIRS, synchronous)
    for number in range(n_rounds):
        if number:
            writer.start()
        writer.listen(rng.randint(1, 40))
        time.sleep(rng.random() * 0.02)
        writer.kill()
        damaged += bool(databases.faults(path))
    stored = databases.tokens(path)
    late = f"{len(stored - writer.acknowledged)} were committed and not yet acknowledged"
    what = f"kill -9 of a writer of reviews, {n_rounds} rounds, synchronous {synchronous} ({late})"
    lost, n = len(writer.acknowledged - stored), len(writer.acknowledged)
    return [
        none_of(what, lost, n, "acknowledged reviews lost"),
        none_of(f"the file after each round, synchronous {synchronous}", damaged, n_rounds, "rounds left a fault"),
    ]
