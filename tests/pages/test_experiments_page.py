"""Experiments on the evaluate page: queued by one click, and read as words, figures and a file."""

from __future__ import annotations

import csv

import pytest

from db import artifacts, evaluations, experiments, jobs, people, runs
from db.session import Database
from jobs import experimenting
from tempo_core.experiments import Design
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.types import ItemScore, Score
from tests.pages.finished import CONFIG
from tests.pages.test_pages import opened, press, texts, widget

EVIL = "<img src=x onerror=alert(1)> ![x](http://127.0.0.1:1/y) :red[z]"


@pytest.fixture
def measured(filled) -> Database:
    """Two arms of three seeds: the chosen answers alone order worse than DPO does."""
    with filled.reading() as session:
        person, version = people.local(session), 1
    design = Design(CONFIG, ("dpo",), ("mixed",), (0, 1, 2), ("chosen_only",))
    number = experimenting.queue(filled, person, f"one {EVIL}", design, EMBEDDED_MODEL, version_id=version)
    with filled.session() as session:
        for cell in experiments.cells(session, number):
            card = runs.get(session, cell.run_id)
            jobs.cancel(session, card.job_id)
            runs.set_state(session, card.id, "succeeded")
            moment = experiments.last_moment(card.recipe)
            share = 0.8 if card.recipe == "dpo" else 0.5
            scores = [_score(share, cell.seed)]
            evaluations.record(session, scores, card.base_model_id, {}, run_id=card.id, moment=moment)
    return filled


def _score(share: float, seed: int) -> Score:
    items = tuple(
        ItemScore(f"{i:02d}", f"video {i % 10}", float((7 * i + seed) % 40 < 40 * share), "said") for i in range(40)
    )
    return Score("drawn_world", "group", share, share - 0.1, share + 0.1, 40, 10, 0, 1 / 6, items)


def test_without_an_experiment_the_form_is_open_and_says_what_it_would_train(filled):
    app = opened("evaluate", view="experiments")
    widget(app.multiselect, "Controls").set_value(["chosen_only"]).run()
    widget(app.multiselect, "Recipes; the first is the reference").set_value(["dpo"]).run()
    assert not app.exception
    # Mixed order is the preset's: the reference and the arm without the rejected side, three seeds each.
    assert "6 runs. Training takes: unknown until a run" in texts(app)


def test_the_answer_is_told_in_words_with_its_interval_and_the_names_of_others_are_plain(measured):
    app = opened("evaluate", view="experiments")
    said = texts(app)
    assert "Does the rejected side help here?" in said
    assert "Yes: chosen only is worse in group than dpo, mixed." in said
    assert "group -0.300 [" in said
    assert "6 of 6" not in said
    shown = widget(app.selectbox, "Experiment")
    assert any(EVIL in option for option in shown.options)


def test_the_table_can_be_taken_away_as_plain_text(measured):
    app = press(opened("evaluate", view="experiments"), "Make a CSV of every figure")
    with measured.reading() as session:
        (made,) = [a for a in artifacts.listing(session, "export") if a.rel_path.endswith(".csv")]
    path = measured.path.parent / made.rel_path
    lines = list(csv.DictReader(path.open()))
    assert [(line["arm"], line["metric"], line["verdict"]) for line in lines] == [
        ("dpo, mixed", "group", ""), ("chosen only", "group", "worse")
    ]  # fmt: skip
    assert not app.exception


def test_each_part_of_an_experiment_opens(measured):
    app = opened("evaluate", view="experiments")
    for part in ("Learning", "Runs", "Result"):
        widget(app.get("button_group"), "Part").set_value([part]).run()
        assert not app.exception, app.exception


def test_what_is_missing_is_queued_by_one_click(measured):
    with measured.session() as session:
        first = experiments.cells(session, 1)[0]
        runs.set_state(session, first.run_id, "failed", error="The disk was full.")
    app = press(opened("evaluate", view="experiments"), "Queue what is missing")
    assert not app.exception
    with measured.reading() as session:
        assert [(job.kind, job.payload["run_id"]) for job in jobs.open_jobs(session)] == [("train", first.run_id)]
