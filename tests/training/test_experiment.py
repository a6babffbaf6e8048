"""A whole experiment on a very small world, through queue and tasks: from the design to its table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from runs import CONFIG

from db import (
    bulk,
    datasets,
    experiment_results,
    experiments,
    jobs,
    learning,
    people,
    run_notes,
    runs,
    sft_sets,
    timelines,
)
from db.experiments import Asked
from db.pair_filters import PairFilter
from db.session import Database
from db.sft_sets import SftDraft
from jobs import child, experimenting, paper_facts, payloads, starting, tasks
from tempo_core.errors import BadSettings
from tempo_core.experiment_results import BASE
from tempo_core.experiments import Design
from tempo_core.learning import learned
from tempo_core.settings import Home
from tests import studio

DESIGN = Design(CONFIG, ("dpo",), ("mixed",), (0, 1), ("chosen_only",))
ASKED = Asked(("held_out_preference",), limit=2)


@dataclass
class Bench:
    """A studio whose queue is worked through in this process."""

    home: Home
    database: Database
    base: Path
    version: int
    sft_set: int

    def ask(self, verb, *arguments):
        with self.database.reading() as session:
            return verb(session, *arguments)

    def person(self):
        return self.ask(people.local)

    def queue(self, name: str, design: Design) -> int:
        return experimenting.queue(self.database, self.person(), name, design, self.base, version_id=self.version,
                                   sft_set_id=self.sft_set, asked=ASKED)  # fmt: skip

    def one(self) -> str | None:
        """Do the next job as its child process would; its kind."""
        with self.database.session() as session:
            job = jobs.claim(session, "gpu:0", lease_ms=600_000)
        if job is None:
            return None
        folder = self.home.runs / "jobs" / str(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        payload = payloads.parse(job.kind, job.payload)
        at = tasks.JobRef(job.id, job.kind, payload, job.attempt, job.token, folder, self.home)
        try:
            result = tasks.load(job.kind)(self.database, at, Quiet())
        except Exception as error:  # what the child does with it
            with self.database.session() as session:
                jobs.fail(session, job.id, job.token, *child.told(error))
            return job.kind
        with self.database.session() as session:
            jobs.succeed(session, job.id, job.token, result)
        return job.kind

    def all(self) -> list[str]:
        return list(iter(self.one, None))


class Quiet:
    def __call__(self, progress):
        """Nobody listens."""

    tell = __call__

    def should_stop(self) -> bool:
        return False


@pytest.fixture(scope="module")
def bench(base, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("experiment") / "home")
    database = studio.fill(home, n_videos=5)
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(kinds=("shuffle",)), "accepted", token="all")
        version = datasets.freeze(session, person, "small", held_out_share=0.4)
        train = {item.video_id: item.pair for item in datasets.items(session, version, "train")}
        drafts = [
            SftDraft(
                f"{kept.video_id}/{i}", kept.video_id, kept.timeline.id, train[kept.video_id].prompt, f"answer {i}"
            )
            for kept in timelines.kept(session, set(train))
            for i in range(4)
        ]
        sft_set = sft_sets.create(session, person, "own", "jsonl", drafts, source="by hand")
    yield Bench(home, database, base, version, sft_set)
    database.close()


@pytest.fixture(scope="module")
def done(bench) -> int:
    """Two arms x two seeds, trained and measured; the experiment's id."""
    number = bench.queue("does the rejected side help", DESIGN)
    assert bench.all() == ["train", "evaluate"] * 4
    return number


def test_every_run_is_measured_before_the_next_is_trained_one_seed_after_the_other(bench, done):
    cells = bench.ask(experiments.cells, done)
    assert [(cell.arm, cell.seed, cell.where) for cell in cells] == [
        ("dpo, mixed", 0, "succeeded"), ("chosen only", 0, "succeeded"),
        ("dpo, mixed", 1, "succeeded"), ("chosen only", 1, "succeeded"),
    ]  # fmt: skip
    assert bench.one() is None


def test_the_table_has_every_arm_with_its_seeds_and_the_paired_difference_to_the_reference(bench, done):
    found = bench.ask(experiment_results.table, done)
    accuracy = {f.arm: f for f in found if f.metric == "accuracy_per_token"}
    assert list(accuracy) == [BASE, "dpo, mixed", "chosen only"]
    assert accuracy["dpo, mixed"].seeds == accuracy["chosen only"].seeds == (0, 1)
    ours, other = accuracy["dpo, mixed"].value, accuracy["chosen only"]
    assert other.change.mean == pytest.approx(other.value.mean - ours.mean)
    assert other.change.of_seed == pytest.approx(
        [b - a for a, b in zip(ours.of_seed, other.value.of_seed, strict=True)]
    )
    assert other.verdict is not None and accuracy["dpo, mixed"].change is None


def test_a_paper_about_one_run_brings_the_whole_table_of_its_experiment(bench, done):
    cell = bench.ask(experiments.cells, done)[1]
    (told,) = bench.ask(paper_facts.experiments_of, (cell.run_id, cell.run_id))
    assert (told.number, told.reference) == (done, "dpo, mixed")
    assert told.figures == bench.ask(experiment_results.table, done)


def test_margins_before_and_after_and_the_pace_are_known_for_every_kind_and_level(bench, done):
    run_id = bench.ask(experiments.cells, done)[0].run_id
    pairs = bench.ask(learning.pairs, run_id)
    accuracy = bench.ask(learning.curves, run_id, "accuracy")
    lines = learned(pairs, accuracy, bench.ask(learning.curves, run_id, "reward_chosen"))
    trained = {place.pair_id for place in bench.ask(runs.planned, run_id)}
    assert sum(line.n for line in lines) == len(trained)
    assert set(accuracy) == {(line.kind, line.level) for line in lines}
    assert all(line.before is not None and line.after is not None and 0 <= line.area <= 1 for line in lines)


def test_sft_of_equal_steps_and_equal_compute_settles_its_steps_when_it_starts(bench):
    design = replace(DESIGN, seeds=(0,), controls=("sft_equal_steps", "sft_equal_compute"))
    number = bench.queue("equal", design)
    cells = bench.ask(experiments.cells, number)
    with bench.database.session() as session:
        # The reference need not have run, nor be going to.
        jobs.cancel(session, cells[0].job_id)
    assert bench.all() == ["train", "evaluate"] * 2
    steps, compute = (bench.ask(runs.get, cell.run_id) for cell in cells[1:])
    mixed = replace(design.base, pacing="mixed")
    n_steps = bench.ask(lambda s: starting.preview(s, bench.version, mixed)).n_steps
    assert (steps.config.sft_steps, steps.env["matched"]["reference_steps"]) == (n_steps, n_steps)
    matched = compute.env["matched"]
    a_step = matched["flops"] / matched["n_steps"]
    assert matched["flops"] == pytest.approx(matched["reference_flops"], abs=0.6 * a_step)
    assert [stage.last_step for stage in bench.ask(runs.stages, compute.id)] == [matched["n_steps"]]
    assert any(note.kind == "matched" for note in bench.ask(run_notes.listing, compute.id))


def test_one_arm_that_fails_leaves_the_others_going_and_is_queued_again_alone(bench):
    number = bench.queue("broken", replace(DESIGN, seeds=(0,)))
    first = bench.ask(experiments.cells, number)[0]
    blocked = bench.home.runs / f"run-{first.run_id}"
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file where the run's folder should be")
    assert bench.all() == ["train", "train", "evaluate"]
    assert [cell.where for cell in bench.ask(experiments.cells, number)] == ["failed", "succeeded"]
    blocked.unlink()
    assert experimenting.go_on(bench.database, bench.person(), number) == 1
    assert bench.all() == ["train", "evaluate"]
    assert [cell.where for cell in bench.ask(experiments.cells, number)] == ["succeeded", "succeeded"]


def test_the_rest_can_be_taken_back_and_queued_again(bench):
    number = bench.queue("stopped", DESIGN)
    assert experimenting.cancel_rest(bench.database, bench.person(), number) == 4
    assert bench.one() is None
    assert experimenting.go_on(bench.database, bench.person(), number) == 4
    assert [cell.where for cell in bench.ask(experiments.cells, number)] == ["queued"] * 4
    assert experimenting.cancel_rest(bench.database, bench.person(), number) == 4


def test_an_experiment_says_beforehand_how_long_it_takes_where_earlier_runs_tell(bench, done):
    def ahead(design):
        return bench.ask(lambda s: experimenting.preview(s, design, bench.base, version_id=bench.version))

    known = ahead(DESIGN)
    assert (known.n_runs, set(known.n_steps)) == (4, {"dpo, mixed", "chosen only"})
    assert known.training_s > 0 and min(known.n_steps.values()) > 0
    assert ahead(replace(DESIGN, controls=("sft_equal_compute",))).n_steps["SFT, equal compute"] is None


def test_what_cannot_be_compared_is_refused_and_nothing_is_queued(bench):
    before = bench.ask(experiments.listing)
    with pytest.raises(BadSettings, match="There is an experiment 'equal' already"):
        bench.queue("equal", DESIGN)
    with pytest.raises(BadSettings, match="0 characters"):
        bench.queue("  ", DESIGN)
    assert bench.ask(experiments.listing) == before
    assert bench.one() is None
