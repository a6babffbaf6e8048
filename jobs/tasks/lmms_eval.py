"""The part of an evaluation that lmms-eval does: merge, ask in its own environment, and bring its results in.

What was measured already with the same task and limit is not measured again, so that the base is asked once.
"""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db import evaluations
from db.session import Database
from jobs.child import Report
from jobs.payloads import EvaluatePayload
from jobs.tasks import JobRef, moments, subjects
from jobs.tasks.moments import Moment
from jobs.tasks.subjects import Subject
from tempo_core.errors import TempoError
from tempo_core.types import JsonDict, Progress

_LOOK_S = 1.0


class EngineFailed(TempoError):
    """lmms-eval ended without a result."""

    error_class = "engine"


def bridge() -> Any:
    """The core's part; by name, like everything in its room."""
    return importlib.import_module("tempo_core.benchmarks.lmms_eval")


def checked(payload: EvaluatePayload) -> None:
    """What can be known before a job waits: the environment, or the folder of results."""
    if payload.results is not None:
        bridge().read(Path(payload.results))
    elif payload.engine == "lmms-eval":
        bridge().version(bridge().python())


def run(database: Database, job: JobRef, payload: EvaluatePayload, report: Report) -> JsonDict:
    """Import a folder of results for the run's last moment, or ask about every moment."""
    subject = subjects.of(database, payload, needs_version=False)
    if payload.results is not None:
        last = subject.moments[-1]
        return {"new_figures": {last.name: _keep(database, job, subject, last, Path(payload.results), payload)}}
    program = bridge().python()
    print(f"lmms-eval {bridge().version(program)}", flush=True)
    done: dict[str, int] = {}
    for n, moment in enumerate(subject.moments):
        wanted = _missing(database, subject, moment, payload)
        report(Progress(n, len(subject.moments), f"{moment.name}: {', '.join(wanted) or 'measured already'}"))
        if wanted:
            output = _ask(program, job, subject, moment, wanted, payload, report)
            done[moment.name] = _keep(database, job, subject, moment, output, payload)
    return {"new_figures": done}


def _missing(database: Database, subject: Subject, moment: Moment, payload: EvaluatePayload) -> list[str]:
    with database.reading() as session:
        table = evaluations.table(session, run_id=moment.run_id)
    known = {
        line.settings.get("task")
        for line in table
        if (line.model_id, line.run_id, line.moment) == (subject.model_id, moment.run_id, moment.name)
        and line.settings.get("engine") == "lmms-eval"
        and line.settings.get("limit") == payload.limit
    }
    return [task for task in payload.tasks if task not in known]


def _ask(
    program: Path,
    job: JobRef,
    subject: Subject,
    moment: Moment,
    tasks: Sequence[str],
    payload: EvaluatePayload,
    report: Report,
) -> Path:
    """Run it on the merged model; the folder that it wrote."""
    output = job.folder / "lmms_eval" / moment.name.replace("/", "_")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with _merged(job, subject, moment) as model:
        asked = bridge().command(program, subject.family, model, tasks, output, payload.limit)
        print(f"{moment.name}: {shlex.join(asked)}", flush=True)
        code = _watched(asked, job.folder, lambda: report(Progress(0, 1, f"{moment.name}: lmms-eval is at work")))
    if code != 0 or not any(output.rglob("*_results.json")):
        raise EngineFailed(
            f"lmms-eval ended with status {code} and {'' if code else 'no '}result; its own words stand above in this "
            "job's log. Mend what it names, and queue the evaluation again: what was measured is kept."
        )
    return output


@contextmanager
def _merged(job: JobRef, subject: Subject, moment: Moment) -> Iterator[Path]:
    """A folder with the whole model, as long as it is needed; the base's own where nothing was trained."""
    if not moment.links:
        yield subject.base
        return
    folder = job.folder / "merged"
    shutil.rmtree(folder, ignore_errors=True)
    exports = importlib.import_module("tempo_core.training.exports")
    try:
        exports.merged(subject.base, moments.links(moment, job.home), folder, "Merged to be measured.\n")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watched(asked: Sequence[str], folder: Path, look: Any) -> int:
    """Its exit status. It writes into this job's log and is in its process group, so it ends with the job."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Some of its tasks read this when they are imported and fail without.
    environment.setdefault("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    process = subprocess.Popen(list(asked), cwd=folder, env=environment, stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            look()
            time.sleep(_LOOK_S)
    finally:
        # A person stopped the job: so does it.
        if process.poll() is None:
            process.terminate()
            process.wait()
    return int(process.returncode)


def _keep(
    database: Database, job: JobRef, subject: Subject, moment: Moment, folder: Path, payload: EvaluatePayload
) -> int:
    """Store what a folder of results says; how many figures that is."""
    found = bridge().read(folder, payload.seed)
    for result in found:
        with database.session() as session:
            evaluations.record(
                session,
                result.scores,
                subject.model_id,
                result.settings,
                run_id=moment.run_id,
                moment=moment.name,
                split="test",
                job_id=job.id,
            )
        for score in result.scores:
            interval = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
            print(f"{moment.name}, {score.benchmark} {score.metric}: {interval}, {score.n} answers", flush=True)
        for note in result.notes:
            print(f"  {note}", flush=True)
    return sum(len(result.scores) for result in found)
