"""The embedded demo from an empty folder to a before/after table, timed; with `--controls` the whole experiment.

    python benchmarks/embedded.py --json                      one seed: pairs a CPU minute, minutes of the demo, table
    python benchmarks/embedded.py --controls --seeds 0 1 2    recipes x orders x seeds with every control (hours)

The experiment is queued by the product's own verbs and worked through in this process. Seeds change the order of
training and the initial adapters; pairs, videos and questions are the same for all. Intervals are 95 %, resampling
seeds and held-out videos. A second call on the same --home goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from db import bulk, datasets, evaluations, experiment_results, experiments, jobs, migrate, people
from db.experiments import Asked
from db.jobs import Job
from db.pair_filters import NO_FILTER
from db.people import Person
from db.session import Database
from jobs import experimenting, launch, payloads, starting, tasks
from jobs.payloads import DrawPayload, EvaluatePayload, PairPayload, Payload, TrainPayload
from tempo_core.experiment_results import answers, rows, told
from tempo_core.experiments import Design
from tempo_core.recipes import PRESETS
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.types import JsonDict, Progress

METRICS = ("swap", "group", "order", "earlier", "recall", "content_questions")
DEMO = PRESETS["embedded"]

Times = dict[str, dict[str, float]]
ASKED = Asked(("drawn_world",))


@dataclass(frozen=True)
class Quiet:
    """A report that nobody reads."""

    def __call__(self, progress: Progress) -> None: ...

    def tell(self, progress: Progress) -> None: ...

    def should_stop(self) -> bool:
        return False


@dataclass(frozen=True)
class Studio:
    home: Home
    database: Database
    person: Person

    @classmethod
    def open(cls, root: Path) -> Studio:
        home = Home(root.resolve()).make()
        migrate.upgrade(home)
        database = Database.of(home)
        with database.reading() as session:
            return cls(home, database, people.local(session))

    def do(self, payload: Payload) -> JsonDict:
        """The task itself, in this process: what is timed is the work and not the queue."""
        with self.database.session() as session:
            for left in jobs.running(session):  # an ended call's: its work is asked for anew
                jobs.lost(session, left.id, left.token or "", "killed", "The script ended.")
                jobs.cancel(session, left.id)
            launch.enqueue_in(session, payload, self.person)
        job = self.claimed(f"{payloads.needs_of(payload)}:0")
        if job is None or job.kind != payloads.kind_of(payload):
            raise RuntimeError(f"The queue of {self.home.root} holds other work. Take another --home.")
        return self.work(job)

    def claimed(self, slot: str) -> Job | None:
        """The next job; what an ended call of this script had begun is taken back first."""
        with self.database.session() as session:
            for left in jobs.running(session):
                jobs.lost(session, left.id, left.token or "", "killed", "The script ended.")
            return jobs.claim(session, slot, lease_ms=86_400_000)

    def work(self, job: Job) -> JsonDict:
        """Do a claimed job to its end."""
        folder = self.home.runs / "jobs" / str(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        payload = payloads.parse(job.kind, job.payload)
        at = tasks.JobRef(job.id, job.kind, payload, job.attempt, job.token or "", folder, self.home)
        result = tasks.load(job.kind)(self.database, at, Quiet())  # type: ignore[arg-type]
        with self.database.session() as session:
            jobs.succeed(session, job.id, job.token or "", result)
        return result


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def timing(what: str, times: Times) -> Iterator[None]:
    wall, cpu = time.perf_counter(), cpu_s()
    yield
    times[what] = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu}
    print(f"{what}: {times[what]['wall_s']:.0f} s, {times[what]['cpu_s']:.0f} CPU-s", file=sys.stderr, flush=True)


def timed(what: str, times: Times, studio: Studio, payload: Payload) -> JsonDict:
    with timing(what, times):
        return studio.do(payload)


def make_data(studio: Studio, n_videos: int, seed: int, times: Times) -> int:
    """Draw, scan, pair, accept in bulk, freeze; the version."""
    timed("draw and scan", times, studio, DrawPayload(n_videos))
    asked = PairPayload(str(EMBEDDED_MODEL), seed=seed, max_new_tokens=payloads.EMBEDDED_TOKENS)
    times["pairs"]["pairs"] = timed("pairs", times, studio, asked)["pairs"]
    with studio.database.session() as session:
        bulk.decide(session, studio.person, NO_FILTER, "accepted", token=uuid.uuid4().hex)
        version = datasets.freeze(session, studio.person, f"seed{seed}")
    return version


def train(studio: Studio, version: int, times: Times) -> int:
    """The demo's run, measured."""
    run_id = starting.start_run(
        studio.database, studio.person, DEMO, EMBEDDED_MODEL, version_id=version, name="demo", skip_small=True
    )
    timed("demo", times, studio, TrainPayload(run_id))
    timed("demo, measured", times, studio, EvaluatePayload(run_id=run_id, benchmarks=ASKED.benchmarks))
    return run_id


def experiment(studio: Studio, version: int, args: argparse.Namespace, times: Times) -> int:
    """Queue it, or find it where an earlier call stopped, and do all that waits."""
    with studio.database.reading() as session:
        known = [one.id for one in experiments.listing(session)]
    if known:
        experimenting.go_on(studio.database, studio.person, known[0])
    design = Design(DEMO, tuple(args.recipes), tuple(args.pacings), tuple(args.seeds))
    number = (
        known[0]
        if known
        else experimenting.queue(
            studio.database, studio.person, "embedded", design, EMBEDDED_MODEL, version_id=version, asked=ASKED
        )
    )
    while (job := studio.claimed("gpu:0")) is not None:
        with timing(f"{job.kind} {job.payload['run_id']}", times):
            studio.work(job)
    return number


def table(studio: Studio, number: int) -> tuple[list[dict[str, object]], str]:
    """Every figure of the experiment as values, and the table with the answers as Markdown."""
    with studio.database.reading() as session:
        one, found = experiments.get(session, number), experiment_results.table(session, number)
    said = [f"- {answer.question} {answer.short}" for answer in answers(one.arms, found)]
    return rows(found), "\n".join([told(found, one.reference.name), "", *said])


def demo_table(studio: Studio) -> tuple[list[dict[str, object]], str]:
    """Of one run: before and after each phase."""
    with studio.database.reading() as session:
        lines = evaluations.table(session, "drawn_world")
    cells = {("base" if e.run_id is None else e.moment, e.metric): e for e in reversed(lines)}
    moments = list(dict.fromkeys(moment for moment, _ in cells))
    text = ["| after | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for moment in moments:
        of = [cells[moment, metric] for metric in METRICS]
        text.append(f"| {moment} | " + " | ".join(f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]" for e in of) + " |")
    values: list[dict[str, object]] = [
        {"after": moment, "metric": metric, "value": e.value, "low": e.low, "high": e.high, "n": e.n}
        for (moment, metric), e in cells.items()
    ]
    return values, "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--recipes", nargs="+", default=["dpo_sft", "sft_dpo", "dpo", "sft"])
    parser.add_argument("--pacings", nargs="+", default=["mixed", "strict", "hard_to_easy"])
    parser.add_argument("--controls", action="store_true", help="the whole experiment instead of the demo's one run")
    parser.add_argument("--home", type=Path, help="keep everything in this folder (default: a temporary one)")
    parser.add_argument("--table", action="store_true", help="only print the table of what lies in --home")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(args, Studio.open(args.home or Path(scratch)))


def report(args: argparse.Namespace, studio: Studio) -> None:
    times: Times = {}
    with studio.database.reading() as session:
        frozen = datasets.listing(session)
    if not args.table:
        version = frozen[0].id if frozen else make_data(studio, args.videos, 0, times)
        if args.controls:
            experiment(studio, version, args, times)
        else:
            train(studio, version, times)
    with studio.database.reading() as session:
        number = next((one.id for one in experiments.listing(session)), None)
    values, text = demo_table(studio) if number is None else table(studio, number)
    print(text)
    figures: JsonDict = {"table": values, "times": times}
    demo = ["draw and scan", "pairs", "demo", "demo, measured"]
    if "pairs" in times:
        figures["pairs_per_cpu_minute"] = 60 * times["pairs"]["pairs"] / times["pairs"]["cpu_s"]
        print(f"pairs per CPU minute: {figures['pairs_per_cpu_minute']:.0f}")
    if set(demo) <= set(times):
        figures["demo_minutes"] = sum(times[step]["wall_s"] for step in demo) / 60
        print(f"minutes of the demo: {figures['demo_minutes']:.1f}")
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
