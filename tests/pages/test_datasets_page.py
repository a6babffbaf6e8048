"""The datasets page: what is frozen, from what, whether it is still that, and what came between two versions."""

from __future__ import annotations

import sqlite3

from db import bulk, curricula, datasets, jobs, people, reviews, videos, withdrawals
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from tests.pages.test_pages import button, opened, press, texts
from ui import state


def do(filled, verb, *arguments, **named):
    with filled.session() as session:
        return verb(session, people.local(session), *arguments, **named)


def newest(filled):
    with filled.reading() as session:
        return datasets.listing(session)[0]


def metrics(app) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_freezing_makes_a_version_that_holds_what_was_shown_before_and_is_used_at_once(filled):
    app = opened("datasets")
    app.text_input(key="freeze_name").input("second")
    app.slider(key="freeze_share").set_value(40).run()
    shown = metrics(app)
    press(app, "Freeze")
    card = newest(filled)
    assert (card.name, card.number, card.criteria["held_out_share"]) == ("second", 1, 0.4)
    assert f"Frozen as second 1: {card.n_pairs} pairs from 5 videos, {card.n_held_out} of them held out" in texts(app)
    assert shown["Pairs held out"] == f"{card.n_held_out}" and shown["Videos held out"] == "2"
    assert shown["Pairs to train on"] == f"{card.n_pairs - card.n_held_out}"
    assert app.selectbox(key="version").value == card.id and card.content_sha256 == app.code[0].value
    press(app, "Freeze")
    assert "Nothing is new since second 1" in texts(app) and newest(filled).id == card.id


def test_a_filter_of_the_pairs_page_and_a_saved_curriculum_make_the_version_and_stand_on_it(filled):
    number = do(filled, curricula.save, "gentle", (0.4, 0.6, 0.9))
    app = opened("datasets", curriculum=str(number), filter="kinds=drop&status=pending")
    assert app.selectbox(key="freeze_curriculum").value == number
    assert "Accepted pairs with kinds drop" in texts(app)
    press(app, "Freeze")
    card = newest(filled)
    assert card.criteria["kinds"] == ["drop"] and card.criteria["status"] == "accepted"
    assert (card.criteria["level_thresholds"], card.criteria["curriculum"]) == ([0.4, 0.6, 0.9], "gentle")
    with filled.reading() as session:
        assert {item.pair.kind for item in datasets.items(session, card.id)} == {"drop"}
    assert "Curriculum gentle (levels begin at 40, 60, 90 %)" in texts(app)


def test_a_version_is_verified_and_drift_is_told_with_the_way_out(filled):
    app = press(opened("datasets"), "Verify")
    assert "intact: " in texts(app)
    connection = sqlite3.connect(filled.path)
    connection.execute(
        "UPDATE timeline SET clips = replace(clips, '\"key_frames\":[', '\"key_frames\":[7,') WHERE id = 1"
    )
    connection.commit()
    connection.close()
    assert "Freeze a new version, or restore a backup" in texts(press(opened("datasets"), "Verify"))


def test_the_difference_of_two_versions_counts_and_links_each_pair(filled):
    old = newest(filled)
    with filled.reading() as session:
        first, second, third = (item.pair.pair_id for item in datasets.items(session, old.id)[:3])
    do(filled, reviews.decide, ReviewItem("r", first, 2, "reject"))
    do(filled, reviews.decide, ReviewItem("s", second, 2, "swap"))
    do(filled, reviews.decide, ReviewItem("e", third, 2, "edit", chosen="red circle rises."))
    do(filled, datasets.freeze, old.name)
    app = opened("datasets", part="Difference")
    assert metrics(app)["Removed"] == "1" and metrics(app)["Changed"] == "2"
    assert "Changed: 1 chosen and rejected swapped, 1 chosen response edited" in texts(app)
    table = next(t.value for t in app.dataframe if "what" in t.value).set_index("pair")
    assert table.loc[f"/pairs?pair={first}", "what"] == "removed"
    assert table.loc[f"/pairs?pair={second}", "what"].startswith("chosen and rejected swapped")


def test_a_version_says_which_runs_read_it_and_how_many_of_its_pairs_were_withdrawn_since(filled):
    card = newest(filled)
    app = opened("datasets", version=str(card.id), part="Runs")
    (link,) = [link.proto for link in app.get("page_link") if link.proto.label.startswith("run 1")]
    assert link.query_string == "run=1"
    with filled.reading() as session:
        gone = datasets.items(session, card.id)[0].video_id
        n = sum(item.video_id == gone for item in datasets.items(session, card.id))
    do(filled, withdrawals.withdraw, gone, "no licence ![x](http://evil.test/x)")
    app = opened("datasets", version=str(card.id), part="Content")
    assert f"{n} pairs are of a video that was withdrawn since" in texts(app)
    assert f"{n} accepted pairs are left out: the video was withdrawn" in texts(app)
    assert app.dataframe[1].value["withdrawn pairs"].tolist() == [n]


def test_the_way_to_look_for_copies_and_to_an_export_is_one_click(filled):
    press(opened("datasets"), "Look for copies")
    with filled.reading() as session:
        assert {job.kind for job in jobs.open_jobs(session)} == {"copies"}
    links = [link.proto for link in opened("datasets", part="Export").get("page_link")]
    (link,) = [link for link in links if link.label == "Export this version"]
    assert link.page == "exchange" and link.query_string == f"part=Export&version={newest(filled).id}"


def test_what_the_address_names_and_is_not_there_is_told(filled, monkeypatch):
    assert "There is no version 99. The newest one is shown." in texts(opened("datasets", version="99"))
    assert "There is no filter 'colour'" in texts(opened("datasets", filter="colour=red"))
    with filled.session() as session:
        ada = people.add(session, "test|ada", "Ada", "reviewer")
        bulk.decide(session, people.local(session), PairFilter(), "accepted", token="more")
        assert videos.libraries(session)
    monkeypatch.setattr(state, "person", lambda: ada)
    app = opened("datasets")
    assert button(app, "Freeze").disabled and "Freezing is for admins" in texts(app)
