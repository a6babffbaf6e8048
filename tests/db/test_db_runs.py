"""Runs, curves, evaluations: a step that is recorded twice is one point, and every figure keeps its answers."""

import pytest

from db import artifacts, datasets, evaluations, metrics, models, runs, sft_sets
from db.reviews import ReviewItem, decide
from db.runs import Checkpoint, PairScore, StageLine
from db.sft_sets import SftDraft
from tempo_core.errors import DatasetDrift, NotAllowed, TempoError, Unknown
from tempo_core.recipes import PRESETS, RunConfig
from tempo_core.types import ItemScore, Metric, PlannedPair, Score


@pytest.fixture
def run(shelf, me):
    pair_id = shelf.pair()
    shelf.do(decide, me, ReviewItem("a", pair_id, 1, "accept"))
    version = shelf.do(datasets.freeze, me, "v")
    questions = shelf.do(sft_sets.create, me, "q", "world", [SftDraft("e", 1, 1, "q", "a")])
    model, _, _ = shelf.asked()
    named = {"dataset_version_id": version, "sft_set_id": questions, "code_version": "abc", "env": {"torch": "2.15"}}
    return shelf.do(runs.create, me, PRESETS["embedded"], model, name="first", **named)


def test_a_run_keeps_every_number_it_was_started_with(shelf, run):
    card = shelf.look(runs.get, run)
    assert card.config == PRESETS["embedded"]
    assert (card.state, card.recipe, card.base_model, card.env) == ("queued", "dpo_sft", "tiny", {"torch": "2.15"})


def test_a_run_needs_the_data_its_recipe_reads_and_an_admin(shelf, me, ada):
    model, _, _ = shelf.asked()
    with pytest.raises(TempoError, match="freeze a data set first"):
        shelf.do(runs.create, me, RunConfig(recipe="dpo"), model)
    with pytest.raises(TempoError, match="choose an SFT set"):
        shelf.do(runs.create, me, RunConfig(recipe="sft"), model)
    with pytest.raises(NotAllowed):
        shelf.do(runs.create, ada, RunConfig(recipe="sft"), model, sft_set_id=1)


def test_the_training_order_is_written_once_and_another_order_is_drift(shelf, run):
    order = [PlannedPair(0, 0, 0, 1, 4, 0.25), PlannedPair(1, 1, 1, 1, None, None)]
    shelf.do(runs.store_plan, run, order, "first")
    shelf.do(runs.store_plan, run, order, "first")
    assert shelf.look(runs.planned, run) == tuple(order)
    assert shelf.look(runs.listing)[0].n_steps == 2
    with pytest.raises(DatasetDrift, match="start a new run"):
        shelf.do(runs.store_plan, run, order[::-1], "second")


def test_stages_keep_what_they_reached_and_link_the_adapters(shelf, me, run):
    chain = [StageLine(0, "dpo", "l1", (1,), 16), StageLine(1, "sft", "sft", (), 3)]
    shelf.do(runs.set_stages, run, chain)
    shelf.do(runs.set_stage, run, 0, "succeeded", first_step=0, last_step=9, adapter="runs/1/l1", manifest_sha256="m")
    shelf.do(runs.set_stages, run, chain)
    done = StageLine(0, "dpo", "l1", (1,), 16, 0, 9, "succeeded", None, "runs/1/l1", "m")
    assert shelf.look(runs.stages, run) == (done, chain[1])
    parent = shelf.look(runs.get, run)
    child = shelf.do(
        runs.create, me, parent.config, parent.base_model_id, dataset_version_id=parent.dataset_version_id,
        sft_set_id=parent.sft_set_id, parent_run_id=run,
    )  # fmt: skip
    assert shelf.look(runs.adapters, child) == (done,)
    with pytest.raises(Unknown, match="no stage 7"):
        shelf.do(runs.set_stage, run, 7, "running")


def test_a_step_that_is_trained_again_is_one_point_and_what_came_after_the_checkpoint_is_forgotten(shelf, run):
    shelf.do(metrics.record, run, [Metric("l1/loss", step, step / 10) for step in range(8)])
    assert shelf.do(metrics.resumed, run, 5) == 2
    shelf.do(metrics.record, run, [Metric("l1/loss", step, 1.0) for step in (5, 6)], attempt=2)
    points = shelf.look(metrics.series, run)["l1/loss"]
    assert points == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4), (5, 1.0), (6, 1.0)]
    assert shelf.look(metrics.series, run, ["l1/loss"], after_step=4) == {"l1/loss": [(5, 1.0), (6, 1.0)]}
    assert shelf.look(metrics.series, run, ["l2/loss"]) == {}


def test_a_value_that_is_no_number_is_a_gap(shelf, run):
    values = [float("nan"), float("inf"), 0.5]
    shelf.do(metrics.record, run, [Metric("l1/loss", step, value) for step, value in enumerate(values)])
    assert shelf.look(metrics.series, run)["l1/loss"] == [(0, None), (1, None), (2, 0.5)]
    assert shelf.look(runs.last_values, run) == {"l1/loss": (2, 0.5)}


def test_the_newest_whole_checkpoint_comes_first(shelf, run):
    for step, attempt in ((10, 1), (20, 1), (20, 2)):
        shelf.do(runs.record_checkpoint, Checkpoint(run, 0, step, attempt, f"runs/1/{step}-{attempt}", "h"))
    assert [(c.step, c.attempt) for c in shelf.look(runs.checkpoints, run)] == [(20, 2), (10, 1)]
    shelf.do(runs.forget_checkpoints, run, [10])
    assert [c.step for c in shelf.look(runs.checkpoints, run)] == [20]


def test_a_restart_keeps_the_time_a_run_began_and_clears_its_end(shelf, run):
    shelf.do(runs.set_state, run, "running")
    began = shelf.look(runs.get, run).started_ms
    shelf.do(runs.set_state, run, "failed", error_class="oom", error="out of memory")
    assert shelf.look(runs.get, run).ended_ms is not None
    shelf.do(runs.set_state, run, "running")
    card = shelf.look(runs.get, run)
    assert (card.started_ms, card.ended_ms, card.error) == (began, None, None)


def test_scores_of_pairs_are_kept_per_moment_and_the_last_counts(shelf, run):
    shelf.do(runs.score_pairs, run, "base", {1: PairScore(0.1, -2.0, -3.0)})
    shelf.do(runs.score_pairs, run, "final", {1: PairScore(0.4)})
    shelf.do(runs.score_pairs, run, "final", {1: PairScore(0.5)})
    assert shelf.look(runs.scores, run, "base") == {1: PairScore(0.1, -2.0, -3.0)}
    assert shelf.look(runs.scores, run, "final") == {1: PairScore(0.5)}


def test_an_evaluation_keeps_its_interval_and_every_answer(shelf, run):
    items = (ItemScore("q1", "video a", 1.0, "red"), ItemScore("q2", "video a", None, "?"))
    score = Score("order", "accuracy", 0.5, 0.25, 0.75, 2, 1, 1, 0.25, items)
    model = shelf.look(models.listing)[0].id
    (first,) = shelf.do(evaluations.record, [score], model, {"n": 2}, run_id=run, moment="final")
    assert shelf.do(evaluations.record, [score], model, {"n": 2}, run_id=run, moment="final") == [first]
    base = shelf.do(evaluations.record, [score], model, {"n": 2})
    assert base == shelf.do(evaluations.record, [score], model, {"n": 2}) != [first]
    lines = shelf.look(evaluations.table, run_id=run)
    assert [(line.value, line.low, line.high, line.n_unparsed, line.recipe) for line in lines] == [
        (0.5, 0.25, 0.75, 1, "dpo_sft")
    ]
    assert shelf.look(evaluations.items, first) == items
    with pytest.raises(Unknown, match="evaluation 99"):
        shelf.look(evaluations.items, 99)


def test_a_file_that_is_written_again_keeps_its_id(shelf):
    video_id = shelf.video("a")
    first = shelf.do(artifacts.record, "sprite", "h1", "cache/a.jpg", 100, video_id=video_id)
    assert shelf.do(artifacts.record, "sprite", "h2", "cache/a.jpg", 120, video_id=video_id) == first
    assert shelf.look(artifacts.get, first).sha256 == "h2"
    assert [a.id for a in shelf.look(artifacts.listing, "sprite", video_id=video_id)] == [first]
    assert shelf.look(artifacts.listing, "proxy") == []


def test_a_model_is_its_files_wherever_they_lie(shelf, tmp_path):
    first, _, _ = shelf.asked()
    files = shelf.look(models.get, first).files_sha256
    assert shelf.do(models.register, tmp_path / "copy", "tiny", files) == first
    assert shelf.look(models.get, first).path == tmp_path / "copy"


@pytest.mark.parametrize("verb", [runs.get, datasets.get, sft_sets.get, models.get, artifacts.get, datasets.items])
def test_an_unknown_id_is_named_here_too(shelf, verb):
    with pytest.raises(Unknown, match="404"):
        shelf.look(verb, 404)
