"""The library page: limits that recount at once, videos that say why they fell, and folders that moved."""

from __future__ import annotations

import json
import shutil

import pytest

from db import jobs, pairs, people, places, timelines, videos
from db.pair_filters import PairFilter
from db.session import Database
from db.tables import LibraryRow
from jobs import payloads
from jobs.payloads import CopiesPayload, JudgePayload, RelinkPayload
from jobs.tasks import JobRef, load
from tempo_core.errors import TempoError
from tempo_core.settings import Home
from tests.pages.test_pages import component, opened, press, texts, widget
from ui import library_rules, state


@pytest.fixture
def filled(filled, home) -> Database:
    """The library's folder is the copy's own, and holds a file that is no video."""
    with filled.session() as session:
        session.get_one(LibraryRow, 1).root = str(home.media / "drawn")
    (home.media / "drawn" / "broken.mp4").write_bytes(b"no video")
    return filled


def do(database: Database, payload, home: Home):
    """Run a job of this payload as a worker would, and keep its result."""
    kind = payloads.kind_of(payload)
    with database.session() as session:
        person = people.local(session)
        job = jobs.enqueue(session, kind, payloads.as_json(payload), created_by=person.id, needs="cpu", again=True)
        taken = jobs.claim(session, "cpu:0", lease_ms=600_000)
    assert taken is not None and taken.id == job.id
    result = load(kind)(database, JobRef(job.id, kind, payload, 1, taken.token, home.runs, home), lambda _: None)
    with database.session() as session:
        jobs.succeed(session, job.id, taken.token, result)
    return result


def queued(database: Database):
    with database.reading() as session:
        (job,) = jobs.open_jobs(session)
    return job.kind, job.payload


def rows(app):
    return app.dataframe[0].value.set_index("video")


# ---- adding videos ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: path / "nowhere", "nowhere does not exist on this machine"),
        (lambda path: (path / "a.txt").touch() or path / "a.txt", "a.txt is a file, no folder"),
        (lambda path: (path / "notes").mkdir() or path / "notes", "notes holds no video"),
    ],
)
def test_a_folder_that_cannot_be_scanned_is_told_with_the_way_out(home, tmp_path, made, said):
    app = opened("library")
    app.text_input[0].input(str(made(tmp_path)))
    press(app, "Scan")
    assert said in texts(app)
    with state.database().reading() as session:
        assert not jobs.open_jobs(session)


def test_a_folder_is_queued_once_however_often_it_is_asked_for(home, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    app = opened("library")
    for _ in range(2):
        app.text_input[0].input(str(tmp_path / "videos"))
        press(app, "Scan")
    kind, payload = queued(state.database())
    assert (kind, payload["folder"]) == ("scan", str(tmp_path / "videos"))


# ---- rules -----------------------------------------------------------------------------------------------------------
def test_moving_a_limit_says_at_once_how_many_would_be_kept_and_judging_again_is_one_job(filled, home):
    app = opened("library", view="rules")
    assert "5 of 6 videos are kept under the limits in force" in texts(app).replace("**", "")
    app.slider(key="limit_max_shots").set_value(7).run()
    said = texts(app).replace("**", "")
    with filled.reading() as session:
        n_pairs = pairs.count(session)
    assert "0 would be kept (now 5): 0 come, 5 leave." in said, said
    assert f"5 of those that leave have {n_pairs} pairs. No pair is lost" in said
    press(app, "Judge all 6 videos again with these")
    assert queued(filled) == ("judge", {"richness": {"max_shots": 7.0}, "video_ids": []})


def test_judging_again_keeps_every_pair_and_its_clips(filled, home):
    with filled.reading() as session:
        n, card = pairs.count(session), pairs.get(session, 1)
    result = do(filled, JudgePayload({"max_shots": 7.0}), home)
    assert (result["kept"], result["left_out"], result["not_measured"]) == (0, 6, 0), result
    with filled.reading() as session:
        assert videos.counts(session)["kept"] == 0
        assert pairs.count(session) == n and pairs.get(session, 1).timeline_id == card.timeline_id
        assert timelines.current(session, card.video_id).id != card.timeline_id
    assert do(filled, JudgePayload(), home)["kept"] == 5
    with filled.reading() as session:
        assert timelines.current(session, card.video_id).id == card.timeline_id


def test_the_likeness_slider_needs_one_judging_and_counts_exactly_from_then_on(filled, home):
    app = opened("library", view="rules")
    app.slider(key="limit_likeness").set_value(0.5).run()
    assert "5 are not known" in texts(app)
    do(filled, JudgePayload(), home)
    app = opened("library", view="rules")
    app.slider(key="limit_likeness").set_value(0.5).run()
    assert "not known" not in texts(app)
    foreseen = next(t for t in texts(app).replace("**", "").splitlines() if "would be kept" in t)
    result = do(filled, JudgePayload({"likeness": 0.5}), home)
    assert foreseen.startswith(f"{result['kept']} would be kept")


def test_limits_that_no_video_could_pass_are_refused(filled):
    app = opened("library", view="rules")
    app.slider(key="limit_min_shots").set_value(12)
    app.slider(key="limit_max_shots").set_value(5).run()
    assert "Fewest shots is 12 and most shots is 5" in texts(app)
    assert not [b for b in app.button if b.label.startswith("Judge all")]
    press(app, "The paper's limits")
    assert app.slider(key="limit_min_shots").value == 4 and not app.error


def test_sliders_start_from_the_limits_in_force(filled, home):
    do(filled, JudgePayload({"min_clips": 3.0}), home)
    app = opened("library", view="rules")
    assert app.slider(key="limit_min_clips").value == 3
    assert widget(app.button, "The limits in force").disabled


# ---- videos ----------------------------------------------------------------------------------------------------------
def test_the_library_tells_each_refusal_with_value_and_limit(filled):
    table = rows(opened("library"))
    assert table.loc["two-scenes.mp4", "why"] == "2 shots, at least 4 are needed"
    assert table.loc["two-scenes.mp4", "verdict"] == "left out"
    assert table.loc["broken.mp4", "why"].startswith("damaged: It ends with no readable frame")
    assert list(table.loc["drawn-0.mp4", ["verdict", "clips"]]) == ["kept", 8]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"show": "too_few_shots"}, ["two-scenes.mp4"]),
        ({"show": "unreadable"}, ["broken.mp4"]),
        ({"name": "two"}, ["two-scenes.mp4"]),
        ({"name": "DRAWN-3", "show": "kept"}, ["drawn-3.mp4"]),
    ],
)
def test_a_filter_stands_in_the_address(filled, query, names):
    app = opened("library", **query)
    assert app.dataframe[0].value["video"].tolist() == names and not app.warning
    assert {name: app.query_params[name] for name in query} == query


def test_a_name_with_signs_of_a_search_is_taken_as_it_is(filled):
    assert "No video is in this filter" in texts(opened("library", name="%"))


def test_a_filter_is_judged_again_as_one_job(filled):
    app = opened("library", show="too_few_shots")
    press(app, "Judge all 1 of this filter again")
    with filled.reading() as session:
        (video_id,) = videos.matching(session, rule="too_few_shots")
    assert queued(filled) == ("judge", {"richness": {}, "video_ids": [video_id]})


def test_a_video_shows_its_shots_in_their_groups_every_rule_its_file_and_its_pairs(filled):
    app = opened("library", video="1")
    assert app.subheader[0].value == "drawn\\-0\\.mp4"
    data = json.loads(component(app, "tempo_watch").proto.json)
    assert [clip["letter"] for clip in data["clips"]] == list("ABCDEFGH")
    assert data["video_url"].startswith("/clips/1?") and data["sprite_url"].startswith("/sprites/")
    assert [shot["start_s"] for shot in data["shots"]] == sorted(shot["start_s"] for shot in data["shots"])
    assert app.dataframe[1].value["rule"].tolist()[0] == "enough shots"
    with filled.reading() as session:
        path, n = videos.path_of(session, 1), pairs.count(session, PairFilter(video_id=1))
    assert str(path) in [code.value for code in app.code]
    assert f"{n} pairs made from it" in texts(app)


def test_the_card_of_a_refused_video_names_the_rule_with_value_and_limit(filled):
    with filled.reading() as session:
        (video_id,) = videos.matching(session, rule="too_few_shots")
    app = opened("library", video=str(video_id))
    assert "too few shots: 2 shots, at least 4 are needed" in texts(app).replace("**", "")
    assert app.dataframe[1].value[""].tolist()[0] == "refused the video"


def test_a_video_is_withdrawn_with_a_reason_and_given_back(filled):
    app = opened("library", video="1")
    assert "leave every queue and every next version" in texts(app)
    press(app, "Withdraw 1")
    assert "Say why" in texts(app)
    widget(app.radio, "Because of").set_value("privacy")
    widget(app.text_input, "Why").input("The person asked for it")
    press(app, "Withdraw 1")
    assert "Withdrawn by local (privacy: The person asked for it)" in texts(app)
    assert rows(opened("library", show="withdrawn")).loc["drawn-0.mp4", "verdict"] == "withdrawn"
    press(opened("library", video="1"), "Give back")
    with filled.reading() as session:
        assert videos.get(session, 1).kept


# ---- folders ---------------------------------------------------------------------------------------------------------
def test_a_folder_that_is_gone_is_said_and_found_again_by_its_bytes(filled, home, tmp_path):
    root, new = home.media / "drawn", tmp_path / "elsewhere"
    root.rename(new)
    library_rules.st.cache_data.clear()
    app = opened("library", view="folders")
    assert "is gone: 7 of 7 files are missing" in texts(app).replace("**", "")
    widget(app.text_input, "Where did it go?").input(str(tmp_path / "nowhere"))
    press(app, "Find them")
    assert "nowhere does not exist on this machine" in texts(app)
    widget(app.text_input, "Where did it go?").input(str(new))
    press(app, "Find them")
    assert queued(filled) == ("relink", {"old": str(root), "new": str(new)})
    with filled.session() as session:
        jobs.cancel(session, jobs.open_jobs(session)[0].id)
    assert do(filled, RelinkPayload(str(root), str(new)), home)["found"] == 6
    with filled.reading() as session:
        assert videos.path_of(session, 1) == new / "drawn-0.mp4"
        assert [folder.root for folder in places.folders(session)] == [new]
    assert "6 files found, 0 still missing" in texts(opened("library", view="folders"))


# ---- copies ----------------------------------------------------------------------------------------------------------
def test_the_same_file_at_two_places_is_listed_as_one_video(filled, home):
    with filled.session() as session:
        value = videos.value(session, 1)
        videos.record(session, 1, "again/drawn-0.mp4", value, "t" * 64, {})
    app = opened("library", view="copies")
    table = app.dataframe[0].value
    assert table["video"].tolist() == ["drawn-0.mp4"] and table["places"].tolist() == [2]


def found_copies(database, likeness, **result):
    """A search for copies that has ended so."""
    with database.session() as session:
        person = people.local(session)
        job = jobs.enqueue(session, "copies", {"likeness": likeness}, created_by=person.id, needs="cpu")
        taken = jobs.claim(session, "cpu:0", lease_ms=600_000)
        jobs.succeed(session, job.id, taken.token, {"videos": 6, **result})


def test_copies_are_grouped_and_all_but_one_can_be_withdrawn(filled, home):
    found_copies(filled, 0.8, groups=[], alike=[])
    assert "No copies among 6 videos" in texts(opened("library", view="copies"))
    found_copies(filled, 0.7, groups=[[1, 2]], alike=[[1, 2, 0.93, 0]])
    app = opened("library", view="copies")
    assert "1 group; 1 video is in use although another" in texts(app)
    assert app.dataframe[-1].value["shared"].dropna().tolist() == [0.93]
    kept = widget(app.selectbox, "Keep").value
    press(app, "Withdraw 1")
    with filled.reading() as session:
        assert {i: videos.get(session, i).status for i in (1, 2)} == {kept: "ok", 3 - kept: "quarantine"}
        assert videos.get(session, 3 - kept).message == f"other: Copy of video {kept}"
    assert "is in use" in texts(opened("library", view="copies"))


def test_a_search_for_copies_reads_what_the_scans_kept(filled, home):
    result = do(filled, CopiesPayload(), home)
    assert (result["videos"], result["not_measured"]) == (6, 0)
    shutil.rmtree(home.cache / "scan")
    with pytest.raises(TempoError, match=r"likeness is 0\.2"):
        do(filled, CopiesPayload(0.2), home)


def test_a_viewer_sees_the_library_and_is_offered_nothing_to_change(filled, monkeypatch):
    with filled.session() as session:
        viewer = people.add(session, "test|v", "V", "viewer")
    monkeypatch.setattr(state, "person", lambda: viewer)
    for view in ("videos", "copies", "folders"):
        app = opened("library", view=view, video="1")
        assert not [b.label for b in app.button if b.label not in ("First page", "Next page")], view
