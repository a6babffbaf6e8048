"""How fast are lists of 100,000 pairs: pages, searches, counts, facets, the scatter and the preview of a bulk decision.

The database is drawn here, seeded; filters vary over every facet, levels, ranges and words, and pages lie anywhere. The
first read of a server process, when the columns are not in memory yet, is told by itself (`first_read_ms`).

Run: python benchmarks/pairs.py [--json] [--pairs 100000] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import many_pairs
from db import bulk, difficulties, pair_points, pairs, people
from db.pair_filters import PairFilter
from db.session import Database
from tempo_core.settings import Home

TARGETS = {"page_p95_ms": "<= 10", "search_p95_ms": "<= 25", "counts_p95_ms": "<= 50"}
WORDS = ("kettle", "red kettle", "the", "bridge stone", "writes blackb", "yellow dog harbour", "onion", "zebra",
         "turns the key", "baba", "camera pans crowd")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=200, help="questions of each sort")
    parser.add_argument("--keep", type=Path, help="a folder to keep the database in, and to find it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(arguments.keep or Path(folder))
        figures = measure(home, arguments.pairs, arguments.repeats)
    for name, value in figures.items():
        print(f"{name:28s} {value:10.2f}   {TARGETS.get(name, '')}")
    if arguments.json:
        print(json.dumps(figures))


def measure(home: Home, n_pairs: int, repeats: int) -> dict[str, float]:
    start = time.perf_counter()
    known = home.database.exists()
    database = Database.of(home) if known else many_pairs.build(home, n_pairs)
    figures = {"pairs": float(n_pairs), "build_s": time.perf_counter() - start, "load": os.getloadavg()[0]}
    with database.reading() as session:
        person = people.local(session)
    ask = _Asking(database)
    figures["first_read_ms"] = ask.once(pairs.facets)
    ask.once(lambda s: pairs.page(s, order="hardest"))
    pages, searches = list(_filters(repeats, n_pairs, "")), list(_filters(repeats, n_pairs, "search"))
    measured: dict[str, list[float]] = {
        "page": [ask.once(lambda s, w=w, k=k: pairs.listed(s, w, after=k)) for w, k in pages],
        "hardest": [ask.once(lambda s, w=w, k=k: pairs.listed(s, w, after=(k / n_pairs, k), order="hardest"))
                    for w, k in pages],
        "search": [ask.once(lambda s, w=w, k=k: pairs.listed(s, w, after=k)) for w, k in searches],
        "counts": [ask.once(lambda s, w=w: pairs.facets(s, w)) for w, _k in pages + searches],
        "level_page": [ask.once(lambda s, n=n: pairs.listed(s, PairFilter(levels=(n % 4 + 1,)))) for n in range(40)],
        "deep_page": [ask.once(lambda s, n=n: pairs.listed(s, after=n_pairs - 51 - n)) for n in range(40)],
        "other_levels_page": [
            ask.once(lambda s, n=n: pairs.listed(s, PairFilter(levels=(2,), thresholds=(0.2, 0.3 + n / 100, 0.9))))
            for n in range(40)
        ],
        "histogram": [ask.once(difficulties.histogram) for _ in range(20)],
        "scatter": [ask.once(lambda s, w=w: pair_points.points(s, w)) for w, _k in pages[:20]],
        "bulk_preview": [ask.once(lambda s, w=w: bulk.preview(s, person, w, "accepted")) for w, _k in pages[:20]],
    }  # fmt: skip
    for name, values in measured.items():
        figures[f"{name}_p50_ms"], figures[f"{name}_p95_ms"] = np.percentile(values, (50, 95)).tolist()
    figures["load_after"] = os.getloadavg()[0]
    database.close()
    return figures


class _Asking:
    """Questions, each in a snapshot of its own, as a page asks them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def once(self, verb: Callable[[Any], Any]) -> float:
        """Milliseconds from opening the snapshot to the answer."""
        start = time.perf_counter()
        with self.database.reading() as session:
            verb(session)
        return (time.perf_counter() - start) * 1000


def _filters(n: int, n_pairs: int, search: str) -> Iterator[tuple[PairFilter, int]]:
    """(filter, id that the page begins after): one to three facets at a time."""
    rng = np.random.default_rng(len(search))
    low = rng.random(n) * 0.7
    choices: tuple[Callable[[int], dict[str, Any]], ...] = (
        lambda i: {"status": ("pending", "accepted", "rejected", "flagged", "filtered")[i % 5]},
        lambda i: {"kinds": (("drop",), ("shuffle", "reverse"))[i % 2]},
        lambda i: {"magnitudes": (2 ** (1 + i % 4),)},
        lambda i: {"levels": ((1,), (2, 3), (4,))[i % 3]},
        lambda i: {"difficulty": (low[i], low[i] + 0.02 + 0.2 * (i % 2))},
        lambda i: {"length_ratio": (1.0 + low[i], 1.1 + low[i])},
        lambda i: {"rule": many_pairs.RULES[i % 4]},
        lambda i: {"input": ("captions", "video")[i % 2]},
        lambda i: {"by": ("person", "bulk")[i % 2]},
        lambda i: {"edited": True},
        lambda i: {"video_id": 1 + i % 50},
        lambda i: {},
    )
    for i in range(n):
        fields: dict[str, Any] = {}
        for which in rng.choice(len(choices), 1 + i % 3, replace=False):
            fields |= choices[which](i)
        if search:
            fields["search"] = WORDS[i % len(WORDS)]
        yield PairFilter(**fields), int(rng.integers(0, n_pairs)) if i % 2 else 0


if __name__ == "__main__":
    main()
