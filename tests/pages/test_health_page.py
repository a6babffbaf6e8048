"""The Health page: what stands on it, who may act, and the one line on the overview."""

from __future__ import annotations

import os

import pytest

from db import backup, health, jobs, people
from db.health import Finding
from tests.pages.test_pages import button, opened, press, texts
from ui import state

EVIL = '![x](http://127.0.0.1:9/md) <img src="http://127.0.0.1:9/img">'


@pytest.fixture
def check_said(filled):
    """Let the last check have found this."""

    def say(*found: Finding) -> None:
        with filled.session() as session:
            health.keep_check(session, found)

    return say


def test_a_backup_is_made_at_a_click_and_counted(filled, home):
    app = opened("doctor")
    assert "None was made yet." in texts(app)
    said = texts(press(app, "Back up now"))
    (made,) = backup.listing(home.backups)
    assert f"{made.path.name} is written, read back and whole" in said and "1 kept" in said


def test_a_check_is_queued_once_and_what_it_finds_stands_first(filled, check_said):
    press(opened("doctor"), "Check files too")
    with filled.reading() as session:
        (job,) = jobs.open_jobs(session)
    assert (job.kind, job.payload) == ("check", {"deep": True})
    assert button(opened("doctor"), "Check now").disabled
    check_said(Finding("search", "red", "It does not hold what the pairs say.", "Make it anew."))
    app = opened("doctor")
    assert "Make it anew." in texts(app)
    facts = [element.value for element in app.get("text")]
    assert {fact.partition(" ")[0] for fact in facts[:2]} == {"It", "0"}, facts  # the search, and work without a worker


def test_the_overview_says_in_one_line_what_is_red_and_nothing_where_all_is_well(filled, check_said):
    assert "Health has something" not in texts(opened("overview"))
    check_said(Finding("search", "red", "It does not hold.", "Make it anew."))
    assert "Health has something for you: search" in texts(opened("overview"))


def test_a_viewer_looks_and_does_not_act(filled, monkeypatch):
    with filled.session() as session:
        viewer = people.add(session, "x|v", "Vic", "viewer")
    monkeypatch.setattr(state, "person", lambda: viewer)
    app = opened("doctor")
    assert "You are viewer; this needs admin" in texts(app)
    names = ("Back up now", "Check now", "Check files too", "Start a worker")
    assert [button(app, name).disabled for name in names] == [True] * 4


def test_text_of_others_is_shown_as_it_is(filled, check_said):
    check_said(Finding("exports", "amber", f"Changed: {EVIL}.", f"Delete {EVIL}."))
    app = opened("doctor")
    assert any(element.value.startswith(f"Changed: {EVIL}.") for element in app.get("text"))
    assert not [element.value for element in app.get("markdown") if "<img" in element.value]
    assert [caption.value for caption in app.caption if "127" in caption.value and r"\!\[x\]\(" in caption.value]


def test_a_job_without_progress_leads_to_its_page(filled):
    with filled.session() as session:
        me = people.local(session).id
        job = jobs.enqueue(session, "train", {"run_id": 1}, created_by=me, needs="gpu")
        token = jobs.claim(session, "gpu:0", lease_ms=10**9).token
        jobs.started(session, job.id, token, os.getpid(), 1, "")
        session.connection().exec_driver_sql("UPDATE job SET progress_ms = 1 WHERE state = 'running'")
    said = texts(opened("doctor"))
    assert f"Job {job.id} (train) said nothing new for ten minutes." in said and "Open Runs" in said
