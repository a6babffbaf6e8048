"""A matrix of who wrote the pairs and who was trained on them, from rows as real runs leave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from shelf import sha
from sqlalchemy import update

from db import bulk, datasets, evaluations, models, runs, samplings, sheets, transfer
from db.pair_filters import PairFilter
from db.tables import ModelRow
from jobs import paper_facts
from tempo_core.recipes import PRESETS
from tempo_core.types import ItemScore, Sampling, Score

pytestmark = pytest.mark.long_on_postgres
CONFIG = replace(PRESETS["embedded"], recipe="dpo")
VIDEOS = "abcde"


def scored(n_right: int, questions: str = "") -> Score:
    """Forty questions about ten videos."""
    items = tuple(ItemScore(f"{questions}{i:02}", f"v{i % 10}", float(i < n_right), "") for i in range(40))
    return Score("drawn_world", "swap", n_right / 40, 0.0, 1.0, 40, 10, 0, 0.5, items)


@pytest.fixture
def two(shelf, me):
    """Two models that each wrote pairs on the same videos and plans, each frozen as a version: {model: version}."""
    found = {}
    for name in ("first", "second"):
        with shelf.database.session() as session:
            model = models.register(session, Path(f"/models/{name}"), "tiny", sha(name), name)
        prompt, sampling = shelf.asked()[1:]
        shelf.recipe = model, prompt, sampling
        for video in VIDEOS:
            shelf.pairs(2, video)
        shelf.do(bulk.decide, me, PairFilter(model_id=model), "accepted", token=name)
        wanted = PairFilter(model_id=model)
        found[model] = shelf.do(datasets.freeze, me, name, wanted=wanted, held_out_share=0.2)
    return found


def trained(shelf, me, model: int, version: int, n_right: int | None, config=CONFIG, questions: str = "") -> int:
    """A run, with its figure and its base's where it was measured."""
    run = shelf.do(runs.create, me, config, model, dataset_version_id=version)
    shelf.do(runs.set_state, run, "succeeded")
    if n_right is not None:
        settings = {"dataset": questions or "d", "seed": 0}
        shelf.do(evaluations.record, [scored(20, questions)], model, settings, moment="base")
        shelf.do(evaluations.record, [scored(n_right, questions)], model, settings, run_id=run, moment="dpo")
    return run


def test_cells_are_differences_to_the_base_of_their_column(shelf, me, two):
    (a, of_a), (b, of_b) = two.items()
    for model, version, n_right in ((a, of_a, 40), (b, of_a, 36), (a, of_b, 21)):
        trained(shelf, me, model, version, n_right)
    found = shelf.look(transfer.matrix, "drawn_world", "swap")
    assert found.rows == {"base": "base", "sft": "SFT only", str(a): "first", str(b): "second"}
    assert [card.id for card in found.columns] == [a, b]
    cell = found.cells[str(a), b]
    assert (cell.found.difference, cell.found.verdict, cell.found.n) == (pytest.approx(0.4), "better", 40)
    assert found.cells[str(b), a].found.verdict == "cannot tell"
    assert found.cells["base", b].line.value == 0.5
    assert not any(cell.differs for cell in found.cells.values())
    missing = found.cells[str(b), b]
    assert (missing.found, missing.run_id, missing.version_id) == (None, None, of_b)
    assert found.cells["sft", a].version_id == found.like.dataset_version_id
    assert transfer.counted(found) == {"matched": 3, "missing": 3}


@pytest.mark.parametrize("family", ["server", "imported"])
def test_what_cannot_be_trained_is_a_row_and_no_column(shelf, me, two, family):
    (a, of_a), (b, _) = two.items()
    shelf.do(lambda session: session.execute(update(ModelRow).where(ModelRow.id == a).values(family=family)))
    trained(shelf, me, b, of_a, 36)
    found = shelf.look(transfer.matrix, "drawn_world", "swap")
    assert str(a) in found.rows and [card.id for card in found.columns] == [b]
    assert found.cells[str(a), b].found.verdict == "better"


def test_a_run_that_waits_for_its_measurement_is_told_apart_from_one_that_is_missing(shelf, me, two):
    (a, of_a), (b, _) = two.items()
    trained(shelf, me, a, of_a, 40)
    waiting = trained(shelf, me, b, of_a, None)
    cell = shelf.look(transfer.matrix, "drawn_world", "swap").cells[str(a), b]
    assert (cell.run_id, cell.run_state, cell.found, cell.differs) == (waiting, "succeeded", None, ())


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_ended_early_counts_only_where_it_was_measured(shelf, me, two, state):
    (a, of_a), (b, _) = two.items()
    trained(shelf, me, a, of_a, 40)
    stopped = trained(shelf, me, b, of_a, None)
    shelf.do(runs.set_state, stopped, state)
    cell = shelf.look(transfer.matrix, "drawn_world", "swap").cells[str(a), b]
    assert (cell.run_id, cell.version_id) == (None, of_a)
    shelf.do(evaluations.record, [scored(36)], b, {"dataset": "d", "seed": 0}, moment="base")
    shelf.do(evaluations.record, [scored(40)], b, {"dataset": "d", "seed": 0}, run_id=stopped, moment="dpo")
    cell = shelf.look(transfer.matrix, "drawn_world", "swap").cells[str(a), b]
    assert (cell.run_id, cell.found.n) == (stopped, 40)


def test_measured_cells_leave_as_values_with_what_does_not_match(shelf, me, two):
    (a, of_a), (b, _) = two.items()
    trained(shelf, me, a, of_a, 40)
    run = trained(shelf, me, b, of_a, 30, replace(CONFIG, dpo_lr=5e-4))
    first, second = transfer.measured(shelf.look(transfer.matrix, "drawn_world", "swap"))
    assert (first.written_by, first.trains, first.before, first.after) == ("first", "first", 0.5, 1.0)
    assert (second.trains, second.run_id, second.difference.value) == ("second", run, pytest.approx(0.25))
    assert (first.differs, second.differs) == ((), ("dpo_lr 0.0005, not 0.001",))


def test_a_paper_about_a_run_of_a_matrix_takes_the_whole_matrix(shelf, me, two):
    (a, of_a), (b, _) = two.items()
    other, own = trained(shelf, me, a, of_a, 40), trained(shelf, me, b, of_a, 36)
    found = shelf.look(paper_facts.transferred, [own])
    assert [(one.run_id, one.trains, one.moment) for one in found] == [(other, "first", "dpo"), (own, "second", "dpo")]
    assert shelf.look(paper_facts.transferred, [99]) == []


def test_another_recipe_other_pairs_or_other_questions_do_not_match_and_say_so(shelf, me, two):
    (a, of_a), (b, of_b) = two.items()
    trained(shelf, me, a, of_a, 40)
    trained(shelf, me, b, of_b, 30)
    trained(shelf, me, b, of_a, 30, replace(CONFIG, dpo_lr=5e-4))
    found = shelf.look(transfer.matrix, "drawn_world", "swap")
    assert found.cells[str(a), b].differs == ("dpo_lr 0.0005, not 0.001",)
    one = shelf.look(datasets.items, of_b, "train")[0].pair.pair_id
    shelf.do(bulk.decide, me, PairFilter(ids=(one,)), "rejected", token="fewer", redecide=True)
    fewer = shelf.do(datasets.freeze, me, "fewer", wanted=PairFilter(model_id=b), held_out_share=0.2)
    trained(shelf, me, a, fewer, 30)
    differs = shelf.look(transfer.matrix, "drawn_world", "swap").cells[str(b), a].differs
    assert "7 pairs, not 8" in differs and "other plans" in differs
    trained(shelf, me, a, of_b, 30, questions="other")
    assert shelf.look(transfer.matrix, "drawn_world", "swap").cells[str(b), a].differs == ("asked other questions",)


def test_pairs_of_models_that_place_text_after_a_video_differently_match_and_other_draws_do_not(shelf, me, two):
    (_, of_a), _ = two.items()
    drawn = {
        "positions": Sampling(positions="max_plus_one"),
        "temperature": Sampling(positions="max_plus_one", temperature=0.2),
    }
    for name, sampling in drawn.items():
        with shelf.database.session() as session:
            model = models.register(session, Path(f"/models/{name}"), "tiny", sha(name), name)
            shelf.recipe = model, shelf.asked()[1], samplings.id_of(session, sampling, {"transformers": "5.23"})
        for video in VIDEOS:
            shelf.pairs(2, video)
        shelf.do(bulk.decide, me, PairFilter(model_id=model), "accepted", token=name)
        version = shelf.do(datasets.freeze, me, name, wanted=PairFilter(model_id=model), held_out_share=0.2)
        differs = tuple(shelf.look(transfer.facts, version).differs(shelf.look(transfer.facts, of_a)))
        other = "asked on another input or with other sampling"
        assert differs == ((other,) if name == "temperature" else ())


def test_how_a_run_was_computed_does_not_make_it_another_recipe(shelf, me, two):
    (a, of_a), (b, _) = two.items()
    trained(shelf, me, a, of_a, 40)
    trained(shelf, me, b, of_a, 30, replace(CONFIG, micro_batch=4, dtype="bfloat16"))
    assert shelf.look(transfer.matrix, "drawn_world", "swap").cells[str(a), b].differs == ()


def test_sheets_hold_the_newest_figure_of_each_checkpoint(shelf, me, two):
    (a, of_a), _ = two.items()
    first = trained(shelf, me, a, of_a, 40)
    second = trained(shelf, me, a, of_a, 30, replace(CONFIG, seed=1))
    (sheet,) = shelf.look(sheets.listing)
    assert [c.key for c in sheet.checkpoints] == [f"base-{a}", f"{first}-dpo", f"{second}-dpo"]
    assert [sheet.line(c, "swap").value for c in sheet.checkpoints] == [0.5, 1.0, 0.75]
    alike = shelf.look(sheets.seeds, sheet.checkpoints)
    assert alike == {f"{first}-dpo": (first, second), f"{second}-dpo": (first, second)}
