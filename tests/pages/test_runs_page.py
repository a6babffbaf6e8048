"""The runs page: what a person sees of a run that is done and of one at work, and every way out of a chart."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from db import artifacts, jobs, metrics, people, run_notes, run_pairs, runs
from db.session import Database
from db.tables import JobRow
from tempo_core.settings import Home
from tests import trained
from tests.pages.test_pages import ROOT, button, opened, press, texts, widget
from ui import charts, run_compare, run_curves, run_log, run_now, state
from ui.palette import LIGHT
from ui.run_look import look


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, done_once) -> Home:
    made = Home(tmp_path_factory.mktemp("trained") / "home")
    shutil.copytree(done_once.root, made.root)
    database = Database.open(made.database)
    trained.add(database)
    database.close()
    return made


@pytest.fixture
def studio(trained_once, home) -> Database:
    """Run 1 is done, run 2 is in its second stage, in this very process."""
    shutil.copytree(trained_once.root, home.root)
    return state.database()


def ask(studio: Database, verb, *arguments, **named):
    with studio.reading() as session:
        return verb(session, *arguments, **named)


def links(app: AppTest) -> dict[str, str]:
    """Query of each page link by its label."""
    return {link.proto.label: link.proto.query_string for link in app.get("page_link")}


def test_a_run_that_told_nothing_for_ten_minutes_is_called_stalled(studio):
    assert "Stalled" not in texts(opened("runs", run="2"))
    with studio.session() as session:
        session.execute(
            update(JobRow).where(JobRow.state == "running").values(progress_ms=JobRow.progress_ms - 720_000)
        )
    said = texts(opened("runs", run="2"))
    assert "Stalled: nothing for 12 min" in said and "Look at the end of its log" in said


# ---- a run at work ---------------------------------------------------------------------------------------------------
def test_a_run_at_work_tells_its_stages_its_notes_and_how_fast_it_is(studio):
    app = opened("runs", run="2")
    said = texts(app)
    for words in ("dpo 1 easy", "dpo 2 medium", "dpo 3 hard", "dpo 4 hardest"):
        assert words in said
    assert said.count(" waiting") == 2 and " done" in said and " running" in said
    assert "1 of 1,204 pairs is too long and left out (longest 21,318 tokens)" in said
    assert "Out of memory in step 3: 1 pair a forward" in said
    told = {name: value for name, value, _ in run_now.counters(look(2))}
    assert all(f"**{value}**" in said for value in ("3.4 pairs/s", "8,192", "75%"))
    assert told["Speed"] == "3.4 pairs/s" and told["Tokens a step"] == "8,192"
    assert told["Saved by sharing"] == "3.5 times" and told["Videos from the cache"] == "75%"
    assert told["GPU memory"] == "61.2 of 140 GB" and told["Memory"].endswith("GB") and " of " in told["Memory"]
    assert button(app, "Stop")


def test_the_pace_counts_the_steps_left_and_says_when_it_is_not_known(studio):
    told = run_now.pace(look(2))
    stages = ask(studio, runs.outline, 2)
    assert told.startswith(f"Step {stages[0].last_step + 2:,} of {stages[-1].last_step:,}. ")
    assert " s a step, about " in told and "left" in told
    with studio.session() as session:
        metrics.resumed(session, 2, 0)
    assert run_now.pace(look(2)).endswith("The pace is known after the first steps.")


def test_chosen_is_falling_is_told_with_its_remedy_and_the_remedy_is_one_click(studio):
    app = opened("runs", run="2")
    assert "In level 1 easy the model finds the chosen answers less and less likely" in texts(app)
    press(app, "Clone with the SFT term")
    assert "A copy of **run 2**" in texts(app)
    assert widget(app.number_input, "Weight of the SFT term beside DPO").value == 1.0
    assert widget(app.number_input, "Learning rate of DPO").value == 5e-4
    assert widget(app.selectbox, "Order of levels").value == "strict"
    widget(app.radio, "A level with fewer pairs than one step").set_value("trains one smaller step")
    press(app, "Start")
    newest = ask(studio, runs.listing)[0].run
    assert (newest.id, newest.config.sft_weight, newest.config.dpo_lr, newest.state) == (3, 1.0, 5e-4, "queued")
    assert newest.parent_run_id is None
    assert "A copy of" not in texts(app) and app.query_params["run"] == "3"


def test_a_run_whose_chosen_answers_do_not_fall_has_no_such_badge(studio):
    assert "less and less likely" not in texts(opened("runs", run="1"))


def test_stop_is_asked_once(studio):
    app = press(opened("runs", run="2"), "Stop")
    assert button(app, "Stop").disabled
    assert ask(studio, jobs.get, ask(studio, runs.get, 2).job_id).cancel_requested


# ---- from a point to its pairs ---------------------------------------------------------------------------------------
def test_a_step_and_level_in_the_address_show_their_pairs_with_the_way_to_the_table_and_the_desk(studio):
    wanted = ask(studio, run_pairs.of_steps, 1, 1, 1, any_level=True)
    app = opened("runs", run="1", step="1")
    assert f"**{len(wanted)} pairs** of step 1, every level" in texts(app)
    ids = "ids=" + "%2C".join(str(pair.id) for pair in wanted)
    review = "Review this pair" if len(wanted) == 1 else f"Review these {len(wanted)}"
    assert links(app)["Open in Pairs"] == links(app)[review] == ids
    level = wanted[0].level
    some = [pair for pair in wanted if pair.level == level]
    app = opened("runs", run="1", step="1", level=f"l{level}")
    assert f"**{len(some)} pair" in texts(app) and f"of step 1, level {level} " in texts(app)
    press(app, "Close")
    assert "step" not in app.query_params and "Click a point" in texts(app)


@pytest.mark.parametrize(
    "asked", [{"step": "x"}, {"step": "1-"}, {"step": "9" * 40}, {"step": "1", "level": "l1; drop"}]
)
def test_a_point_that_makes_no_sense_is_named(studio, asked):
    app = opened("runs", run="1", **asked)
    assert ("There is no step" in texts(app)) is (asked["step"] != "1-")


def test_the_table_of_levels_tells_what_lengths_alone_would_give(studio):
    rows = run_curves.levels_table(look(1))
    assert [row["level"] for row in rows] == ["1 easy", "2 medium", "3 hard", "4 hardest"]
    assert rows[0]["longer wins"] == pytest.approx(0.99)
    assert [row["against length"] for row in rows] == ["no better than length", *["better than length"] * 3]


def test_each_drawn_point_knows_its_steps_and_level_also_where_a_long_curve_is_thinned():
    series = [(step, float(step)) for step in range(1, 1001)]
    figure = charts.curves("t", {"l2": series}, LIGHT, points=True)
    (line,) = figure.data
    assert len(line.x) <= charts.MOST_POINTS
    wide = math.ceil(len(series) / charts.MOST_POINTS)
    assert list(line.customdata[0]) == [1, wide, "l2"] and line.y[0] == (1 + wide) / 2
    assert list(line.customdata[-1])[1] == 1000
    short = charts.curves("t", {"l1": series[:3]}, LIGHT, points=True).data[0]
    assert [list(point) for point in short.customdata] == [[1, 1, "l1"], [2, 2, "l1"], [3, 3, "l1"]]


# ---- suspects --------------------------------------------------------------------------------------------------------
def test_suspects_stand_worst_first_and_are_one_click_from_the_desk(studio):
    found = ask(studio, run_pairs.suspects, 1)
    assert [pair.final for pair in found] == [trained.WRONG, trained.FELL]
    app = opened("runs", run="1", view="Suspects")
    said = texts(app)
    assert "1 of" in said and "still ranked the wrong way, and the margin of 1 more fell" in said
    table = next(frame.value for frame in app.dataframe if "why" in frame.value)
    assert table["pair"].tolist() == [pair.id for pair in found]
    assert table["why"].tolist() == ["still ranked the wrong way", "its margin fell"]
    assert links(app)["Review these 2"] == "ids=" + "%2C".join(str(pair.id) for pair in found)
    desk = opened("review", ids=",".join(str(pair.id) for pair in found))
    shown = [part for part in desk.get("bidi_component") if part.proto.component_name == "tempo_desk"]
    assert [pair["id"] for pair in json.loads(shown[0].proto.bytes)["queue"]] == [pair.id for pair in found]


def test_a_run_that_has_stored_no_margins_says_so(studio):
    assert "This run has none yet" in texts(opened("runs", run="2", view="Suspects"))


# ---- compare, log, settings ------------------------------------------------------------------------------------------
def test_runs_are_compared_by_curves_and_by_the_settings_that_differ(studio):
    app = opened("runs", run="2", view="Compare")
    table = app.dataframe[0].value.set_index("setting")
    assert table.loc["pacing"].tolist() == ["strict", "mixed"] and list(table) == ["run 2", "run 1"]
    assert table.loc["dpo lr"].tolist() == ["0.0005", "0.001"] and "beta" not in table.index
    drawn = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert [line["name"] for line in drawn["data"]] == ["run 2", "run 1"]
    assert drawn["layout"]["title"]["text"] == "Preference loss, level 1 easy"


def test_only_what_differs_is_listed():
    assert run_compare.differing({1: {"beta": 0.1, "seed": 0}, 2: {"beta": 0.1, "seed": 1}}) == [
        {"setting": "seed", "run 1": "0", "run 2": "1"}
    ]
    assert run_compare.differing({1: {"on": True}, 2: {"on": None}})[0]["run 2"] == "none"
    assert run_compare.differing({1: {"beta": 0.1}, 2: {"beta": 0.1}}) == []


def test_the_log_is_searched_for_every_word_whatever_the_case():
    lines = ["Stage 1 begins", "step 1", "stage 2 BEGINS"]
    assert run_log.found(lines, "begins stage") == ["     1  Stage 1 begins", "     3  stage 2 BEGINS"]
    assert run_log.found(lines, "nothing") == []


def test_every_view_opens_and_shows_the_settings_of_the_run(studio):
    app = opened("runs", run="2", view="Log")
    assert not app.exception and app.text_input(key="log_search")
    app = opened("runs", run="1", view="Settings")
    table = app.dataframe[0].value.set_index("setting")["value"]
    assert table["pairs per step"] == "2" and table["recipe"] == "dpo"


# ---- the notice ------------------------------------------------------------------------------------------------------
def front() -> AppTest:
    """The first page through the door, app.py; AppTest opens every further page without it (see the browser test)."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    assert not app.exception
    return app


def test_the_end_of_a_run_is_told_with_its_sentence_until_the_run_was_looked_at(studio):
    with studio.session() as session:
        run_notes.saw(session, people.local(session), 1)
        runs.set_state(session, 2, "failed", error="Out of memory. Use a smaller micro-batch.")
    app = front()
    assert "**Run 2**" in texts(app) and "has failed" in texts(app) and "Use a smaller micro-batch." in texts(app)
    assert [toast.value for toast in app.toast] == ["Run 2 has failed"] and links(app)["Look"] == "run=2"
    assert "**Run 2**" in texts(front())
    opened("runs", run="2")
    assert "**Run 2**" not in texts(front())


def test_a_notice_can_be_put_away(studio):
    app = front()
    assert "**Run 1**" in texts(app) and "is done" in texts(app) and "**Run 2**" not in texts(app)
    press(app, "Put away")
    assert "**Run 1**" not in texts(front())


# ---- the form --------------------------------------------------------------------------------------------------------
def test_a_recipe_with_sft_lets_one_choose_the_set_and_one_without_does_not(studio):
    app = opened("runs")
    widget(app.selectbox, "Recipe").select("dpo_sft").run()
    assert widget(app.selectbox, "SFT set").options == ["the drawn world's own examples"]
    widget(app.selectbox, "Recipe").select("dpo").run()
    assert "SFT set" not in [box.label for box in app.selectbox]


# ---- before a run ----------------------------------------------------------------------------------------------------
def test_an_estimate_is_asked_before_the_start_and_its_answer_stays_with_the_form(studio):
    app = opened("runs")
    n_runs = len(ask(studio, runs.listing))
    widget(app.selectbox, "Recipe").set_value("dpo").run()
    widget(app.radio, "A level with fewer pairs than one step").set_value("trains one smaller step").run()
    press(app, "Estimate")
    job = ask(studio, jobs.open_jobs)[-1]
    assert job.kind == "estimate" and job.payload["config"]["recipe"] == "dpo" and job.payload["smaller_step"] is True
    found = {"text": "about 3 h 20 min, 62 GB of GPU memory, 24 GB of disk", "n_steps": 1200, "n_pairs": 9600,
             "n_too_long": 7, "seconds": 12000.0, "memory_bytes": 6.2e10, "disk_bytes": 2.4e10,
             "warnings": ["The run may write 24 GB and 3 GB are free. Make room."]}  # fmt: skip
    with studio.session() as session:
        claimed = jobs.claim(session, "gpu:1", lease_ms=60_000)
        assert claimed is not None and claimed.id == job.id
        jobs.succeed(session, job.id, claimed.token, found)
    app.run()
    said = texts(app)
    assert "About 3 h 20 min, 62 GB of GPU memory" in said and "1,200 steps over 9,600 pairs, 7 left out" in said
    assert "3 GB are free" in said and "has changed since" not in said
    widget(app.selectbox, "Recipe").set_value("dpo_sft").run()
    assert "has changed since" in texts(app)
    assert len(ask(studio, runs.listing)) == n_runs


# ---- elsewhere -------------------------------------------------------------------------------------------------------
def test_a_stopped_run_can_be_bundled_and_brought_back_and_one_at_work_or_done_cannot(studio, tmp_path):
    for run_id in ("1", "2"):
        assert "Write a bundle" not in [b.label for b in opened("runs", run=run_id).button]
    with studio.session() as session:
        runs.set_state(session, 2, "cancelled")
    app = press(opened("runs", run="2"), "Write a bundle")
    job = ask(studio, jobs.open_jobs)[-1]
    assert (job.kind, job.payload) == ("bundle", {"run_id": 2, "folder": None})
    widget(app.text_input, "Folder of the bundle, or of its result").set_value(str(tmp_path / "nothing"))
    press(app, "Bring back")
    assert "nothing is no folder of this machine" in texts(app)
    widget(app.text_input, "Folder of the bundle, or of its result").set_value(str(tmp_path))
    press(app, "Bring back")
    assert ask(studio, jobs.open_jobs)[-1].payload == {"folder": str(tmp_path)}


def test_a_new_run_can_leave_at_once_and_is_not_queued_here(studio):
    app = opened("runs")
    widget(app.selectbox, "Recipe").set_value("dpo").run()
    widget(app.radio, "A level with fewer pairs than one step").set_value("trains one smaller step").run()
    press(app, "Train elsewhere")
    newest = ask(studio, runs.listing)[0].run
    assert (newest.state, newest.job_id) == ("cancelled", None)
    assert ask(studio, jobs.open_jobs)[-1].payload == {"run_id": newest.id, "folder": None}
    assert "it is to be trained elsewhere" in texts(app)


# ---- for the paper ---------------------------------------------------------------------------------------------------
def test_a_paper_is_asked_about_chosen_runs_and_what_was_written_can_be_taken_away(studio):
    app = opened("evaluate", view="paper")
    assert button(app, "Write").disabled
    widget(app.multiselect, "Runs").set_value([1]).run()
    press(app, "Write")
    job = ask(studio, jobs.open_jobs)[-1]
    assert (job.kind, job.payload) == ("paper", {"run_ids": [1], "folder": None})
    with studio.session() as session:
        artifact = artifacts.record(session, "export", "a" * 64, "exports/paper-1.zip", 2_500_000)
        claimed = jobs.claim(session, "cpu:0", lease_ms=60_000)
        assert claimed is not None and claimed.id == job.id
        jobs.succeed(session, job.id, claimed.token, {"folder": "x", "artifact_id": artifact})
    app.run()
    (link,) = [link for link in app.get("link_button") if "Download" in link.proto.label]
    assert "paper" in link.proto.label and "2.50 MB" in link.proto.label.replace("\\", "")
