"""A writer of reviews is killed.

Each round starts a process that decides about pairs as the desk does and says each token once it is committed; it is
killed with SIGKILL in the middle of its work, and the file is checked.
"""

from __future__ import annotations

import contextlib
import random
import time
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

from benchmarks.trust import databases, reviewers
from benchmarks.trust.rows import Row, none_of

N_PAIRS = 5
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["benchmarks.trust.reviewers"])


def measure(scratch: Path, effort: float) -> list[Row]:
    rows = []
    for synchronous, n in (("FULL", 100), ("NORMAL", 50)):
        path = databases.with_pairs(scratch / synchronous, N_PAIRS)
        rows += killed(path, max(3, round(n * effort)), synchronous)
    return rows


def killed(path: Path, n_rounds: int, synchronous: str = "FULL", seed: int = 0) -> list[Row]:
    """What became of the reviews and of the file over so many killed writers."""
    acknowledged: set[str] = set()
    damaged, rng = [], random.Random(seed)
    for number in range(n_rounds):
        acknowledged |= _round(PROCESSES, path, f"{synchronous}-{number}", synchronous, rng)
        damaged += databases.faults(path)
    stored = databases.tokens(path)
    what = f"kill -9 of a writer of reviews, {n_rounds} rounds, synchronous {synchronous}"
    late = f"{len(stored - acknowledged)} were committed and not yet acknowledged"
    return [
        none_of(f"{what} ({late})", len(acknowledged - stored), len(acknowledged), "acknowledged reviews lost"),
        none_of(f"the file after each round, synchronous {synchronous}", len(damaged), n_rounds, "rounds left a fault"),
    ]


def _round(processes: ForkServerContext, path: Path, name: str, synchronous: str, rng: random.Random) -> set[str]:
    """The tokens that a writer acknowledged before it was killed."""
    heard, said = processes.Pipe(duplex=False)
    writer = processes.Process(target=reviewers.write, args=(path, N_PAIRS, name, said, synchronous), daemon=True)
    writer.start()
    said.close()
    found = [heard.recv() for _ in range(rng.randint(1, 40))]
    time.sleep(rng.random() * 0.02)
    writer.kill()
    with contextlib.suppress(EOFError, OSError):
        while True:
            found.append(heard.recv())
    writer.join(30)
    return set(found)
