"""Where jobs run: what a start costs, and that Ray gives what this machine gives, bit for bit.

Start: from asking the launcher to the first byte that the process prints, a Python that imports nothing. Slurm's is
that of its stand-in, which has no queue: our part of it alone. Same: two halves of the drawn world are answered at the
same time by two Ray nodes of one CPU, then two runs are trained so; beside it this machine does the same in two slots.

Run: python benchmarks/launchers.py [--json] [--starts 5]; without Ray (requirements-ray.txt) its figures are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.clusters import ray_nodes
from db import jobs
from db.session import Database
from db.tables import PlanRow, ResponseRow, RunStageRow, VideoRow
from jobs import launchers
from jobs.launchers.base import ROOT, Launcher, Resources
from jobs.launchers.ray import Ray
from tempo_core.settings import Home

SLURM = ROOT / "benchmarks" / "clusters" / "slurm"
SMALL = ["--set", "pairs_per_step=4", "--set", "micro_batch=4", "--set", "lora_r=4", "--set", "lora_alpha=8"]
T = TypeVar("T")
HALVES = ("1,2", "3,4")
TWO = {"TEMPO_SLOTS": "gpu:0,gpu:1,cpu:0", "TEMPO_POLL_S": "0.3", "OMP_NUM_THREADS": "1"}
"""Two models at a time, each with one thread: floating-point sums depend on how many threads share them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--starts", type=int, default=5, help="starts of each launcher")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.starts)
    for name, value in figures.items():
        print(f"{name:28s} {value}", flush=True)
    if arguments.json:
        print(json.dumps(figures))


def measure(scratch: Path, n_starts: int) -> dict[str, Any]:
    (scratch / "slurm").mkdir()
    os.environ |= {"FAKE_SLURM": str(scratch / "slurm"), "PATH": f"{SLURM}:{os.environ['PATH']}"}
    figures = {"local_start_s": starts("local", scratch / "a", n_starts), "load": os.getloadavg()[0]}
    figures["torchrun_start_s"] = starts("local", scratch / "b", n_starts, ranks=2)
    figures["slurm_stub_start_s"] = starts("slurm", scratch / "c", n_starts)
    if importlib.util.find_spec("ray") is not None:
        began_s = time.monotonic()
        with ray_nodes.two() as seen:
            figures["ray_cluster_up_s"] = time.monotonic() - began_s
            os.environ |= seen
            figures["ray_start_s"] = starts("ray", scratch / "d", n_starts)
            figures |= same(scratch, seen)
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}


def starts(name: str, folder: Path, n: int, ranks: int = 1) -> float:
    """Median seconds from asking to the first byte printed."""
    home = Home(folder).make()
    launcher = launchers.named(name, home)
    return statistics.median(_start(launcher, home, number + 1, ranks) for number in range(n))


def _start(launcher: Launcher, home: Home, number: int, ranks: int) -> float:
    argv = [sys.executable, "-c", "print('began', flush=True)"]
    if ranks > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--no-python"]
        argv = [sys.executable, *torchrun, *argv]
    handle, began_s = f"tempo-{number}-1-{os.urandom(4).hex()}", time.monotonic()
    launcher.start(handle, argv, Resources("cpu:0"), {"TEMPO_HOME": str(home.root)})
    while not launcher.log(handle, 0)[0]:
        time.sleep(0.01)
    seconds = time.monotonic() - began_s
    while launcher.alive(handle) != "gone":
        time.sleep(0.05)
    return seconds


def same(scratch: Path, ray: Mapping[str, str]) -> dict[str, Any]:
    """Answers and adapters of this machine and of the two nodes; {name: whether equal, counts, seconds}.

    `ray` and this process's environment tell where the cluster is.
    """
    here, there = Studio(scratch / "here", {}), Studio(scratch / "there", {"TEMPO_LAUNCHER": "ray", **ray})
    here.does("draw", "--videos", "4")
    shutil.copytree(here.home.root, there.home.root)
    asked = [["pair", "--videos", half, "--set", "max_new_tokens=96"] for half in HALVES]
    figures: dict[str, Any] = {"local_pairs_s": here.at_once(asked), "ray_pairs_s": there.at_once(asked)}
    ours, theirs = here.answers(), there.answers()
    figures |= {"answers": len(ours), "answers_equal": ours == theirs}
    for words in (["accept"], ["freeze", "first"]):
        here.does(*words)
    here.rest()
    there.rest()
    # Of one database, so that both train the same frozen version.
    shutil.rmtree(there.home.root)
    shutil.copytree(here.home.root, there.home.root)
    runs = [["train", "--recipe", "dpo", "--skip-small", "--seed", str(seed), *SMALL] for seed in (0, 1)]
    figures |= {"local_training_s": here.at_once(runs), "ray_training_s": there.at_once(runs)}
    here.rest()
    there.rest()
    ours, theirs = here.adapters(), there.adapters()
    return figures | {"adapters": len(ours), "adapters_equal": ours == theirs, "ray_nodes_used": there.nodes_used()}


class Studio:
    """A home and the commands as a person types them."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.home, self.env = Home(root), {"TEMPO_LAUNCHER": "local", **TWO, **env, "TEMPO_HOME": str(root)}

    def does(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *words],
            cwd=ROOT, env=os.environ | self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stdout[-2000:]} {done.stderr[-2000:]}")

    def at_once(self, commands: list[list[str]]) -> float:
        """Queue them all, then wait for the last; seconds."""
        began_s = time.monotonic()
        for words in commands:
            self.does(*words, "--no-wait")
        while not all(job.ended for job in self.jobs()):
            time.sleep(0.2)
        if failed := [job.error for job in self.jobs() if job.state != "succeeded"]:
            raise RuntimeError(f"{failed}")
        return time.monotonic() - began_s

    def jobs(self) -> tuple[jobs.Job, ...]:
        return self._read(lambda session: jobs.latest(session, 1000))

    def answers(self) -> set[tuple[Any, ...]]:
        """Every answer with what it answers: video, order, seed, text, tokens, log-probability."""
        r = ResponseRow
        query = select(VideoRow.sha256, PlanRow.sha256, r.timeline_id, r.seed, r.text, r.n_tokens, r.log_prob)
        joined = query.join(VideoRow, VideoRow.id == r.video_id).outerjoin(PlanRow, PlanRow.id == r.plan_id)
        return self._read(lambda session: {tuple(row) for row in session.execute(joined)})

    def adapters(self) -> dict[str, str]:
        """{stage: sha256 of its adapter's weights} of every run."""
        query = select(RunStageRow.adapter).where(RunStageRow.adapter.is_not(None))
        folders = self._read(lambda session: session.scalars(query).all())
        files = sorted(file for folder in folders for file in (self.home.root / str(folder)).rglob("*.safetensors"))
        return {str(file.relative_to(self.home.root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def nodes_used(self) -> int:
        """How many nodes of the cluster the jobs of this home ran on."""
        ray = Ray(self.home)
        found = [ray.about(job.handle) for job in self.jobs() if job.launcher == "ray" and job.handle]
        return len({info["driver_node_id"] for info in found if info})

    def rest(self) -> None:
        """End the worker: the home may be copied."""
        worker = self._read(jobs.leader)
        if worker is not None:
            os.kill(worker.process.pid, signal.SIGTERM)
            while self._read(jobs.leader) is not None:
                time.sleep(0.1)

    def _read(self, verb: Callable[[Session], T]) -> T:
        # Closed each time: copying a file ends the locks that this process holds on it, and a connection that was
        # open then would see the state of that moment for ever.
        database = Database.open(self.home.database)
        try:
            with database.reading() as session:
                return verb(session)
        finally:
            database.close()


if __name__ == "__main__":
    main()
