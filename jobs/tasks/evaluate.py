"""Measure before and after: the base model, and a run's model after each of its phases, on the held-out videos.

What was measured already on the same held-out set with the same settings is not measured again.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import datasets, evaluations, models, runs, timelines
from db.datasets import DatasetCard, FrozenPair
from db.runs import RunCard, StageLine
from db.session import Database
from jobs.child import Report
from jobs.payloads import EvaluatePayload
from jobs.tasks import JobRef
from tempo_core import benchmarks, video_llms
from tempo_core.benchmarks.base import HeldOutVideo, Material
from tempo_core.errors import TooFew
from tempo_core.pictures import Pictures
from tempo_core.types import JsonDict, Progress
from tempo_core.video_llms import checkpoints


@dataclass(frozen=True, slots=True)
class Moment:
    """A model to measure: the base with the links merged that were there at this moment."""

    name: str
    run_id: int | None
    links: tuple[StageLine, ...]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What all moments share."""

    base: Path
    model_id: int
    moments: tuple[Moment, ...]
    version: DatasetCard


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Every benchmark that has something to ask, on every moment."""
    payload = job.payload
    if not isinstance(payload, EvaluatePayload):
        raise ValueError(f"evaluate was given {type(payload).__name__}")
    subject = _subject(database, payload)
    material = _material(database, subject.version, job, payload)
    wanted = payload.benchmarks or tuple(benchmarks.BENCHMARKS)
    done: dict[str, int] = {}
    for n, moment in enumerate(subject.moments):
        measured = _measure(database, job, subject, moment, material, wanted, payload, _part(report, n, subject))
        done[moment.name] = measured
        print(f"{moment.name}: {measured} new figures", flush=True)
    return {"version": subject.version.id, "new_figures": done}


def _subject(database: Database, payload: EvaluatePayload) -> _Subject:
    if payload.run_id is not None:
        with database.reading() as session:
            card = runs.get(session, payload.run_id)
            base = models.get(session, card.base_model_id)
            moments = (Moment("base", None, ()), *_moments(card, runs.stages(session, card.id)))
            version = _version(session, payload.version_id or card.dataset_version_id)
        return _Subject(Path(base.path), base.id, moments, version)
    checkpoint = checkpoints.inspect(Path(payload.model or ""))
    with database.session() as session:
        model_id = models.register(
            session, checkpoint.path, checkpoint.family, checkpoint.files_sha256, checkpoint.name
        )
        version = _version(session, payload.version_id)
    return _Subject(checkpoint.path, model_id, (Moment("base", None, ()),), version)


def _version(session: Any, version_id: int | None) -> DatasetCard:
    if version_id is not None:
        return datasets.get(session, version_id)
    frozen = datasets.listing(session)
    if not frozen:
        raise TooFew("Nothing is held out yet: freeze a dataset version of five videos or more, then evaluate.")
    return frozen[0]


def _moments(card: RunCard, stages: Sequence[StageLine]) -> Iterator[Moment]:
    """After each phase whose stages are all there; named by what was trained so far, such as "dpo" and "dpo+sft"."""
    finished = [stage for stage in stages if stage.adapter is not None]
    if not finished:
        raise TooFew(f"Run {card.id} has finished no stage yet, so there is nothing to measure. Wait, or resume it.")
    for i, stage in enumerate(finished):
        if i + 1 == len(finished) or finished[i + 1].phase != stage.phase:
            phases = list(dict.fromkeys(s.phase for s in finished[: i + 1]))
            yield Moment("+".join(phases), card.id, tuple(finished[: i + 1]))


def _material(database: Database, version: DatasetCard, job: JobRef, payload: EvaluatePayload) -> Material:
    """The held-out videos of the version and their pairs."""
    with database.reading() as session:
        frozen = datasets.items(session, version.id, "held_out")
        kept = {v.video_id: v for v in timelines.kept(session, {item.video_id for item in frozen} or None)}
    if not frozen:
        raise TooFew(
            f"{version.name} {version.number} holds nothing out: it has {version.n_videos} videos, and five are needed."
        )
    videos = tuple(
        HeldOutVideo(v.video, v.times_sha256, tuple(clip.key_frames for clip in v.timeline.timeline))
        for v in (kept[i] for i in dict.fromkeys(item.video_id for item in frozen) if i in kept)
    )
    return Material(
        videos=videos[: payload.limit],
        pairs=tuple(_spread(frozen)[: payload.limit and payload.limit * 8]),
        pictures=Pictures(job.home.cache, None).get,
        seed=payload.seed,
    )


def _spread(frozen: Sequence[FrozenPair]) -> list[Any]:
    """Pairs in the order of their uid, so that a limit takes some of every video."""
    return [item.pair for item in sorted(frozen, key=lambda item: item.pair.uid)]


def _part(report: Report, n: int, subject: _Subject) -> Any:
    """Progress of one moment as a share of all of them."""

    def told(progress: Progress) -> None:
        total = progress.total * len(subject.moments)
        report(Progress(progress.done + n * progress.total, total, f"{subject.moments[n].name}: {progress.text}"))

    return told


def _measure(
    database: Database,
    job: JobRef,
    subject: _Subject,
    moment: Moment,
    material: Material,
    wanted: Sequence[str],
    payload: EvaluatePayload,
    report: Any,
) -> int:
    settings = {"dataset": subject.version.content_sha256, "limit": payload.limit, "seed": payload.seed}
    with database.reading() as session:
        known = evaluations.measured(session, subject.model_id, moment.run_id, moment.name, settings)
    missing = [name for name in wanted if name not in known]
    if not missing:
        return 0
    llm = _load(subject.base, moment, job)
    shrunk = Material(material.videos, material.pairs, Pictures(job.home.cache, llm.long_side).get, material.seed)
    n_new = 0
    for name in missing:
        try:
            scores = benchmarks.load(name).run(llm, shrunk, report)
        except TooFew as error:
            if payload.benchmarks:
                raise
            print(f"{name} was left out: {error}", flush=True)
            continue
        with database.session() as session:
            evaluations.record(
                session, scores, subject.model_id, settings, run_id=moment.run_id, moment=moment.name, job_id=job.id
            )
        n_new += len(scores)
    return n_new


def _load(base: Path, moment: Moment, job: JobRef) -> Any:
    if not moment.links:
        return video_llms.load(base)
    chain = importlib.import_module("tempo_core.training.chain")
    links = [
        chain.Link(s.ordinal, s.name, s.phase, job.home.root / str(s.adapter), str(s.manifest_sha256))
        for s in moment.links
    ]
    return chain.load(base, links)
