"""Every page through app.py, on an empty studio and on one where everything has happened once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from db import bulk, datasets, jobs, pairs, people, runs, videos
from db.pair_filters import PairFilter
from db.reviews import ReviewItem, decide
from tempo_core.recipes import PACINGS, RECIPES
from ui import server, words

ROOT = Path(__file__).parent.parent.parent
PAGES = (
    "overview", "library", "pairs", "review", "sampling", "curriculum", "datasets", "runs", "evaluate", "team",
    "exchange", "settings", "doctor",
)  # fmt: skip


def opened(page: str, **query: str) -> AppTest:
    """The page as a visitor sees it who comes by this address."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    for name, value in query.items():
        app.query_params[name] = value
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception, [error.value for error in app.exception]
    return app


def texts(app: AppTest) -> str:
    """Everything the page says in words."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text", "code")
    links = [link.proto.label for link in app.get("page_link")]
    return "\n".join([element.value for kind in kinds for element in app.get(kind)] + links).replace("\\", "")


def button(app: AppTest, label: str):
    found = [b for b in app.button if label in b.label]
    assert len(found) == 1, (label, [b.label for b in app.button])
    return found[0]


def widget(found, label: str):
    return next(w for w in found if w.label == label)


def component(app: AppTest, name: str):
    (found,) = [shown for shown in app.get("bidi_component") if shown.proto.component_name == name]
    return found


def press(app: AppTest, label: str) -> AppTest:
    button(app, label).click().run()
    assert not app.exception, [error.value for error in app.exception]
    return app


# ---- an empty studio -------------------------------------------------------------------------------------------------
def test_every_page_of_an_empty_studio_says_what_to_do_first(home):
    assert "Scan a folder, or draw" in opened("library").info[0].value
    assert "library first" in opened("pairs").info[0].value
    assert "No pairs yet" in opened("curriculum").info[0].value
    assert "Nothing is accepted yet" in opened("datasets").info[0].value
    assert "Nothing is frozen yet" in opened("runs").info[0].value
    assert "No trained run yet" in opened("evaluate").info[0].value


# ---- a filled studio -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
def test_no_page_fails_on_a_filled_studio_or_on_an_address_that_names_nothing(filled, page):
    asked = {"pair": "999999", "run": "999999", "video": "999999"}
    assert not opened(page).error
    known = {"review": {"pair"}, "pairs": {"pair"}, "library": {"video"}, "runs": {"run"}, "evaluate": {"run"}}
    for name in known.get(page, set()):
        assert "999999" in texts(opened(page, **{name: asked[name]}))


def test_a_pair_shows_both_texts_the_shown_order_and_each_filter(filled):
    with filled.reading() as session:
        card = pairs.get(session, 3)
    app = opened("pairs", pair="3")
    said = texts(app)
    assert card.final_chosen in said and card.final_rejected in said
    strip = component(app, "tempo_strip")
    assert [cell["clip"] for cell in json.loads(strip.proto.json)["cells"]] == list(card.plan.order)


def test_making_pairs_refuses_a_folder_without_a_model_and_queues_the_embedded_one(filled, tmp_path):
    app = opened("pairs")
    model = widget(app.text_input, "Model folder")
    embedded = model.value
    model.input(str(tmp_path))
    press(app, "Make pairs")
    assert str(tmp_path) in texts(app) and app.error
    widget(app.text_input, "Model folder").input(embedded)
    press(app, "Make pairs")
    with filled.reading() as session:
        (job,) = jobs.open_jobs(session)
    assert (job.kind, job.payload["input"], job.payload["max_new_tokens"]) == ("pair", "captions", 96)


def test_sliders_that_cross_are_told_and_sliders_that_do_not_recount(filled):
    app = opened("curriculum")
    counted = app.dataframe[0].value
    # Reversed ones are still pending.
    assert counted["pairs"].tolist() == counted[["drop", "shuffle"]].sum(axis=1).tolist()
    app.slider(key="cut2").set_value(90).run()
    assert "Thresholds 0.9, 0.5, 0.75 cross" in texts(app)
    app.slider(key="cut3").set_value(95).run()
    app.slider(key="cut4").set_value(100).run()
    moved = app.dataframe[0].value
    assert not app.error and moved["pairs"][0] > counted["pairs"][0]
    assert moved["pairs"].sum() == counted["pairs"].sum()


def test_the_papers_axis_names_the_levels_by_their_magnitude(filled):
    app = opened("curriculum", axis="paper")
    assert app.dataframe[0].value["level"].tolist() == ["r16 easy", "r8 medium", "r4 hard", "r2 hardest"]


def test_too_few_pairs_for_a_step_are_told_and_the_user_may_take_smaller_steps(filled):
    app = opened("runs")
    widget(app.selectbox, "Recipe").select("dpo")
    widget(app.selectbox, "Preset").select("paper")
    app.run()
    widget(app.number_input, "Pairs a step").set_value(500)
    press(app, "Start")
    assert "one step needs 500" in texts(app) and "Move the thresholds" in texts(app)
    with filled.reading() as session:
        assert len(runs.listing(session)) == 1
    widget(app.radio, "A level with fewer pairs than one step").set_value("trains one smaller step")
    press(app, "Start")
    with filled.reading() as session:
        newest, (job,) = runs.listing(session)[0].run, jobs.open_jobs(session)
    assert (newest.state, newest.job_id, newest.config.pairs_per_step) == ("queued", job.id, 500)
    assert app.query_params["run"] == str(newest.id) and button(app, "Stop")


def test_an_edited_pair_that_the_embedded_model_cannot_read_is_told_before_a_run_is_queued(filled):
    with filled.session() as session:
        person, edited = people.local(session), pairs.page(session, PairFilter(status="accepted"))[0].id
        card = pairs.get(session, edited)
        told = "A guest claps at once."
        decide(session, person, ReviewItem("edited", edited, card.version, "edit", chosen=told, rejected=card.rejected))
        datasets.freeze(session, person, "edited")
    app = opened("runs")
    widget(app.selectbox, "Recipe").select("dpo").run()
    press(app, "Start")
    assert f"does not know 'A', 'guest', 'claps', 'at', 'once', which pair {edited} holds" in texts(app)
    assert f"open /review?pair={edited}" in texts(app)
    with filled.reading() as session:
        assert len(runs.listing(session)) == 1


def test_the_order_of_levels_is_chosen_on_the_form_and_stored_with_the_run(filled):
    app = opened("runs")
    order = widget(app.selectbox, "Order of levels")
    assert order.value == "mixed" and "easy to hard, a stage per level (the paper's)" in order.options
    order.select("strict")
    widget(app.selectbox, "Recipe").select("dpo").run()
    widget(app.radio, "A level with fewer pairs than one step").set_value("trains one smaller step")
    press(app, "Start")
    with filled.reading() as session:
        assert runs.listing(session)[0].run.config.pacing == "strict"


def test_every_recipe_and_every_order_of_levels_has_words():
    assert set(words.RECIPES) == set(RECIPES) and set(words.PACINGS) == set(PACINGS)


def test_a_stopped_run_is_resumed_and_a_done_one_shows_its_curves(filled):
    app = opened("runs", run="1")
    assert "done" in texts(app) and "dpo all" in texts(app)
    titles = [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in app.get("plotly_chart")]
    assert titles[:3] == ["Preference loss", "Reward margin", "Accuracy"]
    drawn = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    assert [line["name"] for line in drawn] == ["1 easy", "2 medium", "3 hard", "4 hardest"]
    with filled.session() as session:
        runs.set_state(session, 1, "cancelled", error="Stopped at step 7.")
    app = opened("runs", run="1")
    assert "Stopped at step 7." in texts(app)
    press(app, "Resume")
    with filled.reading() as session:
        assert [job.kind for job in jobs.open_jobs(session)] == ["train"]


def test_a_job_that_failed_is_told_with_its_reason(filled):
    with filled.session() as session:
        person = people.local(session)
        job = jobs.enqueue(session, "scan", {"folder": "/x"}, created_by=person.id, needs="cpu")
        taken = jobs.claim(session, "cpu:0", lease_ms=60_000)
        assert taken.id == job.id
        jobs.fail(session, job.id, taken.token, "bad_input", "/x does not exist. Name a folder that holds videos.")
    assert "scanning) failed: /x does not exist" in texts(opened("library"))


def test_the_filled_studio_is_what_these_tests_take_it_for(filled):
    with filled.reading() as session:
        assert set(pairs.counts(session).status) == {"pending", "accepted", "rejected", "flagged"}
        assert videos.counts(session)["kept"] == 5 and datasets.listing(session)[0].n_held_out > 0
    with filled.session() as session:
        assert bulk.undo(session, people.local(session), "bulk1").n > 0


@pytest.mark.parametrize(
    ("page", "query", "command"),
    [
        ("library", {}, "scan FOLDER"), ("pairs", {}, "captions FILE"), ("evaluate", {}, "--data FOLDER"),
        ("exchange", {}, "import FILE"), ("runs", {}, "sft FILE"),
    ],
)  # fmt: skip
def test_where_others_can_reach_the_studio_no_page_takes_a_path(filled, monkeypatch, page, query, command):
    assert any((field.placeholder or "").startswith("/") for field in opened(page, **query).text_input)
    monkeypatch.setattr(server, "only_this_machine", lambda: False)
    app = opened(page, **query)
    assert not [field.label for field in app.text_input if (field.placeholder or "").startswith("/")]
    assert command in texts(app)
