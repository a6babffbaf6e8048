"""Judge scanned videos again under other thresholds, from what was measured: no file is read, nothing is decoded.

Only which timeline is the current one changes. Plans and pairs keep the timeline that they were made on.
"""

from __future__ import annotations

from db import timelines, videos
from db.session import Database
from jobs.child import Report
from jobs.payloads import JudgePayload
from jobs.tasks import JobRef
from jobs.tasks.scan import alike, thresholds
from tempo_core.errors import MediaError, TooFew
from tempo_core.measures import load_measures, measures_path
from tempo_core.timeline import Richness, judge, timeline_sha256
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Judge each video and record it as it is done; a resumed job goes over the same videos again in a moment."""
    payload = job.payload
    if not isinstance(payload, JudgePayload):
        raise ValueError(f"judge was given {type(payload).__name__}")
    richness = thresholds(payload.richness)
    with database.reading() as session:
        scanned = videos.scanned(session, payload.video_ids or None)
    if not scanned:
        raise TooFew("None of these videos was scanned, so there is nothing to judge. Scan a folder first.")
    counts = {"kept": 0, "left_out": 0, "not_measured": 0}
    for n, (video_id, name, sha256, times_sha256) in enumerate(scanned, start=1):
        verdict = _judge(database, job, richness, video_id, sha256, times_sha256)
        counts[verdict] += 1
        report(Progress(n, len(scanned), f"{n} of {len(scanned)}: {name}"))
    return {"videos": len(scanned), **counts}


def _judge(database: Database, job: JobRef, richness: Richness, video_id: int, sha256: str, times_sha256: str) -> str:
    try:
        measures = load_measures(measures_path(job.home.cache, sha256))
    except MediaError as error:
        print(f"video {video_id}: {error}", flush=True)
        return "not_measured"
    judgement = judge(measures, richness)
    content = timeline_sha256(sha256, times_sha256, judgement.timeline)
    between = alike(measures, judgement)
    with database.session() as session:
        timelines.record(session, video_id, richness, judgement, content, between)
    return "kept" if judgement.kept else "left_out"
