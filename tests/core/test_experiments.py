"""Arms: what an experiment trains, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tempo_core.errors import BadSettings
from tempo_core.experiments import CHOSEN_ONLY, CONTROLS, Design, arms, cells
from tempo_core.recipes import PACINGS, PRESETS, RECIPES

BASE = PRESETS["embedded"]


def names(**chosen) -> list[str]:
    return [arm.name for arm in arms(Design(BASE, **chosen))]


def test_the_reference_comes_first_then_its_controls_then_the_other_recipes_and_orders():
    assert names(recipes=("dpo_sft", "dpo"), pacings=("strict",)) == [
        "dpo_sft, strict",
        "chosen only",
        "SFT, equal steps",
        "SFT, equal compute",
        "dpo_sft, mixed",
        "dpo_sft, hard_to_easy",
        "dpo, strict",
    ]


def test_what_would_train_the_same_is_one_arm():
    crossed = names(recipes=("dpo_sft", "sft"), pacings=("mixed", "strict", "hard_to_easy"))
    assert len(crossed) == len(set(crossed))
    # Two orders of the reference's recipe are its controls too; SFT alone has no order.
    assert crossed.count("sft") == 1
    assert set(crossed) == {
        "dpo_sft, mixed", "dpo_sft, strict", "dpo_sft, hard_to_easy", "chosen only", "SFT, equal steps",
        "SFT, equal compute", "sft",
    }  # fmt: skip


@pytest.mark.parametrize("recipe", CHOSEN_ONLY)
def test_every_recipe_with_dpo_has_a_twin_that_never_sees_a_rejected_answer(recipe):
    reference, chosen = arms(Design(BASE, recipes=(recipe,), pacings=("strict",), controls=("chosen_only",)))
    assert chosen.config == replace(reference.config, recipe=CHOSEN_ONLY[recipe])
    assert [{"dpo": "chosen_only"}.get(phase, phase) for phase in reference.phases] == list(chosen.phases)


def test_matched_sft_names_what_it_is_matched_to_and_leaves_its_steps_open():
    found = {arm.name: arm for arm in arms(Design(BASE, pacings=("mixed",)))}
    assert (found["SFT, equal steps"].match, found["SFT, equal compute"].match) == ("steps", "compute")
    assert found["SFT, equal compute"].config.sft_steps is None
    assert found["SFT, equal compute"].config.recipe == "sft"
    assert "dpo_sft, mixed" in found["SFT, equal compute"].says


def test_every_arm_of_every_design_can_be_trained_and_says_what_it_is_for():
    for arm in arms(Design(BASE, tuple(r for r in ("dpo", "sft_dpo", *RECIPES)), PACINGS)):
        assert arm.config.recipe in RECIPES and arm.config.pacing in PACINGS
        assert arm.says.endswith((".", "?")) and len(arm.says.split()) > 3


def test_one_seed_of_all_arms_comes_before_the_next_so_a_comparison_is_there_after_two_runs():
    found = arms(Design(BASE, controls=("chosen_only",), pacings=("mixed",)))
    order = [(arm.name, config.seed) for arm, config in cells(found, (3, 5))]
    assert order == [("dpo_sft, mixed", 3), ("chosen only", 3), ("dpo_sft, mixed", 5), ("chosen only", 5)]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"recipes": ()}, "at least one of recipes"),
        ({"recipes": ("ppo",)}, "'ppo'; there are dpo_sft"),
        ({"pacings": ("up",)}, "'up'"),
        ({"controls": ("x",)}, ", ".join(CONTROLS)),
        ({"seeds": ()}, "name at least one"),
        ({"seeds": (1, 1)}, "each once"),
        ({"recipes": ("sft",)}, "has no rejected side"),
        ({"seeds": tuple(range(200))}, "at most 500"),
    ],
)
def test_a_design_that_cannot_be_is_refused_with_what_may_be(chosen, said):
    with pytest.raises(BadSettings, match=said):
        arms(Design(BASE, **chosen))


def test_an_arm_that_is_no_recipe_with_pairs_may_be_the_reference_where_no_control_is_asked_for():
    assert names(recipes=("sft",), controls=()) == ["sft"]
