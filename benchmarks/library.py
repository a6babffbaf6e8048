"""How long the first page and the library take with many videos: `python benchmarks/library.py --json`.

A studio of 5,000 made-up videos (20 shots each, likeness stored) is built in a temporary folder;
nothing is decoded. Each figure is the 95th percentile of 20 repetitions, in milliseconds, but for what is said in s.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sqlalchemy import insert  # noqa: E402

from db import overview, places, recounts, videos  # noqa: E402
from db.migrate import create_all  # noqa: E402
from db.session import Database  # noqa: E402
from db.tables import (  # noqa: E402
    LibraryRow,
    LocationRow,
    SegmentationRow,
    TimelineRow,
    VideoRow,
)
from tempo_core import copies  # noqa: E402
from tempo_core.timeline import Richness  # noqa: E402

N_SHOTS, N_TINY = 20, 60
PARAMS = {"min_shot_s": 0.2, "blank_contrast": 10, "likeness": 0.85, "detector": {}}


def build(database: Database, n: int) -> None:
    """Rows as a scan leaves them."""
    rng = np.random.default_rng(0)
    create_all(database)
    with database.session() as session:
        session.execute(insert(LibraryRow), [{"root": "/nowhere", "name": "nowhere", "created_ms": 0}])
        for start in range(0, n, 500):
            part = range(start + 1, min(n, start + 500) + 1)
            session.execute(insert(VideoRow), [_video(i) for i in part])
            session.execute(insert(LocationRow), [_place(i) for i in part])
            session.execute(insert(SegmentationRow), [_segmentation(i, rng) for i in part])
            session.execute(insert(TimelineRow), [_timeline(i, rng) for i in part])


def _video(i: int) -> dict[str, Any]:
    return {
        "id": i, "sha256": f"{i:064d}", "name": f"video {i}.mp4", "size_bytes": 1000 + i, "duration_s": 20.0,
        "n_frames": 500, "fps_num": 25, "fps_den": 1, "width": 320, "height": 240, "times_sha256": "t", "status": "ok",
        "reason": None, "message": None, "probe": {"codec": "h264"}, "created_ms": 0,
    }  # fmt: skip


def _place(i: int) -> dict[str, Any]:
    return {"library_id": 1, "rel_path": f"{i // 100}/video {i}.mp4", "video_id": i, "seen_ms": 0}


def _segmentation(i: int, rng: np.random.Generator) -> dict[str, Any]:
    alike = rng.random((N_SHOTS, N_SHOTS), np.float32)
    alike = np.maximum(alike, alike.T) * 0.95
    np.fill_diagonal(alike, 1)
    return {
        "id": i, "video_id": i, "config_sha256": "c", "detector": "adaptive", "params": {}, "shots": [],
        "n_shots": N_SHOTS, "likeness": alike.astype(np.float32).tobytes(), "created_ms": 0,
    }  # fmt: skip


def _timeline(i: int, rng: np.random.Generator) -> dict[str, Any]:
    n_clips = int(rng.integers(2, N_SHOTS))
    codes = ("too_few_shots", "too_many_shots", "shot_too_long", "too_few_clips", "group_dominates")
    values = (N_SHOTS, N_SHOTS, 3.0, n_clips, 2)
    fell = "too_few_clips" if n_clips < 4 else None
    of = zip(codes, values, strict=True)
    rules = [{"code": code, "passed": code != fell, "value": value, "limit": 4} for code, value in of]
    return {
        "id": i, "segmentation_id": i, "video_id": i, "config_sha256": "c", "params": PARAMS, "sha256": f"s{i}",
        "shots": [[k * 25, k * 25 + 25, 1.0, 90, None, k] for k in range(N_SHOTS)], "clips": [], "n_shots": N_SHOTS,
        "n_clips": n_clips, "n_groups": n_clips, "rules": rules, "left_out_by": fell,
        "left_out_value": n_clips if fell else None, "left_out_limit": 4 if fell else None,
        "likeness": None, "current": True, "created_ms": 0,
    }  # fmt: skip


def _scenes(n: int, rng: np.random.Generator) -> np.ndarray:
    """A tiny picture for each shot: four fields of one colour each, (n, shots, 1, 144)."""
    fields = rng.integers(0, 255, (n, N_SHOTS, 2, 1, 2, 1, 3), np.uint8)
    return fields.repeat(3, axis=3).repeat(4, axis=5).reshape(n, N_SHOTS, 1, 144)


def p95(work: Callable[[], Any], n: int = 20) -> float:
    times = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1000 * sorted(times)[int(0.95 * n)], 2)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 2)


def measure(database: Database, n: int) -> dict[str, float]:
    def read(verb: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[[], Any]:
        def work() -> Any:
            with database.reading() as session:
                return verb(session, *arguments, **named)

        return work

    known = read(recounts.measured)()
    shots = read(recounts.shots)()
    limits, other = Richness(min_shots=6, max_shot_s=2.0), Richness(likeness=0.7)
    rng = np.random.default_rng(1)
    scenes = _scenes(n, rng)
    tiny = {i: np.repeat(scenes[i], N_TINY // N_SHOTS, axis=1).reshape(N_TINY, 144) for i in range(n)}
    return {
        "overview_p95_ms": p95(read(overview.stand)),
        "funnel_p95_ms": p95(read(videos.funnel)),
        "page_p95_ms": p95(read(videos.listing, after_id=n // 2)),
        "page_of_a_rule_p95_ms": p95(read(videos.listing, rule="too_few_clips", after_id=n // 2)),
        "page_by_name_p95_ms": p95(read(videos.listing, search=str(n - 1))),
        "limits_recount_p95_ms": p95(lambda: recounts.change(known, known.counts, limits)),
        "read_values_once_ms": p95(read(recounts.measured), 3),
        "read_shots_once_ms": p95(read(recounts.shots), 3),
        "likeness_recount_s": seconds(lambda: recounts.regrouped(known, shots, replace(other))),
        "folder_gone_p95_ms": p95(read(places.folders)),
        "copies_s": seconds(lambda: copies.matches(tiny)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(Path(folder) / "tempo.db")
        build(database, args.videos)
        figures = measure(database, args.videos)
        database.close()
    print(json.dumps(figures) if args.json else "\n".join(f"{name:24} {value}" for name, value in figures.items()))


main()
