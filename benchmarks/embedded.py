"""The embedded demo from an empty folder to a before/after table, timed; with `--controls` the rows beside it.

    python benchmarks/embedded.py --json                      one seed: pairs a CPU minute, minutes of the demo, table
    python benchmarks/embedded.py --controls --seeds 3        every control over three seeds (most of an hour)

Seeds change the draws of the model, the order of training and the initial adapters; videos and held-out set stay.
Intervals are 95 %, by a bootstrap over held-out videos, of the questions of all seeds together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from db import bulk, datasets, evaluations, migrate, people
from db.pair_filters import NO_FILTER
from db.people import Person
from db.session import Database
from jobs import launch, payloads, starting, tasks
from jobs.payloads import DrawPayload, EvaluatePayload, PairPayload, Payload, TrainPayload
from tempo_core import statistics
from tempo_core.recipes import PRESETS, RunConfig
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.types import JsonDict, Progress

METRICS = ("swap", "group", "order", "earlier", "recall", "content_questions")
DEMO = PRESETS["embedded"]


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
        database = Database.open(home.database)
        with database.reading() as session:
            return cls(home, database, people.local(session))

    def do(self, payload: Payload) -> JsonDict:
        """The task itself, in this process: what is timed is the work and not the queue."""
        kind = payloads.kind_of(payload)
        task = tasks.load(kind)
        with self.database.session() as session:
            job_id = launch.enqueue_in(session, payload, self.person)
        folder = self.home.runs / "jobs" / str(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        job = tasks.JobRef(job_id, kind, payload, 1, "", folder, self.home)
        return task(self.database, job, Quiet())  # type: ignore[arg-type]


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def timed(what: str, times: dict[str, dict[str, float]], studio: Studio, payload: Payload) -> JsonDict:
    wall, cpu = time.perf_counter(), cpu_s()
    result = studio.do(payload)
    times[what] = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu}
    print(f"{what}: {times[what]['wall_s']:.0f} s, {times[what]['cpu_s']:.0f} CPU-s", file=sys.stderr, flush=True)
    return result


def make_data(studio: Studio, n_videos: int, seed: int, times: dict[str, dict[str, float]]) -> tuple[int, JsonDict]:
    """Draw, scan, pair, accept in bulk, freeze; the version and what pairing counted."""
    timed("draw and scan", times, studio, DrawPayload(n_videos))
    made = timed(f"pairs, seed {seed}", times, studio, PairPayload(str(EMBEDDED_MODEL), seed=seed, max_new_tokens=96))
    with studio.database.session() as session:
        bulk.decide(session, studio.person, NO_FILTER, "accepted", token=uuid.uuid4().hex)
        version = datasets.freeze(session, studio.person, f"seed{seed}")
    return version, made


def train(studio: Studio, version: int, name: str, config: RunConfig, times: dict[str, dict[str, float]]) -> int:
    run_id = starting.start_run(
        studio.database, studio.person, config, EMBEDDED_MODEL, version_id=version, name=name, skip_small=True
    )
    timed(f"{name}, seed {config.seed}", times, studio, TrainPayload(run_id))
    measure = EvaluatePayload(run_id=run_id, benchmarks=("drawn_world",))
    timed(f"{name}, seed {config.seed}, measured", times, studio, measure)
    return run_id


def controls(seed: int, n_dpo_steps: int) -> dict[str, RunConfig]:
    """Every arm of one seed. `equal steps`: as many SFT steps as the demo takes DPO and SFT steps together."""
    base = replace(DEMO, seed=seed)
    return {
        "demo": base,
        "chosen only": replace(base, recipe="chosen_only_sft"),
        "sft, equal steps": replace(base, recipe="sft", sft_steps=(base.sft_steps or 0) + n_dpo_steps),
        "easy to hard": replace(base, recipe="dpo", pacing="strict"),
        "hard to easy": replace(base, recipe="dpo", pacing="hard_to_easy"),
    }


def equal_compute(config: RunConfig, seed: int, times: dict[str, dict[str, float]]) -> RunConfig:
    """As many SFT steps as the CPU time of the whole demo buys, by what a step of `sft, equal steps` took."""
    ratio = times[f"demo, seed {seed}"]["cpu_s"] / times[f"sft, equal steps, seed {seed}"]["cpu_s"]
    return replace(config, sft_steps=round((config.sft_steps or 0) * ratio))


def table(studio: Studio) -> dict[str, dict[str, tuple[float, float, float, int]]]:
    """(value, low, high, n) by row and metric; questions of all seeds together, videos as groups."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    with studio.database.reading() as session:
        for line in evaluations.table(session, "drawn_world"):
            row = "base" if line.run_id is None else f"{line.run}: {line.moment}"
            items = evaluations.items(session, line.id)
            found.setdefault((row, line.metric), []).extend((i.group, i.correct or 0.0) for i in items)
    rows: dict[str, dict[str, tuple[float, float, float, int]]] = {}
    for (row, metric), answers in found.items():
        values, groups = [value for _, value in answers], [group for group, _ in answers]
        rows.setdefault(row, {})[metric] = (*statistics.cluster_bootstrap(values, groups, seed=0), len(values))
    return rows


def told(rows: dict[str, dict[str, tuple[float, float, float, int]]]) -> str:
    """The table as Markdown."""
    lines = ["| trained by | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for row in sorted(rows, key=lambda name: (name != "base", name)):
        cells = [rows[row].get(metric) for metric in METRICS]
        shown = [f"{c[0]:.2f} [{c[1]:.2f}, {c[2]:.2f}]" if c else "" for c in cells]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--controls", action="store_true", help="train every control too")
    parser.add_argument("--home", type=Path, help="keep everything in this folder (default: a temporary one)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(args, args.home or Path(scratch))


def report(args: argparse.Namespace, root: Path) -> None:
    studio, times = Studio.open(root), {}
    made: JsonDict = {}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        version, made = make_data(studio, args.videos, seed, times)
        with studio.database.reading() as session:
            n_dpo_steps = starting.preview(session, version, DEMO, skip_small=True).n_steps
        chosen = controls(seed, n_dpo_steps)
        for name in chosen if args.controls else ("demo",):
            train(studio, version, name, chosen[name], times)
        if args.controls:
            config = equal_compute(chosen["sft, equal steps"], seed, times)
            train(studio, version, "sft, equal compute", config, times)
    rows = table(studio)
    print(told(rows))
    first = args.first_seed
    demo = ["draw and scan", f"pairs, seed {first}", f"demo, seed {first}", f"demo, seed {first}, measured"]
    figures = {
        "pairs_per_cpu_minute": 60 * made["pairs"] / times[f"pairs, seed {first + args.seeds - 1}"]["cpu_s"],
        "demo_minutes": sum(times[step]["wall_s"] for step in demo if step in times) / 60,
        "pairs": made["pairs"],
        "table": rows,
        "times": times,
    }
    print(f"pairs per CPU minute: {figures['pairs_per_cpu_minute']:.0f}")
    print(f"minutes of the demo: {figures['demo_minutes']:.1f}")
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
