"""Scan a folder: every video is kept, or refused with the rule and the value; nothing is skipped in silence.

A file scanned before is judged again from its stored measurements, without decoding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db import timelines, videos
from db.session import Database
from jobs.child import Report
from jobs.payloads import ScanPayload
from jobs.tasks import JobRef
from tempo_core import folders, likeness, render
from tempo_core.errors import BadThresholds, MediaError
from tempo_core.measures import Measures, load_measures
from tempo_core.scan import ScanResult, scan_many
from tempo_core.settings import Home
from tempo_core.timeline import Judgement, Richness, judge, timeline_sha256
from tempo_core.types import JsonDict, Progress, Shot

MAX_STORED_SHOTS = 128
"""64 KiB of likeness a video; with more shots it has failed `too_many_shots` long before."""


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Scan, judge and record each video as it is done; a resumed job finds what was measured."""
    payload = job.payload
    if not isinstance(payload, ScanPayload):
        raise ValueError(f"scan was given {type(payload).__name__}")
    root, richness = folders.folder(payload.folder), thresholds(payload.richness)
    paths = folders.found(root)
    with database.session() as session:
        library_id = videos.library(session, root, payload.library)
    kept: list[ScanResult] = []
    counts = {"kept": 0, "left_out": 0, "refused": 0, "decoded_frames": 0}
    processes = min(payload.processes or os.cpu_count() or 1, len(paths))
    results = scan_many(paths, job.home.cache, processes=processes, root=root)
    for n, (path, result) in enumerate(results, start=1):
        line = _record(database, library_id, root, path, result, richness, counts)
        print(line, flush=True)
        report(Progress(n, len(paths), line))
        if isinstance(result, ScanResult) and line.startswith("kept"):
            kept.append(result)
    with database.session() as session:
        counts["missing"] = videos.mark_absent(session, library_id, {str(p.relative_to(root)) for p in paths})
    counts["proxies"] = _proxies(job.home, kept, report)
    return {"folder": str(root), "videos": len(paths), **counts}


def thresholds(changed: Mapping[str, float]) -> Richness:
    """The default thresholds with the changed ones."""
    whole = {entry.name: isinstance(getattr(Richness(), entry.name), int) for entry in fields(Richness)}
    unknown = sorted(set(changed) - set(whole) | ({"detector"} & set(changed)))
    if unknown:
        known = ", ".join(sorted(set(whole) - {"detector"}))
        raise BadThresholds(f"There is no threshold {unknown[0]!r}; there are {known}.")
    values: dict[str, Any] = {k: int(v) if whole[k] else v for k, v in changed.items()}
    return replace(Richness(), **values)


def _record(
    database: Database,
    library_id: int,
    root: Path,
    path: Path,
    result: ScanResult | MediaError,
    richness: Richness,
    counts: dict[str, int],
) -> str:
    """Write one video's outcome; the line that tells it."""
    rel_path = str(path.relative_to(root))
    if isinstance(result, MediaError):
        with database.session() as session:
            videos.record_failure(session, library_id, rel_path, None, result.code, str(result))
        counts["refused"] += 1
        return f"refused  {rel_path}: {result.code}: {result}"
    measures = load_measures(result.measures_path)
    judgement = judge(measures, richness)
    sha256 = timeline_sha256(result.video.sha256, result.times_sha256, judgement.timeline)
    with database.session() as session:
        video_id = videos.record(session, library_id, rel_path, result.video, result.times_sha256, result.probe)
        timelines.record(session, video_id, richness, judgement, sha256, alike(measures, judgement))
    counts["decoded_frames"] += result.n_decoded
    counts["kept" if judgement.kept else "left_out"] += 1
    return _told(rel_path, judgement)


def alike(measures: Measures, judgement: Judgement) -> NDArray[np.float32] | None:
    """How alike all shots are (n, n), so that the likeness slider recounts at once; None where there are too many."""
    if not 0 < len(judgement.shots) <= MAX_STORED_SHOTS:
        return None
    return likeness.matrix(measures, [Shot(shot.start, shot.end) for shot in judgement.shots])


def _proxies(home: Home, kept: Sequence[ScanResult], report: Report) -> int:
    """A copy for the review page of each kept video that a browser cannot play or step quickly."""
    wanted = [r for r in kept if not r.probe["browser"]["source_ok"] and not home.proxy(r.video.sha256).exists()]
    for n, result in enumerate(wanted, start=1):
        out, name = home.proxy(result.video.sha256), result.video.path.name
        out.parent.mkdir(parents=True, exist_ok=True)
        half = out.with_suffix(".part.mp4")
        render.write_proxy(result.video.path, half, load_measures(result.measures_path))
        os.replace(half, out)
        why = ", ".join(result.probe["browser"]["why"])
        report(Progress(n, len(wanted), f"made a copy of {name} for the browser ({why})"))
    return len(wanted)


def _told(rel_path: str, judgement: Judgement) -> str:
    if judgement.kept:
        return f"kept     {rel_path}: {len(judgement.shots)} shots, {len(judgement.timeline)} clips"
    limit = next(rule.limit for rule in judgement.rules if rule.code == judgement.left_out_by)
    return f"left out {rel_path}: {judgement.left_out_by}, {_number(judgement.left_out_value)} (limit {_number(limit)})"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"
