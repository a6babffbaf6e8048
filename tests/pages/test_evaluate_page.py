"""The evaluate page: figures with intervals, two checkpoints beside each other, single answers, and what is missing."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from db import datasets, evaluations, jobs, people, runs
from db.jobs import Job
from jobs import payloads
from jobs.payloads import EvaluatePayload
from tempo_core import question_sheets, render, trying
from tempo_core.types import Asked, ItemScore, Score
from tests import studio
from tests.pages import finished
from tests.pages.test_pages import component, opened, press, texts, widget
from ui import state
from ui.text import escaped


def charts(app) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def table(app, key: str):
    """The dataframe whose columns hold this name."""
    return next(frame.value for frame in app.dataframe if key in frame.value.columns)


# ---- scores ----------------------------------------------------------------------------------------------------------
def test_figures_stand_in_a_column_a_checkpoint_with_what_changed(filled):
    app = opened("evaluate")
    beside = table(app, "base").set_index("figure")
    assert list(beside.columns[:2]) == ["base", "DPO"]
    assert beside.loc["swap", "DPO"] == "0.900 [0.820, 0.980]" and beside.loc["swap", "questions"] == 40
    changes = table(app, "difference").set_index("figure")
    assert changes.loc["swap", "verdict"] == "better"
    assert changes.loc["recall", "difference"].startswith("-10.0 points [")
    said = texts(app)
    assert "all four comparisons right" in said and "one training run" in said
    titles = [chart["layout"]["title"]["text"] for chart in charts(app)]
    assert titles[0::2] == ["Order of events", "Content"]
    assert all(title.startswith("Points against base") for title in titles[1::2])
    signs = [{line["name"]: line["marker"]["symbol"] for line in chart["data"]} for chart in charts(app)]
    assert signs[0]["run 1: DPO"] == signs[1]["run 1: DPO"]
    press(app, "Measure before and after")
    with filled.reading() as session:
        assert [(job.kind, job.payload["run_id"]) for job in jobs.open_jobs(session)] == [("evaluate", 1)]


def test_a_partial_and_a_contaminated_score_say_so(filled):
    coverage = {"found": 402, "videos": 410, "asked": 1500, "questions": 1580, "missing": ["9_reverse"], "notes": []}
    settings = {"coverage": coverage, "pictures": 16, "contaminated": ["7"], "limit": None}
    with filled.session() as session:
        model = runs.get(session, 1).base_model_id
        found = finished._score("multi_choice", 0.5, 0.3)
        score = Score("tempcompass", *(getattr(found, name) for name in Score.__slots__[1:]))
        evaluations.record(session, [score], model, settings, moment="base", split="test")
    said = texts(opened("evaluate", benchmark="tempcompass"))
    assert "402 of 410 videos were there" in said and "9_reverse" in said
    assert "Contaminated: 1 of its videos were trained on" in said and "no leaderboard numbers" in said


def test_what_a_probe_found_is_said_in_words_beside_its_figures(filled):
    with filled.session() as session:
        model = runs.get(session, 1).base_model_id
        for moment, who, seen in (("base", None, 1.0), ("dpo", 1, 0.4)):
            found = [finished._score(metric, seen, 0.0) for metric in ("other_video", "grey")]
            scores = [Score("canary", *(getattr(one, name) for name in Score.__slots__[1:])) for one in found]
            evaluations.record(session, scores, model, {"version": 1}, run_id=who, moment=moment)
    app = opened("evaluate", benchmark="canary")
    assert "Run 1, dpo" in app.error[0].value and "does not see the video" in app.error[0].value
    assert "Base" in app.success[0].value and "100% with other video" in app.success[0].value.replace("\\", "")


def test_a_benchmark_folder_is_looked_at_before_anything_is_queued(filled, tmp_path):
    folder = tmp_path / "TempCompass"
    folder.mkdir()
    studio.draw(folder / "7.mp4", (6, 6))
    question = {"question": "What does it do?\nA. it moves\nB. it stays", "answer": "A. it moves"}
    (folder / "multi-choice.json").write_text(json.dumps({name: {"action": [question]} for name in ("7", "9_reverse")}))
    app = opened("evaluate")
    press(app, "Look into the folder")
    assert "Type the folder" in texts(app)
    widget(app.text_input, "Folder").input(str(folder))
    press(app, "Look into the folder")
    said = texts(app)
    assert "1 of 2 videos found, 1 of 2 questions are asked" in said and "missing: 9_reverse" in said
    with filled.reading() as session:
        assert not jobs.open_jobs(session)
    app.button(key="bench_go").click().run()
    with filled.reading() as session:
        (job,) = jobs.open_jobs(session)
    assert (job.payload["data"], job.payload["benchmarks"]) == (str(folder), ["tempcompass"])


def test_videos_that_the_run_was_trained_on_are_told_before_anything_is_queued(filled, tmp_path):
    folder = tmp_path / "TempCompass"
    folder.mkdir()
    with filled.reading() as session:
        trained = datasets.items(session, 1, "train")[0].pair.video
    shutil.copy(trained.path, folder / "7.mp4")
    question = {"question": "What does it do?\nA. it moves\nB. it stays", "answer": "A. it moves"}
    (folder / "multi-choice.json").write_text(json.dumps({"7": {"action": [question]}}))
    app = opened("evaluate")
    widget(app.text_input, "Folder").input(str(folder))
    for pressed in ("Look into the folder", "Measure"):
        next(button for button in app.button if button.label == pressed).click().run()
        assert "trained on: tempcompass: 7" in texts(app) and "nothing is queued" in texts(app)
        with filled.reading() as session:
            assert not jobs.open_jobs(session)
    widget(app.toggle, "Also on videos that the run was trained on").set_value(True)
    app.button(key="bench_go").click().run()
    with filled.reading() as session:
        (job,) = jobs.open_jobs(session)
    assert job.payload["allow_contaminated"] is True


# ---- two checkpoints -------------------------------------------------------------------------------------------------
def test_two_checkpoints_are_compared_in_words_with_what_could_have_been_shown(filled):
    app = opened("evaluate", view="compare", run="1")
    said = texts(app)
    assert "run 1: DPO is better than base" in said and "One cannot tell whether run 1: DPO differs from base" in said
    row = table(app, "McNemar p").set_index("figure").loc["swap"]
    assert (row["fixed"], row["broken"], row["questions"], row["videos"]) == (16, 0, 40, 10)
    assert row["McNemar p"] == pytest.approx(2 / 2**16) and row["p"] <= row["p, Holm"] < 0.05
    shown = table(app, "questions for ±1 point").set_index("figure").loc["swap"]
    assert shown["answers changed"] == "40.0%" and shown["questions for ±1 point"] == 15_367
    assert app.query_params["baseline"] == "base-2" and app.query_params["run"] == "1-dpo"


# ---- single answers --------------------------------------------------------------------------------------------------
@pytest.fixture
def asked(filled) -> Job:
    """Three questions of a benchmark in files, asked of the base and of run 1, as a job leaves them."""
    said = Asked(
        "What happens ![x](http://x/y) first?", ("A. it opens", "B. it closes"), "A. it opens", "/b/7.mp4", (3, 9)
    )
    with filled.session() as session:
        job = jobs.enqueue(session, "evaluate", {"run_id": 1}, created_by=people.local(session).id, needs="gpu")
        model = runs.get(session, 1).base_model_id
        for run_id, moment, right in ((None, "base", (0, 1, None)), (1, "dpo", (1, 0, 0))):
            items = tuple(ItemScore(f"q{i}", f"v{i}", r, f"answer {i} {moment}", said) for i, r in enumerate(right))
            score = Score("tvbench", "accuracy", 0.3, 0.1, 0.6, 3, 3, 1, 0.5, items)
            evaluations.record(session, [score], model, {"seed": 0}, run_id=run_id, moment=moment, job_id=job.id)
        jobs.cancel(session, job.id)
    folder = state.home().runs / "jobs" / str(job.id) / "asked"
    question_sheets.write(folder, "tvbench", [score])
    strip = render.contact_strip(np.zeros((2, 9, 16, 3), np.uint8))
    (folder / question_sheets.strip_name(said.video, said.numbers)).write_bytes(strip)
    return job


def test_answers_are_sorted_by_what_training_did_to_them(asked):
    app = opened("evaluate", benchmark="tvbench", view="answers")
    choice = next(c for c in app.get("button_group") if "Fixed by training 1" in str(c.proto))
    assert "Broken by training 1" in str(choice.proto) and "Unparsed 1" in str(choice.proto)
    assert table(app, "outcome")["item"].tolist() == ["q0"]
    broken = opened("evaluate", benchmark="tvbench", view="answers", filter="broken")
    assert table(broken, "outcome")["item"].tolist() == ["q1"]
    unparsed = table(opened("evaluate", benchmark="tvbench", view="answers", filter="unparsed"), "outcome")
    assert unparsed.loc[0, ["baseline", "compared", "outcome"]].tolist() == ["unparsed", "wrong", "both wrong"]


def test_an_answer_shows_its_question_both_texts_and_the_pictures_as_plain_text(asked):
    app = opened("evaluate", benchmark="tvbench", view="answers", filter="broken", item="q1")
    plain = [text.value for text in app.text]
    assert "What happens ![x](http://x/y) first?\nA. it opens\nB. it closes" in plain and "A. it opens" in plain
    assert {"answer 1 base", "answer 1 dpo"} <= set(plain)
    strip = json.loads(component(app, "tempo_strip").proto.json)
    assert strip["url"].startswith("data:image/jpeg;base64,") and [c["about"] for c in strip["cells"]] == [
        "frame 3",
        "frame 9",
    ]


# ---- try it ----------------------------------------------------------------------------------------------------------
def test_a_question_is_put_to_both_and_what_was_said_stands_beside_each_other(filled):
    app = opened("evaluate", view="try", video="2")
    widget(app.text_area, "Question").input("What comes first?")
    press(app, "Ask both")
    with filled.reading() as session:
        (job,) = jobs.open_jobs(session)
    assert (job.kind, job.payload, job.needs) == ("ask", {"checkpoints": ["base-2", "1-dpo"]}, "gpu")
    folder = state.home().runs / "jobs" / str(job.id)
    (trial_id,) = trying.waiting(folder, 2)
    assert trying.read(folder, trial_id) == trying.Trial(2, "What comes first?")
    trying.say(folder, trial_id, 0, trying.Said("red *circle* rises.", 4, "stop"))
    trying.say(folder, trial_id, 1, trying.Said("It does not know 'What'.", 0, "error"))
    app.run()
    assert "red *circle* rises." in [text.value for text in app.text] and "It does not know" in texts(app)
    assert trying.waiting(folder, 2) == []


def test_a_job_that_ended_just_before_a_question_is_followed_by_another(filled):
    app = opened("evaluate", view="try")
    press(app, "Ask both")
    with filled.session() as session:
        first = jobs.claim(session, "gpu:0", lease_ms=60_000)
        jobs.succeed(session, first.id, first.token, {})
    app.run()
    with filled.reading() as session:
        (second,) = jobs.open_jobs(session)
    assert second.id != first.id
    assert len(trying.waiting(state.home().runs / "jobs" / str(second.id), 2)) == 1


# ---- transfer --------------------------------------------------------------------------------------------------------
def test_the_matrix_shows_its_cells_and_queues_what_is_missing(filled):
    app = opened("evaluate", view="transfer")
    grid = table(app, "pairs written by").set_index("pairs written by")
    assert grid.loc["base"].str.startswith("0.500 [").any()
    assert grid.stack().str.contains("better, n 40 / 10").any()
    assert (grid.loc["SFT only"] == "missing").any()
    press(app, "Make CSV and LaTeX")
    assert [link.proto.label for link in app.get("link_button")] == [
        escaped(f"Download transfer-drawn_world-swap-dpo.{suffix}", longest=400) for suffix in ("csv", "tex")
    ]
    written = (state.home().exports / "transfer-drawn_world-swap-dpo.csv").read_text().splitlines()
    assert written[0].startswith("benchmark,metric,after,pairs by,trains,run") and written[1].endswith(",better,")


def test_a_table_for_which_there_is_no_room_leaves_the_one_before(filled):
    app = opened("evaluate", view="transfer")
    press(app, "Make CSV and LaTeX")
    (path,) = state.home().exports.glob("*.csv")
    before = path.read_bytes()
    path.with_name(f"{path.name}.part").symlink_to("/dev/full")
    said = texts(press(app, "Make CSV and LaTeX"))
    assert "The disk is full" in said and "Free some space" in said and path.read_bytes() == before


def test_only_a_run_that_is_done_can_be_measured_and_results_of_another_engine_are_asked_for_anew(filled):
    with filled.session() as session:
        card, me = runs.get(session, 1), people.local(session)
        brought = EvaluatePayload(run_id=7, engine="lmms-eval", results="/results")
        job = jobs.enqueue(session, "evaluate", asdict(brought), created_by=me.id, needs="gpu")
        jobs.cancel(session, job.id)
        found = finished._score("acc", 0.5, 0.3)
        score = Score("lmms_eval/mvbench", *(getattr(found, name) for name in Score.__slots__[1:]))
        settings = {"engine": "lmms-eval", "task": "mvbench", "limit": 8}
        evaluations.record(session, [score], card.base_model_id, settings, moment="base", job_id=job.id)
    app = opened("evaluate", view="transfer", benchmark="lmms_eval/mvbench")
    app.button(key=f"cell_{card.base_model_id - 1}_{card.base_model_id}").click().run()
    with filled.reading() as session:
        (job,) = jobs.open_jobs(session)
    asked = payloads.parse("evaluate", job.payload)
    assert (asked.run_id, asked.tasks, asked.limit, asked.results) == (1, ("mvbench",), 8, None)
    with filled.session() as session:
        runs.set_state(session, 1, "running")
    app = opened("evaluate", view="transfer", benchmark="lmms_eval/mvbench")
    assert "run 1 is running, not measured here" in texts(app)
    assert "Measure" not in [button.label for button in app.button]
