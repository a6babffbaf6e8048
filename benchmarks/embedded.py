"""The embedded demo from an empty folder to a before/after table, timed; with `--controls` the rows beside it.

    python benchmarks/embedded.py --json                      one seed: pairs a CPU minute, minutes of the demo, table
    python benchmarks/embedded.py --controls --seeds 0 1 2    every control over three seeds (hours on two cores)

Seeds change the draws of the model, the order of training and the initial adapters; videos and held-out set stay.
Intervals are 95 %, by a bootstrap over held-out videos, of the questions of all seeds together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
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

Times = dict[str, dict[str, float]]
Table = dict[str, dict[str, tuple[float, float, float, int]]]
"""(value, low, high, n) by row and metric."""


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


def timed(what: str, times: Times, studio: Studio, payload: Payload) -> JsonDict:
    wall, cpu = time.perf_counter(), cpu_s()
    result = studio.do(payload)
    times[what] = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu}
    print(f"{what}: {times[what]['wall_s']:.0f} s, {times[what]['cpu_s']:.0f} CPU-s", file=sys.stderr, flush=True)
    return result


def make_data(studio: Studio, n_videos: int, seed: int, times: Times) -> int:
    """Draw, scan, pair, accept in bulk, freeze; the version."""
    timed("draw and scan", times, studio, DrawPayload(n_videos))
    asked = PairPayload(str(EMBEDDED_MODEL), seed=seed, max_new_tokens=payloads.EMBEDDED_TOKENS)
    made = timed(f"pairs, seed {seed}", times, studio, asked)
    times[f"pairs, seed {seed}"]["pairs"] = made["pairs"]
    with studio.database.session() as session:
        bulk.decide(session, studio.person, NO_FILTER, "accepted", token=uuid.uuid4().hex)
        version = datasets.freeze(session, studio.person, f"seed{seed}")
    return version


def train(studio: Studio, version: int, name: str, config: RunConfig, times: Times) -> int:
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


def equal_compute(config: RunConfig, seed: int, times: Times) -> RunConfig:
    """As many SFT steps as the CPU time of the whole demo buys, by what a step of `sft, equal steps` took."""
    ratio = times[f"demo, seed {seed}"]["cpu_s"] / times[f"sft, equal steps, seed {seed}"]["cpu_s"]
    return replace(config, sft_steps=round((config.sft_steps or 0) * ratio))


def table(studios: Sequence[Studio]) -> Table:
    """By row and metric; the questions of all seeds together, held-out videos as groups."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for studio in studios:
        with studio.database.reading() as session:
            for line in evaluations.table(session, "drawn_world"):
                row = "base" if line.run_id is None else f"{line.run}: {line.moment}"
                items = evaluations.items(session, line.id)
                found.setdefault((row, line.metric), []).extend((i.group, i.correct or 0.0) for i in items)
    rows: Table = {}
    for (row, metric), answers in found.items():
        values, groups = [value for _, value in answers], [group for group, _ in answers]
        rows.setdefault(row, {})[metric] = (*statistics.cluster_bootstrap(values, groups, seed=0), len(values))
    return rows


def told(rows: Table) -> str:
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each gets a folder of its own")
    parser.add_argument("--controls", action="store_true", help="train every control too")
    parser.add_argument("--home", type=Path, help="keep everything in this folder (default: a temporary one)")
    parser.add_argument("--table", action="store_true", help="only print the table of what lies in --home")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(args, args.home or Path(scratch))


def report(args: argparse.Namespace, root: Path) -> None:
    times: Times = {}
    if not args.table:
        for seed in args.seeds:
            one_seed(root, seed, args, times)
    rows = table([Studio.open(home) for home in sorted(root.glob("seed-*"))])
    figures: JsonDict = {"table": rows, "times": times}
    print(told(rows))
    if times:
        first = args.seeds[0]
        demo = ["draw and scan", f"pairs, seed {first}", f"demo, seed {first}", f"demo, seed {first}, measured"]
        figures["demo_minutes"] = sum(times[step]["wall_s"] for step in demo) / 60
        pairing = times[f"pairs, seed {first}"]
        figures["pairs_per_cpu_minute"] = 60 * pairing["pairs"] / pairing["cpu_s"]
        print(f"pairs per CPU minute: {figures['pairs_per_cpu_minute']:.0f}")
        print(f"minutes of the demo: {figures['demo_minutes']:.1f}")
    if args.json:
        print(json.dumps(figures))


def one_seed(root: Path, seed: int, args: argparse.Namespace, times: Times) -> None:
    """Pairs, training and measures of one seed in its own home; drawn videos and their scans are taken over."""
    home = root / f"seed-{seed}"
    for before in sorted(root.glob("seed-*")):
        if before != home and not home.exists():
            for part in ("media", "cache"):
                shutil.copytree(before / part, home / part)
    studio = Studio.open(home)
    version = make_data(studio, args.videos, seed, times)
    with studio.database.reading() as session:
        n_dpo_steps = starting.preview(session, version, DEMO, skip_small=True).n_steps
    chosen = controls(seed, n_dpo_steps)
    for name in chosen if args.controls else ("demo",):
        train(studio, version, name, chosen[name], times)
    if args.controls:
        config = equal_compute(chosen["sft, equal steps"], seed, times)
        train(studio, version, "sft, equal compute", config, times)


if __name__ == "__main__":
    main()
