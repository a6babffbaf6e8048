"""Draw videos of the embedded world as real files below `media/`, and send them through the ordinary scan."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from db.session import Database
from jobs.child import Report
from jobs.payloads import DrawPayload, ScanPayload
from jobs.tasks import JobRef, scan
from tempo_core import worlds
from tempo_core.errors import NoSpace
from tempo_core.settings import Home
from tempo_core.types import JsonDict, Progress

LIBRARY = "Drawn world"


def folder_of(home: Home, seed: int) -> Path:
    return home.media / f"drawn_world_{seed}"


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Write the videos that are not there yet, then scan the folder."""
    payload = job.payload
    if not isinstance(payload, DrawPayload):
        raise ValueError(f"draw was given {type(payload).__name__}")
    folder = folder_of(job.home, payload.seed)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(payload.n_videos) if not (folder / f"{i:04}.mp4").exists()]
    # Closed at once when a person stops the job: what waits in the pool must not be drawn any more.
    with contextlib.closing(_drawn(payload.seed, missing, folder)) as drawn:
        for n, _ in enumerate(drawn, start=1):
            report(Progress(n, len(missing), f"{n} of {len(missing)} videos drawn"))
    scanned = scan.run(database, replace(job, payload=ScanPayload(str(folder), LIBRARY)), report)
    return {**scanned, "new": len(missing)}


def _drawn(seed: int, indices: list[int], folder: Path) -> Generator[int]:
    """Draw on every core. Spawned, because a forked child would inherit the database's connections."""
    if not indices:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(indices)), mp_context=context) as pool:
        futures = [pool.submit(_draw, seed, index, folder) for index in indices]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _draw(seed: int, index: int, folder: Path) -> int:
    """One video, under a temporary name until it is whole."""
    path, half = folder / f"{index:04}.mp4", folder / f".{index:04}.part"
    try:
        worlds.write(worlds.spec(seed, index), half)
        os.replace(f"{half}.json", f"{path}.json")
        os.replace(half, path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise NoSpace(f"{path} could not be written: {error}. Free some space, then start the job again.") from error
    return index
