"""The curriculum page: the plan that it draws is the one that a run would store, before anything is saved."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from db import curricula, datasets, people, runs
from jobs import starting
from tempo_core.curriculum import stage_counts, steps_of_share, training_plan
from tempo_core.recipes import PACINGS, PRESETS
from tempo_core.types import PairRef
from tests.pages.test_pages import opened, press, texts, widget
from ui import order_chart
from ui.charts import level_names
from ui.palette import LIGHT


def choose(app, pacing, size=4):
    app.selectbox(key="order_embedded").select(pacing)
    app.slider(key="order_size_embedded").set_value(size)
    return app.run()


def drawn(app) -> dict:
    """The chart of shares: name of the level -> share in each step."""
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    spec = next(spec for spec in specs if spec["layout"].get("barmode") == "stack" and "customdata" in spec["data"][0])
    return {line["name"]: line["y"] for line in spec["data"]}


def stages(app):
    return next(table.value for table in app.dataframe if "left over" in table.value)


def as_list(values) -> list[float]:
    """Plotly writes long lists of numbers packed."""
    import base64

    import numpy as np

    if isinstance(values, dict):
        return list(np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]))
    return values


@pytest.mark.parametrize("pacing", PACINGS)
def test_what_is_drawn_before_freezing_is_what_the_frozen_version_would_train(filled, pacing):
    app = choose(opened("curriculum"), pacing)
    assert not app.exception and not app.error
    config = replace(PRESETS["embedded"], pacing=pacing, pairs_per_step=4)
    with filled.reading() as session:
        plan = starting.preview(session, datasets.listing(session)[0].id, config)
        refs = starting.refs(session, datasets.listing(session)[0].id)
    names = level_names()
    expected = {names[int(key[1:])]: list(shares) for key, shares in steps_of_share(plan).items()}
    assert {name: as_list(shares) for name, shares in drawn(app).items()} == expected
    counts = stage_counts(plan, refs)
    table = stages(app)
    assert table["steps"].tolist() == [count.n_steps for count in counts]
    assert table["pairs"].tolist() == [count.pairs for count in counts]
    assert table["left over"].tolist() == [count.dropped for count in counts]
    assert ("repeats" in table) == (pacing == "replay")


def test_a_moved_threshold_is_planned_at_once_and_nothing_is_stored(filled):
    app = choose(opened("curriculum"), "strict")
    before = stages(app).set_index("stage")["pairs"]
    app.slider(key="cut2").set_value(50).run()
    after = stages(app).set_index("stage")["pairs"]
    assert after["1 easy"] > before["1 easy"] and "2 medium" not in after
    assert "level 2 medium is empty" in texts(app)
    with filled.reading() as session:
        assert len(datasets.listing(session)) == 1


def test_held_out_videos_are_not_planned_and_their_slider_moves_them(filled):
    app = choose(opened("curriculum"), "mixed")
    assert "Without the 1 video of 5 that a version frozen so would hold out" in texts(app)
    assert "Only 1 video is held out of 5" in texts(app)
    fewer = stages(app)["pairs"].sum()
    app.slider(key="held_out_share").set_value(0).run()
    assert stages(app)["pairs"].sum() > fewer


def test_the_page_says_which_reference_it_is_and_that_one_stage_has_only_one(filled):
    app = choose(opened("curriculum"), "linear")
    assert "reset and base are the same model" in texts(app)
    choose(app, "strict")
    assert "the model that the stage before it left, as in the paper" in texts(app)
    app.session_state["order_reference"] = "base"
    app.run()
    assert "the one model that stood before the first stage" in texts(app)


def test_longer_wins_stands_beside_each_level_and_matching_lengths_is_counted(filled):
    app = choose(opened("curriculum"), "mixed")
    table = next(table.value for table in app.dataframe if "100% of" in str(table.value.values)).set_index("kind")
    assert table.loc["drop", "all"].startswith("100% of")
    widget(app.toggle, "Match lengths").set_value(True).run()
    said = texts(app)
    assert "no chosen answer is shorter than the rejected one" in said or "are left out for their lengths" in said


def test_few_videos_a_step_and_a_level_too_small_are_told(filled):
    app = choose(opened("curriculum"), "strict", 4)
    assert "videos in a step on average" in texts(app)
    pairs = sorted(stages(app)["pairs"] + stages(app)["left over"])
    choose(app, "strict", int(pairs[0]) + 1)
    said = texts(app)
    assert "is too small: it has" in said and "Drawn without the levels that are too small" in said
    assert 0 < len(stages(app)) < 4 and "is left out: it has" in said
    choose(app, "strict", 128)
    assert "one step needs 128" in texts(app) and "Move the thresholds" in texts(app)


def test_a_frozen_version_can_be_planned_too(filled):
    app = opened("curriculum")
    app.selectbox(key="order_of").select_index(1)
    choose(app, "strict")
    assert stages(app)["pairs"].sum() > 0 and "would be held out" not in texts(app)


# ---- saved curricula -------------------------------------------------------------------------------------------------
def saved(filled, name="gentle", cuts=(0.4, 0.6, 0.9), pacing="linear", axis="measured"):
    with filled.session() as session:
        return curricula.save(session, people.local(session), name, cuts, axis, pacing)


def sliders(app):
    return [app.slider(key=key).value for key in ("cut2", "cut3", "cut4")]


def test_what_the_sliders_say_is_saved_under_a_name_and_found_again_by_the_address(filled):
    app = choose(opened("curriculum"), "replay")
    for key, value in (("cut2", 30), ("cut3", 60), ("cut4", 80)):
        app.slider(key=key).set_value(value)
    app.run()
    app.text_input(key="curriculum_name").input("slow start")
    press(app, "Save curriculum")
    with filled.reading() as session:
        (card,) = curricula.listing(session)
    assert (card.name, card.thresholds, card.pacing) == ("slow start", (0.3, 0.6, 0.8), "replay")
    assert app.query_params["curriculum"] == str(card.id) and "saved as slow start" in texts(app)
    again = opened("curriculum", curriculum=str(card.id))
    assert sliders(again) == [30, 60, 80] and again.selectbox(key="order_embedded").value == "replay"


def test_a_curriculum_of_the_address_fills_the_sliders_and_moving_one_says_so(filled):
    number = saved(filled)
    app = opened("curriculum", curriculum=str(number))
    assert sliders(app) == [40, 60, 90] and app.selectbox(key="order_embedded").value == "linear"
    assert "saved as gentle" in texts(app)
    app.slider(key="cut2").set_value(10).run()
    assert "changed since gentle" in texts(app) and app.query_params["curriculum"] == str(number)
    moved = opened("curriculum", curriculum=str(number), cut2="10")
    assert sliders(moved) == [10, 60, 90]
    assert "There is no curriculum 99" in texts(opened("curriculum", curriculum="99"))
    assert sliders(opened("curriculum", cut2="7", cut3="x", cut4="900")) == [7, 50, 75]


def test_a_curriculum_is_renamed_and_forgotten_unless_a_run_names_it(filled):
    number = saved(filled)
    saved(filled, "other", (0.1, 0.2, 0.3))
    app = opened("curriculum", curriculum=str(number))
    widget(app.text_input, "New name").input("other")
    assert "Another curriculum is called 'other'" in texts(press(app, "Rename"))
    widget(app.text_input, "New name").input("kind")
    assert "saved as kind" in texts(press(app, "Rename"))
    press(app, "Forget it")
    with filled.reading() as session:
        assert [card.name for card in curricula.listing(session)] == ["other"]


def test_curricula_stand_side_by_side_with_their_levels_cuts_and_plans(filled):
    first, second = saved(filled), saved(filled, "paper", (0.25, 0.5, 0.75), "strict", "paper")
    app = choose(opened("curriculum"), "mixed")
    app.multiselect(key="compared").set_value([0, first, second]).run()
    said = texts(app)
    assert "levels begin at 40, 60, 90 %" in said and "nominal r; easy to hard, a stage per level" in said
    assert not app.exception and not app.error
    level_tables = [table.value for table in app.dataframe if "level" in table.value]
    assert len(level_tables) == 4
    assert {table["pairs"].sum() for table in level_tables[1:]} <= {level_tables[0]["pairs"].sum(), 0} | {
        table["pairs"].sum() for table in level_tables}  # fmt: skip
    assert level_tables[2]["pairs"][0] > level_tables[1]["pairs"][0]


def test_the_order_chosen_here_begins_the_form_of_a_new_run(filled):
    app = choose(opened("curriculum"), "replay")
    app.slider(key="order_together").set_value(5).run()
    press(app, "Use in a new run")
    assert app.session_state["run_wish"]["pacing"] == "replay"
    app.switch_page("pages/runs.py").run()
    said = texts(app)
    assert not app.exception and "order and numbers as on the Curriculum page" in said
    assert widget(app.selectbox, "Order of levels").value == "replay"
    assert widget(app.number_input, "Pairs a step").value == 4
    assert widget(app.number_input, "Pairs of a video side by side").value == 5
    press(app, "Take a preset instead")
    assert widget(app.selectbox, "Order of levels").value == "mixed"


def test_a_run_names_the_curriculum_that_its_version_and_its_order_follow(filled):
    quarters = saved(filled, "quarters", (0.25, 0.5, 0.75), "mixed")
    other = saved(filled, "other", (0.1, 0.5, 0.75), "mixed")
    app = opened("runs", curriculum=str(other))
    assert "Freeze a version with it first" in texts(app)
    app = opened("runs", curriculum=str(quarters))
    assert "The run follows the curriculum quarters" in texts(app)
    widget(app.selectbox, "Recipe").select("dpo")
    app.run()
    widget(app.number_input, "Pairs a step").set_value(4)
    widget(app.number_input, "Pairs in one forward").set_value(4)
    press(app, "Start")
    with filled.reading() as session:
        assert runs.listing(session)[0].run.curriculum_id == quarters


# ---- the picture --------------------------------------------------------------------------------------------------
def test_a_long_plan_is_drawn_in_few_columns_that_still_add_up():
    pairs = [PairRef(i, f"v{i % 90}", "drop", 1 + i // 1000, i / 4000, 4, 9, 5) for i in range(4000)]
    plan = training_plan(pairs, replace(PRESETS["paper"], pairs_per_step=4))
    figure = order_chart.shares(plan, stage_counts(plan, pairs), level_names(), LIGHT)
    assert plan.n_steps == 1000 and {len(bar.y) for bar in figure.data} == {200}
    assert all(sum(column) == pytest.approx(1) for column in zip(*(bar.y for bar in figure.data), strict=True))
    assert figure.data[0].customdata[0] == "1 to 5" and figure.data[0].customdata[-1] == "996 to 1000"
    assert [note.text for note in figure.layout.annotations] == ["1", "2", "3", "4"]
    assert len(figure.layout.shapes) == 3
