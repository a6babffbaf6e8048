"""Measure before and after: the base model, and a run's model after each of its phases.

Asked are the held-out videos of a dataset version, and folders of public benchmarks. What was measured already on the
same questions with the same settings is not measured again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import datasets, evaluations, models, runs, timelines
from db.datasets import DatasetCard, FrozenPair
from db.session import Database
from jobs.child import Report
from jobs.payloads import EvaluatePayload
from jobs.tasks import JobRef, in_files, moments
from jobs.tasks.moments import Moment
from tempo_core import benchmarks, question_sheets
from tempo_core.benchmarks.base import HeldOutVideo, Material
from tempo_core.errors import TooFew
from tempo_core.pictures import Pictures
from tempo_core.types import JsonDict, Progress, Score
from tempo_core.video_llms import checkpoints

if TYPE_CHECKING:
    from tempo_core.benchmarks.in_files import Opened


@dataclass(frozen=True, slots=True)
class _Subject:
    """What all moments share."""

    base: Path
    model_id: int
    moments: tuple[Moment, ...]
    version: DatasetCard | None
    """None where nothing is frozen, which benchmarks in files do not need."""
    trained_version_id: int | None


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Every benchmark that has something to ask, on every moment."""
    payload = job.payload
    if not isinstance(payload, EvaluatePayload):
        raise ValueError(f"evaluate was given {type(payload).__name__}")
    opened = in_files.opened(payload)
    wanted = tuple(n for n in payload.benchmarks or benchmarks.BENCHMARKS if n in benchmarks.BENCHMARKS)
    subject = _subject(database, payload, needs_version=bool(wanted) and not (opened and not payload.benchmarks))
    asked = _of_version(database, subject, job, payload, wanted)
    asked += _of_files(database, subject, job, payload, opened)
    done: dict[str, int] = {}
    for n, moment in enumerate(subject.moments):
        done[moment.name] = _measure(database, job, subject, moment, asked, payload, _part(report, n, subject))
        print(f"{moment.name}: {done[moment.name]} new figures", flush=True)
    found = {o.name: f"{len(o.videos)} of {o.n_named} videos" for o in opened}
    version = {} if subject.version is None or not wanted else {"version": subject.version.id}
    return {**version, **found, "new_figures": done}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One benchmark with what it asks and the settings that its scores are kept under."""

    name: str
    settings: JsonDict
    of: Material | Opened


def _of_version(
    database: Database, subject: _Subject, job: JobRef, payload: EvaluatePayload, wanted: Sequence[str]
) -> list[_Asked]:
    """The benchmarks on held-out videos."""
    if not wanted or subject.version is None:
        return []
    try:
        material = _material(database, subject.version, job, payload)
    except TooFew as error:
        if payload.benchmarks or payload.data is None:
            raise
        print(f"{' and '.join(wanted)} were left out: {error}", flush=True)
        return []
    settings = {"dataset": subject.version.content_sha256, "limit": payload.limit, "seed": payload.seed}
    return [_Asked(name, settings, material) for name in wanted]


def _of_files(
    database: Database, subject: _Subject, job: JobRef, payload: EvaluatePayload, opened: Sequence[Opened]
) -> list[_Asked]:
    """The benchmarks on a folder of files."""
    asked = []
    for found in opened:
        in_files.tell(found, job.folder)
        version_id, allowed = subject.trained_version_id, payload.allow_contaminated
        contaminated = in_files.trained_on(database, found, version_id, allowed=allowed)
        asked.append(_Asked(found.name, in_files.settings(found, payload, contaminated), found))
    return asked


def _subject(database: Database, payload: EvaluatePayload, *, needs_version: bool) -> _Subject:
    if payload.run_id is not None:
        with database.reading() as session:
            card = runs.get(session, payload.run_id)
            base = models.get(session, card.base_model_id)
            found = (moments.BASE, *moments.of_run(session, card))
            version = _version(session, payload.version_id or card.dataset_version_id, needed=needs_version)
        return _Subject(Path(base.path), base.id, found, version, card.dataset_version_id)
    checkpoint = checkpoints.inspect(Path(payload.model or ""))
    with database.session() as session:
        model_id = models.register(
            session, checkpoint.path, checkpoint.family, checkpoint.files_sha256, checkpoint.name
        )
        version = _version(session, payload.version_id, needed=needs_version)
    return _Subject(checkpoint.path, model_id, (moments.BASE,), version, None)


def _version(session: Any, version_id: int | None, *, needed: bool) -> DatasetCard | None:
    if version_id is not None:
        return datasets.get(session, version_id)
    frozen = datasets.listing(session)
    if not frozen:
        if not needed:
            return None
        raise TooFew("Nothing is held out yet: freeze a dataset version of five videos or more, then evaluate.")
    return frozen[0]


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
    asked: Sequence[_Asked],
    payload: EvaluatePayload,
    report: Any,
) -> int:
    missing = [one for one in asked if not _known(database, subject, moment, one)]
    if not missing:
        return 0
    llm = moments.load(subject.base, moment, job.home)
    n_new = 0
    for one in missing:
        try:
            scores, settings = _scores(one, llm, job, payload, report)
        except TooFew as error:
            if payload.benchmarks:
                raise
            print(f"{one.name} was left out: {error}", flush=True)
            continue
        question_sheets.write(job.folder / "asked", one.name, scores)
        with database.session() as session:
            evaluations.record(
                session,
                scores,
                subject.model_id,
                settings,
                run_id=moment.run_id,
                moment=moment.name,
                split="held_out" if isinstance(one.of, Material) else "test",
                job_id=job.id,
            )
        n_new += len(scores)
    return n_new


def _known(database: Database, subject: _Subject, moment: Moment, one: _Asked) -> bool:
    with database.reading() as session:
        return one.name in evaluations.measured(session, subject.model_id, moment.run_id, moment.name, one.settings)


def _scores(
    one: _Asked, llm: Any, job: JobRef, payload: EvaluatePayload, report: Any
) -> tuple[tuple[Score, ...], JsonDict]:
    """The scores, and their settings with the videos that turned out to be unreadable."""
    if isinstance(one.of, Material):
        pictures = Pictures(job.home.cache, llm.long_side).get
        material = Material(one.of.videos, one.of.pairs, pictures, one.of.seed)
        return benchmarks.load(one.name).run(llm, material, report), one.settings
    measured = one.of.ask(llm, payload.seed, report, in_files.keeper(job.folder))
    for score in measured.scores:
        unparsed = f", {score.n_unparsed} unparsed" if score.n_unparsed else ""
        interval = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        print(f"{one.name} {score.metric}: {interval}, {score.n} questions{unparsed}", flush=True)
    for video, why in measured.unreadable.items():
        print(f"{one.name}: {video} could not be read and is in no score: {why}", flush=True)
    unreadable = {"unreadable": sorted(measured.unreadable)} if measured.unreadable else {}
    return measured.scores, {**one.settings, **unreadable}
