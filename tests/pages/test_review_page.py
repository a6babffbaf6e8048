"""The review page, on an empty and on a filled database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from db import migrate, pairs, people, reviews
from db.pair_filters import NO_FILTER
from db.reviews import ReviewItem
from db.session import Database
from tempo_core.settings import Home
from tests import studio
from ui import desk, desk_data, state

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.setenv("TEMPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEMPO_WORKER", "0")
    for once in (state.home, state.database, state.signer):
        once.cache_clear()
    yield Home(tmp_path / "home").make()
    for once in (state.home, state.database, state.signer):
        once.cache_clear()


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
