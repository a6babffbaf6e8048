"""The pairs page over 600 pairs: the address holds everything, and a decision about a filter can be taken back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks import many_pairs
from db import caption_sets, jobs, pairs, people, reviews, saved_views, timelines
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.session import Database
from tempo_core.settings import Home
from tests.answering import MODEL, answering
from ui import state

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Home:
    home = Home(tmp_path_factory.mktemp("many") / "home")
    many_pairs.build(home, 600, 20).close()
    return home


@pytest.fixture
def studio(built, home) -> Database:
    shutil.copytree(built.root, home.root)
    return state.database()


def opened(**query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    for name, value in query.items():
        app.query_params[name] = value
    app.switch_page("pages/pairs.py").run()
    return sound(app)


def sound(app: AppTest) -> AppTest:
    assert not app.exception, [error.value for error in app.exception]
    return app


def said(app: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "text", "subheader")
    return "\n".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def press(app: AppTest, key: str) -> AppTest:
    return sound(app.button(key=key).click().run())


def submit(app: AppTest) -> AppTest:
    return sound(next(b for b in app.button if b.label == "Make pairs").click().run())


def query(app: AppTest) -> dict[str, str]:
    return {name: value[0] if isinstance(value, list) else value for name, value in app.query_params.items()}


def count(studio: Database, **fields) -> int:
    with studio.reading() as session:
        return pairs.count(session, PairFilter(**fields))


def test_facets_write_the_address_and_the_address_restores_them(studio):
    app = press(press(press(opened(), "facet_kinds_drop"), "facet_status_accepted"), "facet_levels_4")
    assert query(app) == {"kinds": "drop", "status": "accepted", "levels": "4"}
    wanted = {"kinds": ("drop",), "status": "accepted", "levels": (4,)}
    again = opened(**query(app))
    for page in (app, again):
        assert f"**{count(studio, **wanted):,}** pairs in this filter" in said(page)
        assert set(page.dataframe[0].value["kind"]) == {"drop"}
    n = count(studio, kinds=("drop", "reverse"), status="accepted", levels=(4,))
    assert again.button(key="facet_kinds_reverse").label.endswith(
        f"{count(studio, **wanted | {'kinds': ('reverse',)})}"
    )
    assert f"**{n:,}** pairs" in said(press(again, "facet_kinds_reverse"))
    assert query(press(again, "facet_status_accepted")).get("status") is None


def test_pages_go_on_and_back_and_a_link_opens_the_same_page(studio):
    first = opened(status="pending")
    second = press(first, "page_next")
    shown = second.dataframe[0].value["pair"].tolist()
    assert "after" in query(second) and "51 to 100 of" in said(second)
    assert opened(**query(second)).dataframe[0].value["pair"].tolist() == shown
    back = press(second, "page_previous")
    assert "1 to 50 of" in said(back) and back.dataframe[0].value["pair"].tolist()[-1] < shown[0]


@pytest.mark.parametrize(
    "query",
    [{"colour": "red"}, {"levels": "9"}, {"difficulty": "0.9,0.1"}, {"video_id": str(2**70)}, {"margin": "0,1"}],
)
def test_an_address_that_makes_no_sense_says_so_and_decides_nothing(studio, query):
    app = opened(**query)
    assert app.warning and "bulk decisions are off" in said(app)
    assert not [b for b in app.button if b.key in ("bulk_accepted", "bulk_yes")]
    assert next(iter(query)) in app.query_params


def test_nothing_found_is_told_with_the_way_back(studio):
    app = opened(search="zzzzzz")
    assert "No pair matches this filter" in said(app)
    assert not query(sound(next(b for b in app.button if b.label == "Show all pairs").click().run()))
    assert "There is no page after x" in said(opened(after="x"))


def test_a_bulk_decision_counts_first_and_is_undone_from_the_list_after_a_reload(studio):
    with studio.reading() as session:
        before = pairs.counts(session, PairFilter(kinds=("drop",))).status
    n = before["pending"]
    app = press(opened(kinds="drop"), "bulk_accepted")
    assert f"**{n:,}** pairs of this filter will be **accepted**" in said(app)
    assert f"{before['accepted']:,} are accepted already" in said(app) and "were refused by a rule" in said(app)
    app.text_input(key="bulk_note").input("looked at ten of them")
    app = press(app, "bulk_yes")
    assert f"{n:,} pairs accepted" in said(app) and count(studio, kinds=("drop",), status="pending") == 0
    with studio.session() as session:
        pair_id = pairs.page(session, PairFilter(kinds=("drop",), by="bulk"))[0].id
        person = people.local(session)
        reviews.decide(session, person, ReviewItem("later", pair_id, 2, "reject"))
    later = opened()
    undo = next(b for b in later.button if (b.key or "").startswith("bulk_undo_"))
    told = said(sound(undo.click().run()))
    assert f"{n - 1:,} pairs came back" in told and "1 were decided again" in told
    assert count(studio, kinds=("drop",), status="pending") == n - 1


def test_a_bulk_decision_that_is_put_away_changes_nothing(studio):
    before = count(studio, status="pending")
    app = press(opened(), "bulk_rejected")
    app.session_state["bulk_asked"] = None
    sound(app.run())
    assert "will be" not in said(app) and count(studio, status="pending") == before


def test_a_view_is_saved_opened_renamed_and_deleted(studio):
    app = opened(kinds="reverse", order="hardest")
    app.text_input(key="view_name").input("hard [reversals](x)")
    app = press(app, "view_save")
    app = press(opened(), "view_1")
    assert query(app) == {"kinds": "reverse", "order": "hardest"}
    app.text_input(key="view_new_name").input("reversals")
    app = press(app, "view_rename")
    assert app.button(key="view_1").label == "reversals"
    press(app, "view_delete")
    with studio.reading() as session:
        assert saved_views.listing(session, "pairs", people.local(session)) == []


def test_a_pair_shows_its_sentences_its_checks_and_its_reviews(studio):
    with studio.reading() as session:
        line = pairs.page(session, PairFilter(status="accepted", edited=True))[0]
        card = pairs.get(session, line.id)
    app = opened(pair=str(line.id))
    assert card.final_chosen in said(app) and card.final_chosen.endswith("Edited.")
    frames = {tuple(frame.value.columns): frame.value for frame in app.dataframe}
    assert "accepted" in frames["when", "by", "act", "led to", "reason", "note", "taken back"]["led to"].tolist()
    assert len(frames["filter", "passed", "value", "rule"]) == len(card.verdicts)


def test_the_scatter_says_how_many_points_it_draws(studio):
    app = opened(show="points", kinds="drop")
    assert f"{count(studio, kinds=('drop',)):,} pairs. Draw a box or a lasso" in said(app)


# ---- who answers -----------------------------------------------------------------------------------------------------
def test_a_server_is_checked_before_anything_is_queued_and_then_queued_without_the_key(studio, monkeypatch):
    monkeypatch.setenv("TEMPO_SERVER_KEY", "sk-very-secret")
    with answering() as server:
        app = opened()
        app.segmented_control(key="make_who").set_value("A server").run()
        app.text_input(key="make_server").input(server.url).run()
        assert "leave this machine" not in said(app)
        app.text_input(key="make_served").input("nobody")
        app = submit(app)
        assert app.error and "serves no model" in said(app)
        app.text_input(key="make_served").input(MODEL)
        next(r for r in app.radio if r.label == "Ask on").set_value("clips")
        submit(app)
        assert {request.method for request in server.requests} == {"GET"}
    with studio.reading() as session:
        (job,) = jobs.open_jobs(session)
    told = (job.payload["server"], job.payload["served_model"], job.payload["input"], job.payload["model"])
    assert (told, job.needs) == ((server.url, MODEL, "clips", ""), "cpu")
    assert "secret" not in str(job.payload)
    with studio.session() as session:
        jobs.cancel(session, job.id)


def test_the_page_says_when_frames_leave_this_machine_and_refuses_a_secret_in_the_address(studio):
    app = opened()
    app.segmented_control(key="make_who").set_value("A server").run()
    app.text_input(key="make_server").input("http://gpu7.example.org:8000/v1").run()
    assert "leave this machine" in said(app) and "not encrypted" in said(app)
    app.text_input(key="make_server").input("https://me:hunter2@api.example.org/v1").run()
    assert app.error and "hunter2" not in said(app)


def test_the_embedded_model_is_not_asked_on_clips(studio):
    app = opened()
    next(r for r in app.radio if r.label == "Ask on").set_value("clips")
    app = submit(app)
    assert app.error and "one video a question" in said(app)
    with studio.reading() as session:
        assert jobs.open_jobs(session) == ()


def test_a_set_of_captions_can_be_read_in_and_chosen(studio, tmp_path):
    app = opened()
    assert not [box for box in app.selectbox if box.key == "make_captions"]
    app.text_input(key="captions_file").input(str(tmp_path / "segments.csv")).run()
    press(app, "captions_import")
    with studio.session() as session:
        (job,) = jobs.open_jobs(session)
        jobs.cancel(session, job.id)
        timeline = timelines.current(session, 1)
        texts = {timeline.id: {clip: "A ball." for clip in range(timeline.n_clips)}}
        set_id, _ = caption_sets.record(session, tmp_path / "c.csv", "![x](http://evil)", "c" * 64, {}, texts)
    assert (job.kind, job.payload["file"]) == ("captions", str(tmp_path / "segments.csv"))
    app = opened()
    app.selectbox(key="make_captions").set_value(set_id)
    submit(app)
    with studio.session() as session:
        (job,) = jobs.open_jobs(session)
        jobs.cancel(session, job.id)
    assert job.payload["captions_from"] == set_id
