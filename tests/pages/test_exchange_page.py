"""The exchange page: a file is looked into before anything is written, then imported; versions go out in any format."""

from __future__ import annotations

import json

import pytest

from db import bulk, datasets, jobs, pairs, people
from db.pair_filters import PairFilter
from jobs import payloads
from jobs.tasks import JobRef, import_pairs
from tempo_core.settings import Home
from tests import studio
from tests.pages.test_pages import button, opened, press, texts, widget
from ui import server, state

EVIL = "![x](http://e/p) <img src=x> :red[b]"


@pytest.fixture(scope="module")
def done_once(tmp_path_factory) -> Home:
    """Two videos, all their pairs accepted and frozen."""
    made = Home(tmp_path_factory.mktemp("exchange") / "home")
    database = studio.fill(made, 2)
    with database.session() as session:
        me = people.local(session)
        bulk.decide(session, me, PairFilter(), "accepted", token="all")
        datasets.freeze(session, me, "demo")
    database.close()
    return made


def rows(folder, *changes):
    row = {"video": "drawn-0.mp4", "question": f"What? {EVIL}", "chosen": f"Red rises. {EVIL}", "rejected": "Blue."}
    path = folder / f"{EVIL.replace('/', '_')}.jsonl"
    path.write_text("".join(json.dumps(row | change) + "\n" for change in changes))
    return str(path)


def newest(database):
    with database.reading() as session:
        return jobs.latest(session, 1)[0]


def do(database):
    """Work off the newest job as its child does."""
    job = newest(database)
    with database.session() as session:
        taken = jobs.claim(session, "cpu:0", lease_ms=60_000)
    payload = payloads.parse(job.kind, job.payload)
    result = import_pairs.run(
        database, JobRef(job.id, job.kind, payload, 1, taken.token, state.home().root, state.home()), lambda told: None
    )
    with database.session() as session:
        jobs.succeed(session, job.id, taken.token, result)


def frames(app):
    return [frame.value for frame in app.dataframe]


def looked_into(path):
    app = opened("exchange")
    widget(app.text_input, "File or folder").set_value(path).run()
    return press(app, "Look inside")


def test_an_empty_studio_says_where_pairs_come_from_and_that_nothing_went_out(home):
    assert "Videos are found in the library by their bytes or their name" in texts(opened("exchange"))
    assert "Nothing was imported yet" in texts(opened("exchange", part="History"))
    assert "Nothing is frozen yet" in texts(opened("exchange", part="Export"))


def test_a_file_is_shown_before_anything_is_written_and_imported_by_a_job(filled, tmp_path):
    path = rows(tmp_path, {}, {"chosen": "Red rises, twice."}, {"chosen": ""}, {"video": "gone.mp4"})
    app = looked_into(path)
    assert "Hugging Face rows" in texts(app) and "Of 4 records 2 would come in" in texts(app)
    reasons, shown = frames(app)
    assert dict(zip(reasons["left out because"], reasons["records"], strict=True)) == {
        "a text is empty": 1, "its video is not in the library": 1,
    }  # fmt: skip
    assert "line 4: no video of the library is called gone.mp4" in reasons["such as"].tolist()
    assert shown["chosen"].tolist() == [f"Red rises. {EVIL}", "Red rises, twice."]
    with filled.reading() as session:
        before = pairs.counts(session).total
    assert "1 of these pairs have no video in the library, so the files would be refused" in texts(app)
    widget(app.checkbox, "Skip pairs without their video").check().run()
    press(app, "Import")
    assert newest(filled).payload == {"path": path, "format": None, "videos": None, "skip_missing": True}
    do(filled)
    app = opened("exchange")
    assert "4 records read: 2 pairs imported, 2 skipped" in texts(app)
    with filled.reading() as session:
        assert pairs.counts(session).total == before + 2
    history = opened("exchange", part="History")
    (table,) = frames(history)
    assert table[["read", "imported", "skipped"]].values.tolist() == [[4, 2, 2]]
    again = looked_into(path)
    assert "Of 4 records 0 would come in" in texts(again) and button(again, "Import").disabled
    with filled.reading() as session:
        newest_pair = pairs.page(session, limit=1000)[-1].id
    assert "Imported from" in texts(opened("pairs", pair=str(newest_pair)))


def test_what_cannot_be_imported_is_told_at_once(filled, tmp_path):
    assert "does not exist on this machine" in texts(looked_into(str(tmp_path / "none")))
    path = tmp_path / "text.jsonl"
    said = [{"role": "user", "content": "?"}]
    path.write_text(json.dumps({"prompt": said, "chosen": said, "rejected": said}))
    assert "text only" in texts(looked_into(str(path)))


def test_files_of_the_machine_are_not_named_from_elsewhere_nor_by_others_than_admins(filled, monkeypatch):
    monkeypatch.setattr(server, "only_this_machine", lambda: False)
    assert not opened("exchange").text_input
    with filled.session() as session:
        ada = people.add(session, "test|ada", "Ada", "reviewer")
    monkeypatch.setattr(state, "person", lambda: ada)
    assert "this needs admin" in texts(opened("exchange"))
    assert button(opened("exchange", part="Export"), "Export").disabled


def test_a_version_goes_out_in_any_format_and_what_it_cannot_hold_is_said_before(filled):
    app = opened("exchange", part="Export")
    with filled.reading() as session:
        n = datasets.get(session, 1).n_pairs
    assert f"{n} of {n} pairs can be written" in texts(app)
    widget(app.selectbox, "Format").set_value("ms_swift_rejected_video").run()
    assert "Another objective than the paper's" in texts(app)
    press(app, "Export")
    assert newest(filled).payload["format"] == "ms_swift_rejected_video"
    widget(app.selectbox, "Format").set_value("hub").run()
    app.text_input(key="export_licence").set_value("cc-by-4.0").run()
    press(app, "Export")
    assert newest(filled).payload | {"version_id": 1} == {
        "version_id": 1, "format": "hub", "folder": None, "licence": "cc-by-4.0", "videos_from": "",
    }  # fmt: skip


def test_pairs_whose_video_is_gone_are_counted_with_the_reason_before_the_export(filled, done_once):
    place = done_once.media / "drawn" / "drawn-0.mp4"
    place.rename(place.with_suffix(".away"))
    try:
        app = opened("exchange", part="Export")
    finally:
        place.with_suffix(".away").rename(place)
    assert frames(app)[0]["left out because"].tolist() == ["its video is not where it was last seen"]
