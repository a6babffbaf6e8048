"""The runs page lets models leave and conversations enter: both as jobs, with what came of them told by name."""

from __future__ import annotations

import json

import pytest

from db import jobs, people, sft_sets, videos
from jobs import conversations, payloads
from jobs.tasks import JobRef, sft
from tempo_core.errors import TempoError
from tests.pages.test_pages import button, opened, press, texts, widget
from ui import state

EVIL = "![x](http://e/p) <img src=x> :red[b].mp4"


def newest(database):
    with database.reading() as session:
        return jobs.latest(session, 1)[0]


def do(database):
    """Work off the newest job as its child does."""
    job = newest(database)
    with database.session() as session:
        taken = jobs.claim(session, "cpu:0", lease_ms=60_000)
    assert taken is not None and taken.id == job.id
    ref = JobRef(
        job.id, job.kind, payloads.parse(job.kind, job.payload), 1, taken.token, state.home().root, state.home()
    )
    try:
        result = sft.run(database, ref, lambda progress: None)
    except TempoError as error:
        with database.session() as session:
            jobs.fail(session, job.id, taken.token, error.error_class, str(error))
        return
    with database.session() as session:
        jobs.succeed(session, job.id, taken.token, result)


def written(folder, *named):
    said = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "A ball rolls."}]
    lines = [json.dumps({"id": str(i), "video": name, "conversations": said}) for i, name in enumerate(named)]
    (folder / "talks.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder / "talks.jsonl")


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_a_run_is_exported_by_a_job_in_the_form_that_was_chosen(filled, form):
    app = opened("runs", run="1")
    widget(app.radio, "Form").set_value(form).run()
    press(app, "Export")
    job = newest(filled)
    assert (job.kind, job.state) == ("export_model", "queued")
    assert (job.payload["run_id"], job.payload["form"]) == (1, form)


def test_what_was_exported_is_named_where_it_lies_and_can_be_downloaded(filled):
    with filled.session() as session:
        person = people.local(session)
        payload = payloads.as_json(payloads.ExportModelPayload(1))
        jobs.enqueue(session, "export_model", payload, created_by=person.id, needs="cpu")
        job = jobs.claim(session, "cpu:0", lease_ms=60_000)
        jobs.succeed(session, job.id, job.token, {"folder": "/home/exports/run-1-adapter"})
    assert "Written to /home/exports/run-1-adapter" in texts(opened("runs", run="1"))


def test_conversations_are_imported_by_a_job_and_what_was_left_out_is_named(filled, tmp_path):
    file = written(tmp_path, "drawn-0.mp4", "drawn-1.mp4", EVIL)
    app = opened("runs")
    assert button(app, "Import").disabled
    widget(app.text_input, "JSONL file").set_value(file).run()
    widget(app.checkbox, "Leave out videos that were not scanned").check().run()
    press(app, "Import")
    assert newest(filled).payload["skip_missing"] is True
    do(filled)
    app = opened("runs")
    said = texts(app)
    assert "2 examples about 2 videos" in said
    assert "1 videos of the file were left out" in said
    assert f"{EVIL}: there is no such file" in [text.value.split(", and")[0] for text in app.text][-1]


def test_a_bad_line_is_told_on_the_page_with_its_number_its_value_and_the_way_out(filled, tmp_path):
    file = written(tmp_path, "drawn-0.mp4")
    with open(file, "a") as lines:
        lines.write('{"video": "drawn-1.mp4", "conversations": [{"from": "gpt", "value": "I begin"}]}\n')
    app = opened("runs")
    widget(app.text_input, "JSONL file").set_value(file).run()
    press(app, "Import")
    do(filled)
    told = " ".join(error.value for error in opened("runs").error).replace("\\", "")
    assert 'Line 2: text 1 is from "gpt": human and gpt take turns, human is due' in told
    assert "Nothing of the file was imported" in told
    with filled.reading() as session:
        assert sft_sets.listing(session) == []


def test_the_table_counts_examples_and_names_videos_that_are_gone(filled, tmp_path):
    with filled.session() as session:
        person = people.local(session)
    file = tmp_path / "talks.jsonl"
    written(tmp_path, "drawn-0.mp4", "drawn-1.mp4")
    conversations.import_file(filled, person, file, name="talks")
    written(tmp_path, "drawn-0.mp4")
    conversations.import_file(filled, person, file, name="talks")
    with filled.reading() as session:
        place = videos.path_of(session, 2)
    # The library is the one folder of all tests here.
    place.rename(tmp_path / "kept.mp4")
    try:
        table = next(frame.value for frame in opened("runs").dataframe if "videos missing" in frame.value)
    finally:
        (tmp_path / "kept.mp4").rename(place)
    assert table["name"].tolist() == ["talks 2", "talks 1"]
    assert table["examples"].tolist() == [1, 2]
    assert table["videos found"].tolist() == [1, 1] and table["videos missing"].tolist() == [0, 1]
    assert table["missing"].tolist() == ["", "drawn-1.mp4"]
