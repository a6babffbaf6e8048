"""Measure before and after: the base model, and a run's model after each of its phases.

Asked are the held-out videos of a dataset version, and folders of public benchmarks. What was measured already on the
same questions with the same settings is not measured again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from db import evaluations, findings
from db.session import Database
from db.timelines import config_sha256
from jobs.child import Report
from jobs.payloads import EvaluatePayload
from jobs.tasks import JobRef, held_out, in_files, lmms_eval, moments, subjects
from jobs.tasks.moments import Moment
from jobs.tasks.subjects import Subject
from tempo_core import benchmarks, question_sheets
from tempo_core.benchmarks.base import Material
from tempo_core.errors import TooFew
from tempo_core.pictures import Pictures
from tempo_core.types import JsonDict, Progress, Score

if TYPE_CHECKING:
    from tempo_core.benchmarks.in_files import Opened


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Every benchmark that has something to ask, on every moment."""
    payload = job.payload
    if not isinstance(payload, EvaluatePayload):
        raise ValueError(f"evaluate was given {type(payload).__name__}")
    if payload.engine == "lmms-eval":
        return lmms_eval.run(database, job, payload, report)
    opened = in_files.opened(payload)
    wanted = tuple(n for n in payload.benchmarks or benchmarks.BENCHMARKS if n in benchmarks.BENCHMARKS)
    subject = subjects.of(database, payload, needs_version=bool(wanted) and not (opened and not payload.benchmarks))
    asked = _of_version(database, subject, job, payload, wanted)
    asked += _of_files(database, subject, job, payload, opened)
    done: dict[str, int] = {}
    for n, moment in enumerate(subject.moments):
        done[moment.name] = _measure(database, job, subject, moment, asked, payload, _part(report, n, subject))
        print(f"{moment.name}: {done[moment.name]} new figures", flush=True)
    found = {o.name: f"{len(o.videos)} of {o.n_named} videos" for o in opened}
    version = {} if subject.version is None or not wanted else {"version": subject.version.id}
    return {**version, **found, "new_figures": done, "findings": _told(database, subject, asked)}


def _told(database: Database, subject: Subject, asked: Sequence[_Asked]) -> list[JsonDict]:
    """What the probes among the benchmarks found, into the log and the job's result."""
    settings = {config_sha256(one.settings) for one in asked}
    run_ids = {moment.run_id for moment in subject.moments}
    with database.reading() as session:
        lines = [
            line for line in evaluations.table(session)
            if line.settings_sha256 in settings and line.model_id == subject.model_id and line.run_id in run_ids
        ]  # fmt: skip
        found = findings.of_lines(session, lines)
    for one in found:
        print(f"{one.finding.level}: {one.moment}, {one.benchmark}: {one.finding.text}", flush=True)
    return [
        {"moment": one.moment, "benchmark": one.benchmark, "level": one.finding.level, "text": one.finding.text}
        for one in found
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One benchmark with what it asks and the settings that its scores are kept under."""

    name: str
    settings: JsonDict
    of: Material | Opened


def _of_version(
    database: Database, subject: Subject, job: JobRef, payload: EvaluatePayload, wanted: Sequence[str]
) -> list[_Asked]:
    """The benchmarks on held-out videos."""
    if not wanted or subject.version is None:
        return []
    try:
        found = held_out.material(database, subject.version, subject.model_id, payload, job.home)
    except TooFew as error:
        if payload.benchmarks or payload.data is None:
            raise
        print(f"{' and '.join(wanted)} were left out: {error}", flush=True)
        return []
    settings = {"dataset": subject.version.content_sha256, "limit": payload.limit, "seed": payload.seed}
    return [_Asked(name, settings | benchmarks.load(name).settings(found), found) for name in wanted]


def _of_files(
    database: Database, subject: Subject, job: JobRef, payload: EvaluatePayload, opened: Sequence[Opened]
) -> list[_Asked]:
    """The benchmarks on a folder of files."""
    asked = []
    for found in opened:
        in_files.tell(found, job.folder)
        version_id, allowed = subject.trained_version_id, payload.allow_contaminated
        contaminated = in_files.trained_on(database, found, version_id, allowed=allowed)
        asked.append(_Asked(found.name, in_files.settings(found, payload, contaminated), found))
    return asked


def _part(report: Report, n: int, subject: Subject) -> Any:
    """Progress of one moment as a share of all of them."""

    def told(progress: Progress) -> None:
        total = progress.total * len(subject.moments)
        report(Progress(progress.done + n * progress.total, total, f"{subject.moments[n].name}: {progress.text}"))

    return told


def _measure(
    database: Database,
    job: JobRef,
    subject: Subject,
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


def _known(database: Database, subject: Subject, moment: Moment, one: _Asked) -> bool:
    with database.reading() as session:
        return one.name in evaluations.measured(session, subject.model_id, moment.run_id, moment.name, one.settings)


def _scores(
    one: _Asked, llm: Any, job: JobRef, payload: EvaluatePayload, report: Any
) -> tuple[tuple[Score, ...], JsonDict]:
    """The scores, and their settings with the videos that turned out to be unreadable."""
    if isinstance(one.of, Material):
        pictures = Pictures(job.home.cache, llm.long_side).get
        return benchmarks.load(one.name).run(llm, replace(one.of, pictures=pictures), report), one.settings
    measured = one.of.ask(llm, payload.seed, report, in_files.keeper(job.folder))
    for score in measured.scores:
        unparsed = f", {score.n_unparsed} unparsed" if score.n_unparsed else ""
        interval = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        print(f"{one.name} {score.metric}: {interval}, {score.n} questions{unparsed}", flush=True)
    for video, why in measured.unreadable.items():
        print(f"{one.name}: {video} could not be read and is in no score: {why}", flush=True)
    unreadable = {"unreadable": sorted(measured.unreadable)} if measured.unreadable else {}
    return measured.scores, {**one.settings, **unreadable}
