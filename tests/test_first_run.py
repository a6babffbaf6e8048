"""The whole method once, with real parts: drawn videos, the embedded model, a worker, its jobs, one database.

Nothing is stood in for. The commands are those of `python -m jobs`; the worker and every job are processes of their
own. The first test that needs a step makes it, the later ones look at what it left.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from db import datasets, evaluations, jobs, metrics, models, pairs, runs, sft_sets, videos
from db.migrate import upgrade
from db.pair_filters import PairFilter
from db.session import Database
from jobs import starting
from jobs.__main__ import main
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.types import level_key
from tests import checkpoints

pytestmark = pytest.mark.slow

HANG_S = 900
"""Nothing here takes as long; it only keeps a fault from hanging the suite."""
SMALL = ["--set", "pairs_per_step=4", "--set", "micro_batch=4", "--set", "lora_r=4", "--set", "lora_alpha=8"]
FEW_EXAMPLES = ["--set", "sft_steps=2", "--set", "sft_examples_per_step=4"]


@dataclass
class Studio:
    """A home folder, its database, and the commands as a person types them."""

    home: Home
    database: Database

    def does(self, *argv: str) -> None:
        assert main([str(part) for part in argv]) == 0, f"{argv}: {self.last_error()}"

    def last_error(self) -> str | None:
        with self.database.reading() as session:
            return next((job.error for job in jobs.latest(session, 1)), None)

    def job(self, kind: str) -> jobs.Job:
        """The newest job of a kind."""
        with self.database.reading() as session:
            return jobs.latest(session, 1, kinds=(kind,))[0]

    def until(self, condition):
        end_s = time.monotonic() + HANG_S
        while time.monotonic() < end_s:
            if value := condition():
                return value
            time.sleep(0.02)
        pytest.fail(f"nothing happened in {HANG_S} s; the last job says {self.last_error()}")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home")).make()
    upgrade(home)
    database = Database.open(home.database)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("TEMPO_HOME", str(home.root)), ("TEMPO_POLL_S", "0.3"), ("OMP_NUM_THREADS", "1")):
            patch.setenv(name, value)
        yield Studio(home, database)
    with database.reading() as session:
        worker = jobs.leader(session)
    if worker is not None:
        os.kill(worker.process.pid, signal.SIGTERM)
    database.close()


@pytest.fixture(scope="module")
def frozen(studio) -> int:
    """Videos drawn and scanned, pairs of eight of them made, accepted and frozen; the version's id."""
    studio.does("draw", "--videos", "12")
    studio.does("pair", "--limit", "8", "--set", "max_new_tokens=96")
    studio.does("accept", "--note", "first run")
    studio.does("freeze", "first")
    with studio.database.reading() as session:
        return datasets.listing(session)[0].id


@pytest.fixture(scope="module")
def trained(studio, frozen) -> int:
    """A run of DPO level by level, then SFT."""
    studio.does("train", frozen, "--recipe", "dpo_sft", "--pacing", "strict", "--skip-small", *SMALL, *FEW_EXAMPLES)
    with studio.database.reading() as session:
        return runs.listing(session)[0].run.id


# -- the embedded model ----------------------------------------------------------------------------------------------


def test_drawn_videos_are_scanned_by_the_same_job_and_none_is_skipped_in_silence(studio, frozen):
    result = studio.job("draw").result
    with studio.database.reading() as session:
        counts = videos.counts(session)
    assert (result["videos"], result["kept"] + result["left_out"] + result["refused"]) == (12, 12)
    assert (counts["ok"], counts["kept"]) == (12, result["kept"])


def test_every_pair_that_no_rule_refused_was_accepted_as_bulk_and_frozen_with_whole_videos_held_out(studio, frozen):
    result = studio.job("pair").result
    assert (result["videos"], result["failed"], result["pending"] > 30) == (8, {}, True)
    with studio.database.reading() as session:
        card = datasets.get(session, frozen)
        accepted = pairs.count(session, PairFilter(status="accepted"))
        items = datasets.items(session, frozen)
        last = pairs.get(session, items[0].pair.pair_id).last
        assert datasets.verify(session, frozen) == card.content_sha256
    assert (card.n_pairs, accepted, card.n_videos) == (result["pending"], result["pending"], 8)
    assert last.act.startswith("bulk")
    sides = {side: {item.video_id for item in items if item.split == side} for side in ("train", "held_out")}
    assert len(sides["held_out"]) == 2
    assert not sides["train"] & sides["held_out"]


def test_the_plan_in_the_database_is_what_was_trained_and_every_level_has_its_curves(studio, trained, frozen):
    with studio.database.reading() as session:
        card = runs.get(session, trained)
        planned = runs.planned(session, trained)
        previewed = starting.preview(session, frozen, card.config, skip_small=True)
        series = metrics.series(session, trained)
        scores = runs.scores(session, trained, "final")
    assert card.state == "succeeded"
    assert (card.training_plan_sha256, planned) == (previewed.sha256, previewed.planned)

    # A step that the plan calls 0 is the first point of a curve, 1.
    due = Counter((level_key(place.level), place.step + 1) for place in planned)
    found = {(key.removesuffix("/n"), step): n for key in series if key.endswith("/n") for step, n in series[key]}
    assert found == due
    assert {place.level for place in planned} == {1, 2, 3, 4}
    for level in ("l1", "l2", "l3", "l4"):
        for name in ("loss", "margin", "accuracy"):
            curve = series[f"{level}/{name}"]
            assert [step for step, _ in curve] == sorted(step for key, step in due if key == level)
            assert all(value is not None for _, value in curve)
    assert set(scores) == {place.pair_id for place in planned}
    n_dpo = previewed.n_steps
    assert [step for step, _ in series["dpo/loss"]] == list(range(1, n_dpo + 1))
    assert [step for step, _ in series["sft/loss"]] == [n_dpo + 1, n_dpo + 2]


def test_each_stage_leaves_an_adapter_and_the_sft_set_holds_no_held_out_video(studio, trained, frozen):
    with studio.database.reading() as session:
        stages = runs.stages(session, trained)
        held_out = {item.pair.video.sha256 for item in datasets.items(session, frozen, "held_out")}
        examples = sft_sets.items(session, runs.get(session, trained).sft_set_id)
    assert [(stage.phase, stage.name) for stage in stages] == [
        ("dpo", "l1"),
        ("dpo", "l2"),
        ("dpo", "l3"),
        ("dpo", "l4"),
        ("sft", "sft"),
    ]
    assert all(stage.state == "succeeded" and (studio.home.root / stage.adapter).is_dir() for stage in stages)
    assert examples and not held_out & {example.video.sha256 for example in examples}


def test_the_evaluation_measures_before_after_dpo_and_after_sft_with_intervals(studio, trained):
    studio.does("evaluate", "--run", trained, "--limit", "2")
    with studio.database.reading() as session:
        lines = evaluations.table(session)
    per_moment = {}
    for line in lines:
        per_moment.setdefault(line.moment, set()).add((line.benchmark, line.metric))
        assert line.low <= line.value <= line.high, line
        assert line.n > 0
    assert set(per_moment) == {"base", "dpo", "dpo+sft"}
    assert per_moment["base"] == per_moment["dpo"] == per_moment["dpo+sft"]
    told = {("drawn_world", "group"), ("drawn_world", "recall"), ("held_out_preference", "accuracy")}
    assert told <= per_moment["dpo"]
    assert {line.run_id for line in lines if line.moment == "base"} == {None}


@pytest.mark.parametrize("form", ["ms_swift", "hub"])
def test_an_exported_version_loads_with_datasets(studio, frozen, form, tmp_path):
    library = pytest.importorskip("datasets")
    studio.does("export", frozen, "--format", form, "--to", tmp_path / form)
    if form == "ms_swift":
        files = {path.stem: str(path) for path in (tmp_path / form).glob("*.jsonl") if path.stem != "provenance"}
        loaded = library.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    else:
        loaded = library.load_dataset(str(tmp_path / form), cache_dir=str(tmp_path / "cache"))
    with studio.database.reading() as session:
        assert sum(len(split) for split in loaded.values()) == datasets.get(session, frozen).n_pairs


def test_a_train_process_that_is_killed_goes_on_without_a_hole_or_a_repeated_step(studio, frozen):
    # Twice as many steps of half the size, so that most of them are still to come when it is killed.
    halves = ["--set", "pairs_per_step=2", "--set", "micro_batch=2", "--set", "checkpoint_every=3"]
    argv = ["--recipe", "dpo", "--pacing", "mixed", *SMALL, *halves]
    studio.does("train", frozen, *argv, "--no-wait")
    job_id = studio.job("train").id
    with studio.database.reading() as session:
        run_id = runs.of_job(session, job_id).id

    def steps() -> list[int]:
        with studio.database.reading() as session:
            return [step for step, _ in metrics.series(session, run_id, ["dpo/loss"]).get("dpo/loss", [])]

    studio.until(lambda: steps()[-1:] >= [4])
    with studio.database.reading() as session:
        killed = jobs.get(session, job_id)
    assert killed.state == "running"
    os.kill(killed.pid, signal.SIGKILL)

    def ended() -> jobs.Job | None:
        with studio.database.reading() as session:
            job = jobs.get(session, job_id)
        return job if job.ended else None

    job = studio.until(ended)
    with studio.database.reading() as session:
        planned = runs.planned(session, run_id)
        n_steps = planned[-1].step + 1
        series = metrics.series(session, run_id)
        attempts = {
            attempt
            for (attempt,) in session.connection().exec_driver_sql(
                f"SELECT DISTINCT attempt FROM metric WHERE run_id = {run_id}"
            )
        }
        assert runs.get(session, run_id).state == "succeeded"
    assert (job.state, job.attempt, attempts) == ("succeeded", 2, {1, 2})
    assert [step for step, _ in series["dpo/loss"]] == list(range(1, n_steps + 1))
    assert sum(n for key in series if key.endswith("/n") for _, n in series[key]) == len(planned)


# -- a real family ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> Path:
    return checkpoints.build_qwen(tmp_path_factory.mktemp("models") / "tiny-qwen")


def test_a_qwen_checkpoint_answers_from_pictures_and_from_captions_and_every_answer_is_judged(studio, frozen, qwen):
    for route in ("video", "captions"):
        studio.does(
            "pair", "--model", qwen, "--input", route, "--limit", "3", "--magnitudes", "2", "--set", "max_new_tokens=8"
        )
        result = studio.job("pair").result
        assert (result["videos"], result["pairs"], result["failed"]) == (3, 9, {})
    with studio.database.reading() as session:
        model = next(card for card in models.listing(session) if card.family == "qwen2_5_vl")
        wanted = [PairFilter(status=status, model_id=model.id) for status in ("pending", "filtered")]
        made = [pairs.get(session, line.id) for each in wanted for line in pairs.page(session, each)]
    assert Counter(card.input for card in made) == {"video": 9, "captions": 9}
    assert all(card.verdicts for card in made)
    # What random weights say is cut off or alike: the rules refuse it, and it never reaches a reviewer.
    assert all(any(not verdict.passed for verdict in card.verdicts) for card in made if card.status == "filtered")
    assert any(card.status == "filtered" for card in made)


def test_a_qwen_checkpoint_trains_on_the_pairs_of_another_model_and_is_measured(studio, frozen, qwen):
    studio.does(
        "train", frozen, "--model", qwen, "--recipe", "dpo", "--pacing", "mixed", *SMALL, "--set", "pairs_per_step=8"
    )
    with studio.database.reading() as session:
        run = runs.listing(session)[0].run
        (stage,) = runs.stages(session, run.id)
        trained_on = {place.pair_id for place in runs.planned(session, run.id)}
        assert set(runs.scores(session, run.id, "final")) == trained_on
    assert (run.state, run.preset, stage.state) == ("succeeded", "paper", "succeeded")

    studio.does("evaluate", "--run", run.id, "--benchmarks", "held_out_preference", "--limit", "2")
    with studio.database.reading() as session:
        lines = evaluations.table(session, "held_out_preference")
    assert {line.moment for line in lines if line.model == run.base_model} == {"base", "dpo"}


# -- bad input -------------------------------------------------------------------------------------------------------


def refused(capsys, *argv) -> str:
    """The sentence with which a command refuses."""
    capsys.readouterr()
    assert main([str(part) for part in argv]) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" not in error.split(" failed: ")[-1]
    return error


def test_a_folder_without_videos_is_refused_with_what_was_looked_for(studio, tmp_path, capsys):
    assert "holds no video. Files ending in" in refused(capsys, "scan", tmp_path, "--quiet")


def test_a_path_that_is_no_model_and_weights_that_are_pickles_are_refused(studio, tmp_path, capsys):
    assert str(tmp_path) in refused(capsys, "pair", "--model", tmp_path)
    shutil.copytree(EMBEDDED_MODEL, tmp_path / "model")
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    assert "pytorch_model.bin" in refused(capsys, "train", "--model", tmp_path / "model")


def test_too_few_pairs_for_a_step_are_refused_with_the_ways_out(studio, frozen, capsys):
    error = refused(capsys, "train", frozen, "--recipe", "dpo", "--pacing", "strict", "--set", "pairs_per_step=500")
    assert "one step needs 500" in error
    assert "allow a smaller step" in error


def test_crossing_thresholds_are_refused(studio, capsys):
    assert "0.5, 0.4, 0.9" in refused(capsys, "freeze", "x", "--thresholds", ".5,.4,.9")


def test_unknown_ids_are_refused_by_name(studio, frozen, capsys):
    assert "There is no run 99" in refused(capsys, "train", "--resume", 99)
    assert "There is no run 99" in refused(capsys, "evaluate", "--run", 99, "--quiet")
    assert "There is no data set version 99" in refused(capsys, "train", 99, "--recipe", "dpo")
    assert "There is no SFT set 99" in refused(capsys, "train", frozen, "--sft-set", 99)


def test_a_row_that_changed_since_the_freeze_stops_the_run_before_it_trains(studio, frozen, capsys):
    with closing(sqlite3.connect(studio.home.database, isolation_level=None)) as behind_our_back:
        pair_id, text = behind_our_back.execute("SELECT id, chosen FROM pair WHERE status = 'accepted'").fetchone()
        behind_our_back.execute("UPDATE pair SET chosen = rejected WHERE id = ?", (pair_id,))
        try:
            error = refused(capsys, "train", frozen, "--recipe", "dpo", "--pacing", "mixed", *SMALL, "--quiet")
        finally:
            behind_our_back.execute("UPDATE pair SET chosen = ? WHERE id = ?", (text, pair_id))
    assert "1 of" in error and f"[{pair_id}]" in error
    assert "Freeze a new version" in error
    with studio.database.reading() as session:
        run = runs.listing(session)[0].run
        assert (run.state, run.training_plan_sha256) == ("failed", None)
        assert metrics.series(session, run.id) == {}
