"""A run that leaves the studio, is killed, goes on, and comes back: it is the run that would have been trained here."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from db import bulk, datasets, evaluations, jobs, metrics, people, run_notes, run_pairs, runs, sft_sets, timelines
from db.pair_filters import PairFilter
from db.session import Database
from db.sft_sets import SftDraft
from jobs import launch, payloads, starting, tasks
from jobs.tasks import JobRef
from tempo_core.errors import BundleRefused, Cancelled, FolderTaken, TempoError
from tempo_core.exchange import run_bundle, run_result, seals
from tempo_core.recipes import PRESETS
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.training import bundled
from tests import studio
from tests.paper.reading import faults

ROOT = Path(__file__).parent.parent.parent
CONFIG = replace(
    PRESETS["embedded"], recipe="dpo_sft", pairs_per_step=2, micro_batch=2, warmup=0.0, lora_r=4, lora_alpha=8,
    dpo_lr=5e-3, sft_steps=2, sft_examples_per_step=2, checkpoint_every=1,
)  # fmt: skip
NAME = "demo \\input{x} $a_b$ 100%"
HERE, AWAY = 1, 2
"""Two runs of the same data, order and settings: one is trained here, one elsewhere."""


@dataclass
class Told:
    """What a task may say; no database behind it."""

    def __call__(self, progress: Any) -> None: ...

    def tell(self, progress: Any) -> None: ...

    def should_stop(self) -> bool:
        return False


@dataclass
class Studio:
    home: Home
    database: Database

    def does(self, payload: Any) -> dict[str, Any]:
        """The work of a job, in this process."""
        kind = payloads.kind_of(payload)
        folder = self.home.runs / "jobs" / kind
        folder.mkdir(parents=True, exist_ok=True)
        return tasks.load(kind)(self.database, JobRef(1, kind, payload, 1, "", folder, self.home), Told())

    def ask(self, verb: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self.database.reading() as session:
            return verb(session, *arguments, **named)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Studio:
    """Five videos, two of them held out; shuffle pairs accepted; run 1 trained here, run 2 made to be bundled."""
    torch.set_num_threads(1)
    home = Home(tmp_path_factory.mktemp("home"))
    database = studio.fill(home, 5)
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(kinds=("shuffle",)), "accepted", token="all")
        version = datasets.freeze(session, person, NAME, held_out_share=0.4)
        shown = [kept for kept in timelines.kept(session) if kept.video_id in _trained(session, version)]
        drafts = [SftDraft(f"e{i}", k.video_id, k.timeline.id, "What happens first?", "red circle rises.")
                  for i, k in enumerate(shown)]  # fmt: skip
        sft_set = sft_sets.create(session, person, "talks", "jsonl", drafts)
    for elsewhere in (False, True):
        starting.start_run(
            database, person, CONFIG, EMBEDDED_MODEL, version_id=version, sft_set_id=sft_set, elsewhere=elsewhere
        )
    made = Studio(home, database)
    made.does(payloads.TrainPayload(HERE))
    with database.session() as session:
        # The worker's child would do so.
        runs.set_state(session, HERE, "succeeded")
    yield made
    database.close()


def _trained(session, version: int) -> set[int]:
    return {item.video_id for item in datasets.items(session, version, "train")}


@pytest.fixture(scope="module")
def bundle(filled, tmp_path_factory) -> Path:
    """Run 2, written as a bundle and trained from it; killed once on the way."""
    folder = tmp_path_factory.mktemp("elsewhere") / "run"
    filled.does(payloads.BundlePayload(AWAY, str(folder)))
    _killed(folder)
    bundled.train(folder, EMBEDDED_MODEL, lambda: False)
    return folder


DYING = """
import os, runpy, signal
from tempo_core.training.kept import Kept
kept = Kept.metrics
def dying(self, values):
    kept(self, values)
    if (self.folder / "metrics.jsonl").read_text().count("\\n") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Kept.metrics = dying
runpy.run_module("tempo_core.training.bundled", run_name="__main__", alter_sys=True)
"""
"""The one command of the README, dead once its second step is written: from outside it might be over by then."""


def _killed(folder: Path) -> None:
    command = [sys.executable, "-c", DYING, str(folder), "--model", str(EMBEDDED_MODEL)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEMPO_")}
    ended = subprocess.run(command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1"}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (folder / "result").exists()


@pytest.fixture
def result(bundle, tmp_path) -> Path:
    """A copy of the result to do harm to."""
    shutil.copytree(bundle / "result", tmp_path / "result")
    return tmp_path / "result"


def test_a_bundle_holds_the_pictures_and_names_no_folder_of_this_machine(filled, bundle):
    about = seals.check(bundle, run_bundle.FORM)
    found = run_bundle.read(bundle)
    assert about["run_id"] == AWAY and found.origin.plan_sha256 == filled.ask(runs.get, AWAY).training_plan_sha256
    assert found.planned == filled.ask(runs.planned, AWAY)
    texts = "".join(path.read_text() for path in bundle.iterdir() if path.is_file())
    assert str(filled.home.root) not in texts and ".mp4" in texts
    rows = (*found.pairs.values(), *found.examples)
    shown = {(row.video.sha256, n) for row in rows for clip in row.clip_key_frames for n in clip}
    assert len(list((bundle / "pictures").rglob("*.png"))) == len(shown) > 0
    assert not list(bundle.rglob("*.mp4"))
    readme = (bundle / "README.md").read_text()
    assert "-m tempo_core.training.bundled FOLDER --model MODEL" in readme and "may be 1, 2." in readme


def test_the_killed_run_went_on_and_ended_with_the_weights_and_curves_of_the_one_trained_here(filled, bundle):
    found = run_result.read(bundle)
    here = filled.ask(runs.stages, HERE)
    assert [stage.sha256 for stage in found.stages] == [stage.manifest_sha256 for stage in here]
    series = filled.ask(metrics.series, HERE)
    curve = [(metric.step, metric.value) for metric in found.metrics if metric.key == "dpo/loss"]
    assert curve == series["dpo/loss"] and len(curve) > 2 and curve[0][1] != curve[-1][1]
    margins = {i: score.margin for i, score in found.scores["final"].items()}
    assert margins == {i: score.margin for i, score in filled.ask(runs.scores, HERE, "final").items()}


def test_what_was_trained_elsewhere_comes_back_once_and_is_a_run_like_any_other(filled, bundle):
    assert filled.ask(runs.get, AWAY).state == "cancelled"
    first, second = (filled.does(payloads.BringBackPayload(str(bundle))) for _ in range(2))
    assert (first["run_id"], first["new"], second["new"]) == (AWAY, True, False)
    assert filled.ask(runs.get, AWAY).state == "succeeded"
    here, away = (filled.ask(runs.stages, run_id) for run_id in (HERE, AWAY))
    assert [(s.name, s.phase, s.first_step, s.last_step, s.manifest_sha256) for s in away] == [
        (s.name, s.phase, s.first_step, s.last_step, s.manifest_sha256) for s in here
    ]
    assert filled.ask(run_pairs.count_suspects, AWAY) == filled.ask(run_pairs.count_suspects, HERE)
    noisy = ("speed/", "cache/")
    curves = [
        {key: points for key, points in filled.ask(metrics.series, run_id).items() if not key.startswith(noisy)}
        for run_id in (HERE, AWAY)
    ]
    assert curves[0] == curves[1]
    said = [note.text for note in filled.ask(run_notes.listing, AWAY) if note.kind == "bundle"]
    assert said[-1].startswith("Trained elsewhere by one process on ")


def test_a_run_that_came_back_is_measured_and_exported_as_one_trained_here(filled, bundle, tmp_path):
    filled.does(payloads.BringBackPayload(str(bundle)))
    for run_id in (HERE, AWAY):
        filled.does(payloads.EvaluatePayload(run_id, benchmarks=("held_out_preference",)))
    found = {run_id: {(e.moment, e.metric): e.value for e in filled.ask(evaluations.table, run_id=run_id)}
             for run_id in (HERE, AWAY)}  # fmt: skip
    assert found[HERE] == found[AWAY] and ("dpo+sft", "accuracy") in found[AWAY]
    filled.does(payloads.ExportModelPayload(AWAY, folder=str(tmp_path / "model")))
    assert (tmp_path / "model" / "chain.json").is_file()


def test_a_paper_tells_of_both_runs_what_is_stored(filled, bundle, tmp_path):
    filled.does(payloads.BringBackPayload(str(bundle)))
    filled.does(payloads.EvaluatePayload(AWAY, benchmarks=("held_out_preference",)))
    done = filled.does(payloads.PaperPayload((HERE, AWAY), str(tmp_path / "paper")))
    assert done["figures"] == 5, "curves and order of each run, one benchmark"
    for path in (tmp_path / "paper").rglob("*.tex"):
        assert faults(path.read_text()) == [], path
    text = " ".join((tmp_path / "paper" / "methods.tex").read_text().split())
    card = filled.ask(datasets.listing)[0]
    n_train = card.n_pairs - card.n_held_out
    assert f"{n_train} pairs of 3 videos to train on and {card.n_held_out} pairs of 2 videos held out" in text
    assert f"Of the {card.n_pairs} pairs, {card.n_pairs} were accepted in bulk without being read." in text
    n_trained = len({place.pair_id for place in filled.ask(runs.planned, HERE)})
    assert f"{n_trained} pairs were trained on with all levels mixed in one stage" in text
    assert r"perturbed by shuffle with magnitudes" in text and "3 examples (talks" in text
    assert r"\emph{held\_out\_preference}" in text and "Runs 1 and 2 trained embedded" in text
    found = json.loads((tmp_path / "paper" / "configuration.json").read_text())
    assert [run["run_id"] for run in found["runs"]] == [HERE, AWAY]
    assert found["runs"][0]["links"][0]["sha256"] == found["runs"][1]["links"][0]["sha256"]
    with (tmp_path / "paper" / "tables" / "scores.csv").open() as file:
        values = {(row["model"], row["after"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    stored = {(f"run {e.run_id}", e.moment, e.metric): e.value for e in filled.ask(evaluations.table, run_id=AWAY)}
    assert stored and stored.items() <= values.items()


# ---- what must not come back ----------------------------------------------------------------------------------------
def sealed_again(result: Path) -> None:
    """As somebody would who knows how."""
    about = json.loads((result / "manifest.json").read_text())["about"]
    (result / "manifest.json").unlink()
    seals.seal(result, run_result.FORM, about)


def edited(path: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


@pytest.fixture
def waiting(filled) -> Studio:
    """The studio with a third run of the same settings that waits for its result."""
    card = filled.ask(runs.get, HERE)
    version, person = card.dataset_version_id, filled.ask(people.local)
    run_id = starting.start_run(
        filled.database, person, CONFIG, EMBEDDED_MODEL, version_id=version, sft_set_id=card.sft_set_id, elsewhere=True
    )
    with filled.database.session() as session:
        runs.store_plan(session, run_id, runs.planned(session, HERE), str(card.training_plan_sha256))
    filled.waits = run_id
    return filled


def as_of_run(result: Path, studio: Studio, run_id: int) -> None:
    """The result of another run, with the name of this one written over it."""
    manifest = json.loads((result / "manifest.json").read_text())
    manifest["about"] |= {"run_id": run_id, "run_sha256": studio.ask(runs.identity, run_id)}
    (result / "manifest.json").unlink()
    seals.seal(result, run_result.FORM, manifest["about"])


def refused(studio: Studio, result: Path, words: str) -> None:
    with pytest.raises(BundleRefused, match=words):
        studio.does(payloads.BringBackPayload(str(result)))
    assert studio.ask(runs.get, studio.waits).state == "cancelled"
    assert studio.ask(runs.stages, studio.waits) == () and studio.ask(metrics.series, studio.waits) == {}
    assert not (studio.home.runs / f"run-{studio.waits}").exists()


def test_the_result_of_another_run_is_refused_whatever_it_calls_itself(waiting, result):
    manifest = json.loads((result / "manifest.json").read_text())
    manifest["about"]["run_id"] = waiting.waits
    (result / "manifest.json").write_text(json.dumps(manifest))
    refused(waiting, result, "result of another run")


def test_a_changed_byte_is_found_in_any_file(waiting, result):
    as_of_run(result, waiting, waiting.waits)
    for path in (result / "metrics.jsonl", next(result.rglob("adapter_model.safetensors"))):
        kept = path.read_bytes()
        path.write_bytes(kept[:-2] + bytes([kept[-2] ^ 1]) + kept[-1:])
        refused(waiting, result, "is not what was written there")
        path.write_bytes(kept)
    (result / "notes.jsonl").unlink()
    refused(waiting, result, r"lacks notes\.jsonl")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("metrics.jsonl", lambda rows: rows[:-1], "curves of the result"),
        ("metrics.jsonl", lambda rows: [*rows, {"step": 99, "values": {"dpo/loss": 0.1}}], "curves of the result"),
        ("scores.jsonl", lambda rows: [*rows, rows[0] | {"pair_id": 999_999}], "pairs that the run does not train"),
        ("stages.jsonl", lambda rows: [rows[0] | {"last_step": 1}, *rows[1:]], "stages of the result"),
        ("stages.jsonl", lambda rows: rows[:1], "not those that the result lists"),
    ],
)
def test_claims_that_do_not_fit_the_run_are_refused_under_right_hashes(waiting, result, name, change, words):
    edited(result / name, change)
    sealed_again(result)
    as_of_run(result, waiting, waiting.waits)
    refused(waiting, result, words)


def test_a_file_that_is_no_part_of_an_adapter_does_not_come_in(waiting, result):
    link = next((result / "chain").iterdir())
    (link / "weights.bin").write_bytes(b"code")
    sealed_again(result)
    as_of_run(result, waiting, waiting.waits)
    refused(waiting, result, "not those that the result lists")


def test_adapters_of_other_settings_are_refused(filled, result):
    card = filled.ask(runs.get, HERE)
    run_id = starting.start_run(
        filled.database, filled.ask(people.local), replace(CONFIG, beta=0.3), EMBEDDED_MODEL, elsewhere=True,
        version_id=card.dataset_version_id, sft_set_id=card.sft_set_id,
    )  # fmt: skip
    with filled.database.session() as session:
        runs.store_plan(session, run_id, runs.planned(session, HERE), str(card.training_plan_sha256))
    filled.waits = run_id
    as_of_run(result, filled, run_id)
    refused(filled, result, "trained with other pairs, another order or other settings")


# ---- before and while it trains -------------------------------------------------------------------------------------
def test_a_bundle_that_was_changed_or_another_model_is_refused_before_anything_is_loaded(bundle, tmp_path, capsys):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("work", "result"))
    model = tmp_path / "model"
    shutil.copytree(EMBEDDED_MODEL, model)
    (model / "generation_config.json").write_text("{}")
    assert bundled.main([str(folder), "--model", str(model)]) == bundled.BAD_INPUT
    assert "is not the model of this run" in capsys.readouterr().err
    picture = next((folder / "pictures").rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"x")
    assert bundled.main([str(folder), "--model", str(EMBEDDED_MODEL)]) == bundled.BAD_INPUT
    assert f"{picture.name} in {folder} is not what was written" in capsys.readouterr().err
    assert not (folder / "work").exists()
    with pytest.raises(BundleRefused, match="holds no finished result"):
        run_result.read(folder)


def test_a_stopped_training_says_so_and_leaves_no_result(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("work", "result"))
    with pytest.raises(Cancelled, match="Stopped after step 1"):
        bundled.train(folder, EMBEDDED_MODEL, lambda: True)
    assert [path.name for path in folder.iterdir() if path.is_dir()].count("result") == 0


def test_a_bundled_run_leaves_the_queue_and_a_run_at_work_or_done_is_not_bundled(filled, tmp_path):
    card, person = filled.ask(runs.get, HERE), filled.ask(people.local)
    with pytest.raises(TempoError, match="Run 1 is done"):
        launch.bundle_run(filled.database, person, HERE)
    run_id = starting.start_run(
        filled.database, person, CONFIG, EMBEDDED_MODEL, version_id=card.dataset_version_id, sft_set_id=card.sft_set_id
    )
    job_id = launch.bundle_run(filled.database, person, run_id, str(tmp_path / "out"))
    assert filled.ask(jobs.get, job_id).kind == "bundle"
    assert filled.ask(jobs.get, filled.ask(runs.get, run_id).job_id).state == "cancelled"
    with filled.database.session() as session:
        runs.set_state(session, run_id, "running")
    with pytest.raises(TempoError, match=r"is being trained here\. Stop it first"):
        launch.bundle_run(filled.database, person, run_id)
    with filled.database.session() as session:
        runs.set_state(session, run_id, "cancelled")


def test_a_bundle_overwrites_nothing(filled, tmp_path):
    card = filled.ask(runs.get, HERE)
    run_id = starting.start_run(
        filled.database, filled.ask(people.local), CONFIG, EMBEDDED_MODEL, elsewhere=True,
        version_id=card.dataset_version_id, sft_set_id=card.sft_set_id,
    )  # fmt: skip
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FolderTaken):
        filled.does(payloads.BundlePayload(run_id, str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
