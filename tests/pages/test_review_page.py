"""The review page, on an empty and on a filled database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import streamlit as st
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from db import guidelines, migrate, pair_margins, pairs, people, reviews, saved_views, settings
from db.pair_filters import NO_FILTER
from db.people import Person
from db.reviews import ReviewItem
from db.session import Database
from tempo_core.settings import Home
from tests import studio, trained
from ui import desk, desk_around, desk_campaign, desk_data, desk_keys, state

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(home) -> Home:
    return home.make()


def review_page(**query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    for name, value in query.items():
        app.query_params[name] = value
    return app.switch_page("pages/review.py").run()


def queue_of(app: AppTest) -> dict:
    shown = [component for component in app.get("bidi_component") if component.proto.component_name == "tempo_desk"]
    assert len(shown) == 1
    return json.loads(shown[0].proto.bytes)


def test_an_empty_studio_says_what_to_do_first(home):
    app = review_page()
    assert not app.exception
    assert "no pairs to review" in app.info[0].value
    assert "Library" in app.markdown[0].value and "Pairs" in app.markdown[0].value


def test_the_desk_holds_eight_pairs_with_all_that_a_reviewer_must_see(home):
    studio.fill(home, n_videos=1).close()
    app = review_page()
    assert not app.exception
    data = queue_of(app)
    assert len(data["queue"]) == 8 and data["counts"] == {"done": 0, "total": 9, "median_dwell_s": 0.0}
    first = data["queue"][0]
    assert {"kind", "magnitude", "aliases", "difficulty", "input", "order", "ranges", "checks", "diff"} <= set(first)
    assert first["input"] == "captions" and first["url"].startswith("/clips/1?e=")
    assert sum(b - a for clip in first["ranges"] for a, b in clip) == first["n_frames"]
    assert "".join(text for sentence in first["diff"]["chosen"] for _, text in sentence["words"]) == first["chosen"]


def test_the_filter_and_the_pair_of_the_address_are_kept(home):
    studio.fill(home, n_videos=1).close()
    assert {pair["kind"] for pair in queue_of(review_page(kinds="drop"))["queue"]} == {"drop"}
    assert queue_of(review_page(pair="5"))["queue"][0]["id"] == 5


def test_a_filter_or_a_pair_that_does_not_exist_is_named(home):
    studio.fill(home, n_videos=1).close()
    app = review_page(colour="<b>red</b>")
    assert not app.exception and "colour" in app.warning[0].value and "<b>" not in app.warning[0].value
    app = review_page(pair="999999")
    assert not app.exception and "999999" in app.warning[0].value
    assert "No pair matches" in review_page(search="zzzzzz").info[0].value


def item(token: str, pair: int, act: str = "accept", **more) -> dict:
    return {"token": token, "pair": pair, "version": 1, "act": act, "dwell_ms": 5, **more}


def written(database: Database, *items: dict) -> list:
    with database.reading() as session:
        person = people.local(session)
    return [desk._written(database, person, one) for one in items]


def test_an_item_that_arrives_again_is_answered_and_not_written_again(home):
    database = studio.fill(home, n_videos=1)
    assert written(database, item("t1", 1), item("t1", 1), item("t1", 1)) == ["saved"] * 3
    with database.reading() as session:
        assert len(reviews.history(session, 1)) == 1


def test_while_nothing_can_be_written_the_desk_says_so_and_shows_what_the_person_holds(home):
    studio.fill(home, n_videos=1).close()
    held = [pair["id"] for pair in queue_of(review_page())["queue"]]
    database = state.database()
    with database.session() as session:
        session.connection().exec_driver_sql("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(home.database, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        app = review_page()
    assert not app.exception
    assert "another program is writing" in app.error[0].value and "kept in this browser" in app.error[0].value
    assert [pair["id"] for pair in queue_of(app)["queue"]] == held
    assert not review_page().error


def test_a_decision_that_a_full_disk_refuses_is_not_answered_so_that_the_browser_keeps_it(home):
    database = studio.fill(home, n_videos=1)
    with database.session() as session:
        person = people.local(session)
        session.execute(text("PRAGMA max_page_count = 1"))
    long = item("t1", 1, note="x" * 100_000)
    assert not desk.take(database, person, [long]) and st.session_state[desk._ACKED] == {}
    assert "Free some space" in st.session_state[desk._TROUBLE]
    with database.session() as session:
        session.execute(text("PRAGMA max_page_count = 100000"))
    assert desk.take(database, person, [long]) and st.session_state[desk._ACKED] == {"t1": "saved"}
    assert st.session_state[desk._TROUBLE] is None
    with database.reading() as session:
        assert [line.token for line in reviews.history(session, 1)] == ["t1"]


@pytest.mark.parametrize("name", ["of", "reason", "chosen", "rejected", "note", "dwell_ms"])
def test_an_item_of_another_shape_is_not_looked_at(name):
    good = item("t1", 1)
    assert desk._items({"items": [good, {**good, name: {"x": 1}}, {**good, name: ["x"]}]}) == [good]


def test_what_can_not_be_written_is_answered_too_so_that_the_browser_lets_go(home):
    database = studio.fill(home, n_videos=1)
    unknown, empty, nonsense = written(
        database, item("t1", 777), item("t2", 1, "edit", chosen="  "), item("t3", 1, "marry")
    )
    assert "777" in unknown["conflict"]["why"] and "empty" in empty["conflict"]["why"]
    assert "marry" in nonsense["conflict"]["why"]


def test_a_second_reviewer_is_told_who_was_first(home):
    database = studio.fill(home, n_videos=1)
    with database.session() as session:
        ada = people.add(session, "x|ada", "Ada", "reviewer")
    desk._written(database, ada, item("ada-1", 1))
    (answer,) = written(database, item("t1", 1, "reject"))
    assert answer["conflict"]["by"] == "Ada" and answer["conflict"]["verdict"] == "accepted"


def test_two_reviewers_never_hold_the_same_pair(home):
    database = studio.fill(home, n_videos=1)
    with database.session() as session:
        ada, ben = (people.add(session, f"x|{name}", name, "reviewer") for name in ("Ada", "Ben"))

    def queue(person) -> set[int]:
        data = desk_data.desk_data(database, home, person, NO_FILTER, lambda room, number: f"/{room}/{number}")
        return {pair["id"] for pair in data["queue"]}

    first, second = queue(ada), queue(ben)
    assert len(first) == 8 and second and not first & second
    assert queue(ada) == first


def test_a_pair_without_its_scan_can_still_be_judged(home):
    """The cache may be cleared: rate and length then come from the video's row."""
    database = studio.fill(home, n_videos=1)
    for stored in (home.cache / "scan").iterdir():
        stored.unlink()
    desk_data._scanned.cache_clear()
    first = queue_of(review_page())["queue"][0]
    with database.reading() as session:
        card = pairs.get(session, first["id"])
    assert first["n_frames"] == card.timeline[-1].ranges[-1][1] and first["fps"] == [24, 1]


def test_an_upgrade_of_an_empty_home_gives_a_working_page(home):
    migrate.upgrade(home)
    assert not review_page().exception


def test_pairs_named_in_the_address_are_shown_in_that_order_whatever_was_decided_about_them(home):
    database = studio.fill(home, n_videos=1)
    with database.session() as session:
        reviews.decide(session, people.local(session), ReviewItem("t", 5, 1, "accept"))
    assert [pair["id"] for pair in queue_of(review_page(ids="5,2,7"))["queue"]] == [5, 2, 7]
    assert "No pair matches" in review_page(ids="4040").info[0].value
    assert "is no value for the filter ids" in review_page(ids=str(2**70)).warning[0].value
    database.close()


# ---- what surrounds a pair ------------------------------------------------------------------------------------------
def test_every_act_has_a_key_of_its_own_and_words():
    assert set(desk_keys.WORDS) == set(desk_keys.DEFAULTS)
    assert settings.conflicts(desk_keys.DEFAULTS) == {}
    assert desk_keys.merged({"accept": "j", "gone": "x"}) == {**desk_keys.DEFAULTS, "accept": "j"}
    assert [desk_keys.shown(key) for key in ("a", " ", "Shift+ArrowLeft", "Control+k", "?")] == [
        "A", "Space", "Shift + ←", "Ctrl + K", "?",
    ]  # fmt: skip


def test_the_desk_gets_the_persons_keys_the_groups_reasons_and_the_guidelines(home):
    database = studio.fill(home, n_videos=1)
    with database.session() as session:
        me = people.local(session)
        settings.set_keys(session, me, {"accept": "j"}, defaults=desk_keys.DEFAULTS)
        settings.set_reasons(session, me, ["too blurred"])
        now = guidelines.write(session, me, "Look twice.")
        saved_views.save(session, me, "pairs", "Short & hard", {"levels": "4", "search": "a b"})
    data = queue_of(review_page())
    assert data["keys"]["accept"] == "j" and data["keys"]["reject"] == "r"
    assert data["reasons"] == ["too blurred"]
    assert data["views"] == [{"name": "Short & hard", "url": "/pairs?levels=4&search=a+b"}]
    assert data["guidelines"]["text"] == "Look twice." and data["guidelines"]["sha256"] == now.sha256
    assert (
        written(database, item("t1", 1, guideline=now.sha256), item("t2", 2, guideline="no such text")) == ["saved"] * 2
    )
    with database.reading() as session:
        assert guidelines.followed(session) == {now.sha256: 1}


def test_a_decided_pair_tells_its_verdict_its_history_and_its_comments(home):
    database = studio.fill(home, n_videos=1)
    with database.session() as session:
        ada = people.add(session, "x|ada", "Ada", "reviewer")
    desk._written(database, ada, item("c", 5, "comment", note="look at clip 2"))
    desk._written(database, ada, item("r", 5, "reject"))
    desk._written(database, ada, item("u", 5, "undo", of="r"))
    desk._written(database, ada, item("a", 5))
    first = queue_of(review_page(pair="5"))["queue"][0]
    assert (first["standing"]["verdict"], first["standing"]["by"]) == ("accepted", "Ada")
    assert [(line["did"], line["undone"]) for line in first["history"]] == [
        ("rejected it", True), ("took the decision back", False), ("accepted it", False),
    ]  # fmt: skip
    assert [said[:2] for said in first["comments"]] == [["Ada", "look at clip 2"]]


def test_an_undone_decision_is_the_first_in_the_queue_again(home):
    database = studio.fill(home, n_videos=1)
    assert queue_of(review_page())["queue"][0]["id"] == 1
    written(database, item("t1", 4), item("t2", 4, "undo", of="t1"))
    data = queue_of(review_page())
    assert data["queue"][0]["id"] == 4 and data["past"] == []
    written(database, item("t3", 4))
    assert [(past["pair"], past["act"], past["token"]) for past in queue_of(review_page())["past"]] == [
        (4, "accept", "t3")
    ]


def test_the_margin_of_the_newest_run_stands_beside_its_pair(home, done_once):
    shutil.copytree(done_once.root, home.root, dirs_exist_ok=True)
    database = Database.open(home.database)
    trained.add(database)
    with database.reading() as session:
        scored = session.execute(text("SELECT run_id, pair_id, margin FROM pair_score WHERE moment = 'final'")).all()
        newest = pair_margins.newest(session, [pair_id for _, pair_id, _ in scored])
    assert newest and all((m.run_id, pair_id, m.value) in scored for pair_id, m in newest.items())


def test_a_blind_pair_holds_nothing_that_tells_its_sides(home):
    database = studio.fill(home, n_videos=1)
    with database.reading() as session:
        card = pairs.get(session, 3)
        clock = desk_data.clock_of(session, home, card.video_id)
    told = [
        desk_campaign.blind_pair(card, clock, lambda room, n: f"/{room}/{n}", chosen_first=first)
        for first in (True, False)
    ]
    assert told[0]["responses"] == told[1]["responses"][::-1] == [card.chosen, card.rejected]
    without = [{name: value for name, value in pair.items() if name != "responses"} for pair in told]
    assert without[0] == without[1]
    assert set(without[0]) == {"id", "version", "prompt", "ranges", "order", "fps", "n_frames", "frame_s", "url"}
    around = desk_around.around(database, Person(1, "local", "admin"), "blind")
    assert around["reasons"] == [] and set(around["keys"]) == set(around["words"]) == set(desk_keys.BLIND_ACTS)
    assert not any(word in json.dumps(around) for word in ("chosen", "rejected", "accept", "swap"))


def test_a_viewer_is_told_whom_to_ask(home, monkeypatch):
    studio.fill(home, n_videos=1).close()
    monkeypatch.setattr(state, "person", lambda: Person(1, "Vic", "viewer"))
    app = review_page()
    assert not app.exception and "Ask an admin" in app.info[0].value
